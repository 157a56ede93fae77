import ConfigurationManager
import Executive
import Glibc
import HiveStorage
import RegistryFileSystem
import Synchronization
import Testing

@Suite struct LinkTests {
  private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes.dropLast(), as: UTF8.self) }

  private func link(_ name: UnicodeName, to target: UnicodeName, below path: [UnicodeName] = [], _ fixture: Fixture) throws {
    var parent = fixture.registry.root
    for component in path {
      parent = try #require(
        try fixture.registry.lookUp(component, in: parent, among: .keys) { object -> KeyControlBlock? in
          if case .key(let key, _) = object { key } else { nil }
        })
    }
    try fixture.registry.setLink(named: name, in: parent, to: target, by: fixture.caller)
  }

  @Test func aLinkKeyIsASymbolicLinkToThePathOfItsTarget() throws {
    let fixture = try Fixture()
    let deep = try fixture.fs.makeDirectory("Deep", in: 1, by: fixture.caller)
    try link("L", to: #"\Registry\Machine\Test\A\B%C"#, fixture)
    try link("M", to: #"\REGISTRY\MACHINE\TEST\A"#, below: ["Deep"], fixture)
    try link("Root", to: #"\REGISTRY\MACHINE\TEST"#, fixture)
    let entry = try fixture.fs.lookUp("L", in: 1)
    #expect(entry.attributes.kind == .link)
    #expect(entry.attributes.size == "A/B%25C".utf8.count)
    #expect(text(try fixture.fs.target(of: entry.nodeID)) == "A/B%25C")
    let inner = try fixture.fs.lookUp("M", in: deep.nodeID)
    #expect(text(try fixture.fs.target(of: inner.nodeID)) == "../A")
    #expect(text(try fixture.fs.target(of: fixture.fs.lookUp("Root", in: 1).nodeID)) == ".")
    #expect(throws: Errno.invalid) { _ = try fixture.fs.target(of: deep.nodeID) }
  }

  @Test func aTargetOutsideTheMountLeadsNowhereAndNeverOutOfIt() throws {
    let fixture = try Fixture()
    try link("L", to: #"\REGISTRY\USER\x"#, fixture)
    try link("M", to: #"\REGISTRY\MACHINE\TEST\..\..\etc/passwd"#, fixture)
    #expect(text(try fixture.fs.target(of: fixture.fs.lookUp("L", in: 1).nodeID)) == #"\REGISTRY\USER\x"#)
    #expect(text(try fixture.fs.target(of: fixture.fs.lookUp("M", in: 1).nodeID)) == "%2E./%2E./etc%2Fpasswd")
  }

  @Test func aLinkIsRemovedLikeAFileAndNotEntered() throws {
    let fixture = try Fixture()
    try link("L", to: #"\REGISTRY\MACHINE\TEST"#, fixture)
    let node = try fixture.fs.lookUp("L", in: 1).nodeID
    #expect(throws: Errno.notDirectory) { _ = try fixture.fs.lookUp("x", in: node) }
    #expect(throws: Errno.notDirectory) { _ = try fixture.fs.makeDirectory("x", in: node, by: fixture.caller) }
    try fixture.fs.unlink("L", in: 1, by: fixture.caller)
    #expect(throws: Errno.noEntry) { _ = try fixture.fs.lookUp("L", in: 1) }
  }
}

@Suite struct CommandTests {
  private func say(_ line: String, _ fixture: Fixture, by caller: Caller? = nil) throws -> String {
    try fixture.say(line, by: caller)
  }

  @Test func theCaseOfAKeysNameIsChanged() throws {
    let fixture = try Fixture()
    let directory = try fixture.fs.makeDirectory("key", in: 1, by: fixture.caller)
    let dropped = fixture.namesDropped.withLock { $0 }
    #expect(try say("rename\tkey\tKEY", fixture) == "ok\n")
    #expect(try fixture.list() == ["KEY"])
    #expect(try fixture.fs.lookUp("KEY", in: 1).nodeID == directory.nodeID)
    #expect(fixture.namesDropped.withLock { $0 } == dropped + 1)
  }

  @Test func linksAreMadeAndSet() throws {
    let fixture = try Fixture()
    #expect(try say("link\tL\t\\REGISTRY\\MACHINE\\TEST\\A", fixture) == "ok\n")
    #expect(try say("link\tL\t\\REGISTRY\\MACHINE\\TEST\\B", fixture) == "ok\n")
    let node = try fixture.fs.lookUp("L", in: 1).nodeID
    #expect(try fixture.fs.target(of: node) == Array("B".utf8) + [0])
    #expect(try say("link\tL\trelative", fixture).hasPrefix("error 22 "))
  }

  @Test func onlyRootAndTheMounterNameFiles() throws {
    let fixture = try Fixture()
    let stranger = Caller(threadID: 1, userID: 4711, groupID: 1)
    for line in ["save\t\t/tmp/x", "restore\t\t/tmp/x", "replace\t\t/tmp/x\t/tmp/y", "load\tHKLM/A\t/tmp/x", "unload\t"] {
      #expect(try say(line, fixture, by: stranger).hasPrefix("error 1 only root and the user who mounted"), "\(line)")
    }
    #expect(try say("save\t\trelative", fixture).hasPrefix("error 22 a file is named by its whole path"))
  }

  @Test func aHandleIsOfUseToItsOpenersUserOnly() throws {
    // A setuid program writes what it is told to the handle that it inherited.
    let fixture = try Fixture()
    let directory = try fixture.fs.lookUp("%ctl", in: 1)
    let command = try fixture.fs.lookUp("cmd", in: directory.nodeID)
    let stranger = Caller(threadID: 1, userID: 4711, groupID: 1)
    let file = try fixture.fs.open(command.nodeID, flags: readWrite, by: stranger).file
    defer { fixture.fs.release(file) }
    #expect(throws: Errno.accessDenied) {
      try Array("flush\t\n".utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.caller) }
    }
  }

  @Test func whoMayNotWriteToADirectoryRenamesAndLinksNothing() throws {
    let fixture = try Fixture()
    _ = try fixture.fs.makeDirectory("key", in: 1, by: fixture.caller)
    let stranger = Caller(threadID: 1, userID: 4711, groupID: 4711)
    for line in ["rename\tkey\tKEY", "link\tL\t\\REGISTRY\\MACHINE\\TEST"] {
      #expect(try say(line, fixture, by: stranger).hasPrefix("error 13 "), "\(line)")
    }
    #expect(try fixture.list() == ["key"])
  }

  @Test func whatIsWrongIsTold() throws {
    let fixture = try Fixture()
    #expect(try say("flush\tnone", fixture) == "error 2 there is no key 'none' in this mount\n")
    #expect(try say("flush", fixture).hasPrefix("error 22 unknown command 'flush', or not the arguments"))
    #expect(try say("nonsense\tx", fixture).hasPrefix("error 22 unknown command 'nonsense'"))
    #expect(try say("load\tHKLM/B\t/etc/passwd", fixture).hasPrefix("error 22 hives are loaded and unloaded in a mount of several"))
    #expect(try say("unload\t", fixture).hasPrefix("error 22 hives are loaded and unloaded in a mount of several"))
    #expect(try say("restore\t\t/etc", fixture) == "error 22 /etc is no file\n")
    _ = try fixture.fs.makeDirectory("a", in: 1, by: fixture.caller)
    _ = try fixture.fs.makeDirectory("b", in: 1, by: fixture.caller)
    #expect(try say("rename\ta\tb", fixture) == "error 17 there is a key 'b' already\n")
    #expect(try say("rename\ta\tb/c", fixture).hasPrefix("error 22 'b/c' is a path"))
    #expect(try say("rename\t\tb", fixture).hasPrefix("error 22 the root of a mount"))
    #expect(try say("link\ta\t\\REGISTRY\\MACHINE\\TEST", fixture) == "error 17 there is a key of that name, which is no link\n")
    #expect(try say("link\tL\tHKLM", fixture).hasPrefix("error 22 'HKLM' is no complete name"))
    #expect(try say("replace\t\t/etc/passwd\t/etc/passwd", fixture).hasPrefix("error 117 /etc/passwd: that is no hive"))
    #expect(try say("save\ta\t/nowhere/x", fixture).hasPrefix("error 2 /nowhere: "))
    #expect(try fixture.list() == ["a", "b"])
    #expect(try say("restore\t\t/nowhere/x", fixture).hasPrefix("error 2 /nowhere/x: "))
    #expect(try say("flush\t", fixture) == "ok\n")
  }

  @Test func aRestoredKeyHasNewValuesAndItsOpenOnesAreOfNoUse() throws {
    let fixture = try Fixture()
    try fixture.echo("one\n", to: "v")
    let saved = "/tmp/regward-\(UInt64.random(in: 0 ... .max))"
    #expect(try say("save\t\t\(saved)", fixture) == "ok\n")
    defer { unlink(saved) }
    try fixture.echo("two\n", to: "v")
    let node = try fixture.fs.lookUp("v", in: 1).nodeID
    let writer = try fixture.fs.open(node, flags: writeOnly, by: fixture.caller).file
    #expect(try say("restore\t\t\(saved)", fixture).hasPrefix("error 16 "))
    fixture.fs.release(writer)
    let reader = try fixture.fs.open(node, flags: readOnly, by: fixture.caller).file
    #expect(try say("restore\t\t\(saved)", fixture) == "ok\n")
    // The value that was is gone; the one of the same name is another.
    let new = try fixture.fs.lookUp("v", in: 1).nodeID
    #expect(new != node)
    #expect(throws: Errno.noEntry) { _ = try fixture.fs.read(reader, offset: 0, size: 10, by: fixture.caller) }
    // A length of nothing would be the end of the file to the kernel, and no failure to who reads.
    #expect(try fixture.fs.attributes(of: node).size == 4)
    let file = try fixture.fs.open(new, flags: readOnly, by: fixture.caller).file
    #expect(try fixture.fs.read(file, offset: 0, size: 10, by: fixture.caller) == Array("one\n".utf8))
  }
}

/// Reading a value whose queries somebody judges.
@Suite struct QueryJudgementTests {
  private final class Judge: RegistryCallback {
    let refused = Mutex<Set<Int32>>([])
    func preOperation(_ operation: RegistryOperation, _ call: inout RegistryCall) -> NTStatus {
      guard case .queryValueKey = operation else { return .success }
      return refused.withLock { $0.contains(call.caller.threadID) } ? .accessDenied : .success
    }
    func postOperation(_ operation: RegistryOperation, status: NTStatus, _ call: inout RegistryCall) -> NTStatus { .success }
  }

  @Test func everyReaderIsJudgedAtOpenAndAtEachReadPastTheKernelsPages() throws {
    let fixture = try Fixture()
    try fixture.echo("secret\n", to: "Judged")
    try fixture.echo("plain\n", to: "Other")
    let judge = Judge()
    _ = try fixture.registry.callbacks.register(
      judge, altitude: try #require(Altitude("2")), interests: NotifyClass.preQueryValueKey.bit, queriedValues: ["judged"])
    let allowed = fixture.caller
    let denied = Caller(threadID: 99, userID: 0, groupID: 0)
    judge.refused.withLock { _ = $0.insert(99) }
    let node = try fixture.fs.lookUp("Judged", in: 1).nodeID
    let raw = try fixture.fs.lookUp("Judged%raw", in: 1).nodeID
    for id in [node, raw] {
      #expect(throws: Errno.accessDenied) { _ = try fixture.fs.open(id, flags: readOnly, by: denied) }
    }
    let (file, keepsCache) = try fixture.fs.open(node, flags: readOnly, by: allowed)
    #expect(file.needsDirectIO && !keepsCache)
    #expect(try fixture.fs.read(file, offset: 0, size: 10, by: allowed) == Array("secret\n".utf8))
    // The descriptor was handed on.
    #expect(throws: Errno.accessDenied) { _ = try fixture.fs.read(file, offset: 0, size: 10, by: denied) }
    #expect(throws: Errno.accessDenied) { _ = try fixture.fs.getAttribute("user.reg.data", of: node, by: denied) }
    // Nor under another name.
    #expect(throws: Errno.accessDenied) { _ = try fixture.fs.rename("Judged", in: 1, to: "Mine", in: 1, flags: 0, by: denied) }
    let other = try fixture.fs.lookUp("Other", in: 1).nodeID
    let plain = try fixture.fs.open(other, flags: readOnly, by: denied).file
    #expect(!plain.needsDirectIO)
  }
}
