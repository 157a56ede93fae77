import Executive
import Testing

@testable import regward

@Suite("Where a hive belongs")
struct RegistryLocationTests {
  @Test(
    "as a user writes it",
    arguments: [
      (#"HKLM\SYSTEM"#, #"\REGISTRY\MACHINE\SYSTEM"#), (#"hklm\Software"#, #"\REGISTRY\MACHINE\Software"#),
      (#"HKEY_LOCAL_MACHINE\SAM"#, #"\REGISTRY\MACHINE\SAM"#), (#"HKU\S-1-5-18"#, #"\REGISTRY\USER\S-1-5-18"#),
      (#"HKEY_USERS\.DEFAULT"#, #"\REGISTRY\USER\.DEFAULT"#), ("HKLM/SYSTEM", #"\REGISTRY\MACHINE\SYSTEM"#),
      (#"HKU\a/b"#, #"\REGISTRY\USER\a/b"#),
      (#"\Registry\Machine\SYSTEM"#, #"\REGISTRY\Machine\SYSTEM"#), (#"\REGISTRY\A\{guid}"#, #"\REGISTRY\A\{guid}"#),
    ])
  func parsed(text: String, name: String) {
    #expect(RegistryLocation.parse(text)?.description == name)
  }

  @Test(
    "what is no place for a hive",
    arguments: [
      "", "HKLM", "HKLM/", "/HKLM/SYSTEM", #"HKLM\"#, #"HKLM\\SYSTEM"#, "SYSTEM", #"HKXX\SYSTEM"#, #"\HKLM\SYSTEM"#, #"\REGISTRY"#,
      #"\REGISTRY\MACHINE"#, #"\REGISTRY\ELSEWHERE\X"#, #"REGISTRY\MACHINE\SYSTEM"#,
    ])
  func refused(text: String) {
    #expect(RegistryLocation.parse(text) == nil)
  }

  @Test(
    "by content and file name",
    arguments: [
      (["Select"], "copy.bak", #"\REGISTRY\MACHINE\SYSTEM"#), (["ControlSet002"], "x", #"\REGISTRY\MACHINE\SYSTEM"#),
      (["controlset001", "Software"], "SOFTWARE", #"\REGISTRY\MACHINE\SYSTEM"#),
      (["ControlSetFoo"], "x.hiv", #"\REGISTRY\MACHINE\X"#),
      (["Microsoft", "Classes"], "a", #"\REGISTRY\MACHINE\SOFTWARE"#),
      (["Microsoft"], "software.hiv", #"\REGISTRY\MACHINE\SOFTWARE"#),
      (["Microsoft"], "other", #"\REGISTRY\MACHINE\OTHER"#),
      (["SAM"], "x", #"\REGISTRY\MACHINE\SAM"#), (["Policy"], "x", #"\REGISTRY\MACHINE\SECURITY"#),
      (["Control Panel", "Software"], "NTUSER.DAT", #"\REGISTRY\USER\NTUSER.DAT"#),
      (["Environment", "Software"], "bob", #"\REGISTRY\USER\bob"#),
      (["Environment"], "bob", #"\REGISTRY\MACHINE\BOB"#),
      ([], "DRIVERS.1.dat", #"\REGISTRY\MACHINE\DRIVERS.1"#), ([], ".hidden", #"\REGISTRY\MACHINE\.HIDDEN"#),
      ([], "", #"\REGISTRY\MACHINE\HIVE"#),
    ])
  func inferred(keys: [String], file: String, name: String) {
    #expect(RegistryLocation.inferred(rootKeys: keys, fileName: file).description == name)
  }

  /// For a warning: only what the keys say for certain.
  @Test func knownByContentAlone() {
    #expect(RegistryLocation.known(rootKeys: ["Select", "Setup"])?.description == #"\REGISTRY\MACHINE\SYSTEM"#)
    #expect(RegistryLocation.known(rootKeys: ["SAM"])?.description == #"\REGISTRY\MACHINE\SAM"#)
    for keys in [[], ["Control Panel", "Software"], ["Something"]] { #expect(RegistryLocation.known(rootKeys: keys) == nil) }
  }
}
