import ConfigurationManager
import FUSEServer
import Testing

@Suite("Mount options")
struct MountOptionsTests {
  @Test("nothing said: writable, ours alone, 022") func defaults() throws {
    let options = try MountOptions(parsing: [])
    #expect(options == MountOptions())
    #expect(!options.isReadOnly && !options.allowsOthers && options.umask == 0o022 && options.log == nil)
  }

  @Test("several lists, and the later of two that contradict") func lists() throws {
    let options = try MountOptions(parsing: ["ro,allow_other,uid=1000", "gid=100,umask=027,rw,policy=/a,,log=b"])
    #expect(!options.isReadOnly && options.allowsOthers)
    #expect(options.userID == 1000 && options.groupID == 100 && options.umask == 0o27)
    #expect(options.policy == "/a" && options.log == "b")
    #expect(try MountOptions(parsing: ["rw", "ro"]).isReadOnly)
    #expect(try MountOptions(parsing: ["force", "ro"]).isForced)
    #expect(try MountOptions(parsing: ["log-processes"]).logsProcesses && !options.logsProcesses)
  }

  @Test("when a change is durable, beside the kernel's sync") func durability() throws {
    #expect(try MountOptions(parsing: [""]).durability == .fsync)
    #expect(try MountOptions(parsing: ["sync=op"]).durability == .operation)
    let options = try MountOptions(parsing: ["sync=unmount,sync"])
    #expect(options.durability == .unmount && options.kernelOptions == ["sync"])
    #expect(throws: MountOptions.Problem.self) { _ = try MountOptions(parsing: ["sync=never"]) }
  }

  @Test("temporary files stay in memory, unless scratch=off (SEMANTICS.md, 11.5)") func scratch() throws {
    #expect(try MountOptions(parsing: [""]).usesScratchNames)
    #expect(try MountOptions(parsing: ["scratch=on,scratch=off"]).usesScratchNames == false)
    #expect(try MountOptions(parsing: ["scratch=off,scratch=on"]).usesScratchNames)
  }

  @Test(
    "commas and backslashes",
    arguments: [
      (#"fsname=a\,b"#, "a,b"), (#"fsname=a\\b"#, #"a\b"#), (#"fsname=a\b"#, #"a\b"#), (#"fsname=a\"#, #"a\"#),
      ("fsname=a=b", "a=b"),
    ])
  func escapes(list: String, name: String) throws {
    #expect(try MountOptions(parsing: [list]).fileSystemName == name)
  }

  @Test("a registry name keeps its single backslashes") func location() throws {
    #expect(try MountOptions(parsing: [#"at=HKLM\SYSTEM,ro"#]).location == #"HKLM\SYSTEM"#)
  }

  @Test("generic options: the kernel's are handed on, fstab's are not") func generic() throws {
    let options = try MountOptions(parsing: ["defaults,noauto,nofail,_netdev,x-systemd.automount,comment=c,nosuid,noexec"])
    #expect(options.kernelOptions == ["nosuid", "noexec"])
  }

  @Test(
    "what cannot be taken is named",
    arguments: [
      ("bogus", "unknown option bogus"), ("bogus=1", "unknown option bogus=1"), ("nosuid=1", "unknown option nosuid=1"),
      ("policy", "option policy needs a value: policy=…"), ("log=", "option log needs a value: log=…"),
      ("uid", "option uid needs a value: uid=…"), ("ro=1", "option ro takes no value"),
      ("scratch", "option scratch is scratch=on or scratch=off"), ("scratch=no", "option scratch is scratch=on or scratch=off"),
      ("log-processes=1", "option log-processes takes no value"),
      ("uid=root", "option uid: root is not a decimal number"), ("gid=-1", "option gid: -1 is not a decimal number"),
      ("uid=4294967296", "option uid: 4294967296 is not a decimal number"),
      ("umask=8", "option umask: 8 is not an octal number"), ("umask=1000", "option umask: 1000 is more than 777"),
    ])
  func problems(list: String, message: String) {
    let problem = #expect(throws: MountOptions.Problem.self) { try MountOptions(parsing: ["ro,\(list),rw"]) }
    #expect(problem?.description == message)
  }
}
