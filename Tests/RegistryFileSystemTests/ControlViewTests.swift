import ConfigurationManager
import Executive
import Glibc
import HiveStorage
import RegistryFileSystem
import Synchronization
import Testing

/// Refuses, and counts, saving and restoring.
private final class TreeJudge: RegistryCallback {
  let refused = Mutex<Set<Int32>>([])
  let asked = Mutex<[NotifyClass]>([])

  func preOperation(_ operation: RegistryOperation, _ call: inout RegistryCall) -> NTStatus {
    asked.withLock { $0.append(operation.preClass) }
    return refused.withLock { $0.contains(call.caller.threadID) } ? .accessDenied : .success
  }
  func postOperation(_ operation: RegistryOperation, status: NTStatus, _ call: inout RegistryCall) -> NTStatus { .success }

  init(_ registry: Registry) throws {
    _ = try registry.callbacks.register(
      self, altitude: try #require(Altitude("2")), interests: NotifyClass.preSaveKey.bit | NotifyClass.preRestoreKey.bit)
  }
}

/// SEMANTICS 1.11 and 1.12.
@Suite struct ControlViewTests {
  private let fixture: Fixture
  private var fs: RegistryFileSystem { fixture.fs }
  private let stranger = Caller(threadID: 99, userID: 4711, groupID: 4711)

  init() throws {
    fixture = try Fixture()
    let key = try fixture.fs.makeDirectory("Key", in: 1, by: fixture.caller).nodeID
    let below = try fixture.fs.makeDirectory("Be%20low", in: key, by: fixture.caller).nodeID
    try fixture.echo("text\n", to: "v", in: below)
    _ = try fixture.fs.makeDirectory("Target", in: 1, by: fixture.caller)
  }

  private func node(_ path: String) throws -> UInt64 {
    var node: UInt64 = 1
    for component in ("%ctl/" + path).split(separator: "/") { node = try fs.lookUp(String(component), in: node).nodeID }
    return node
  }

  private func saved(_ path: String) throws -> [UInt8] {
    let file = try fs.open(try node("save/" + path), flags: readOnly, by: fixture.caller).file
    defer { fs.release(file) }
    // In two pieces, the later one first.
    let rest = try fs.read(file, offset: 100, size: 1 << 30, by: fixture.caller)
    return try fs.read(file, offset: 0, size: 100, by: fixture.caller) + rest
  }

  private func openRestore(_ path: String = "Target.hiv", by caller: Caller? = nil) throws -> OpenFile {
    try fs.open(try node("restore/" + path), flags: writeOnly | truncate, by: caller ?? fixture.caller).file
  }

  private func write(_ bytes: [UInt8], to file: OpenFile, at offset: Int = 0, by caller: Caller? = nil) throws {
    try bytes.withUnsafeBytes { try fs.write(file, $0, offset: offset, by: caller ?? fixture.caller) }
  }

  @Test func readingAKeysFileIsSavingTheKey() throws {
    let node = try node("save/Key/Be%20low.hiv")
    #expect(try fs.attributes(of: node).permissions == 0o444)
    #expect(try fs.attributes(of: node).size == 0)
    let bytes = try saved("Key/Be%20low.hiv")
    // Known from the open on, for cp.
    #expect(try fs.attributes(of: node).size == bytes.count)
    let hive = try Hive(device: MemoryDevice(bytes), access: .readOnly)
    let value = try #require(try hive.findValue(of: hive.rootKey, named: UnicodeName("v").units.span))
    #expect(try hive.data(ofValue: value) == Array("text\0".utf16).flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] })
    // The root's own file has no name before the suffix.
    let whole = try Hive(device: MemoryDevice(saved(".hiv")), access: .readOnly)
    #expect(try whole.findSubkey(of: whole.rootKey, named: UnicodeName("Key").units.span) != nil)
  }

  @Test func pathsAreDirectoriesFilesHaveTheSuffixAndNothingElseIsThere() throws {
    #expect(try fs.lookUp("Key", in: node("save")).attributes.kind == .directory)
    #expect(try fs.lookUp("kEY.hiv", in: node("save")).attributes.kind == .file)
    for name in ["None", "None.hiv", "%ctl", "v.hiv"] {
      #expect(throws: Errno.noEntry, "\(name)") { _ = try fs.lookUp(name, in: node("save")) }
    }
    #expect(throws: Errno.noEntry) { _ = try fs.lookUp(".hiv", in: node("save/Key")) }
    // A key that is called like a file of another one.
    _ = try fs.makeDirectory("Only.hiv", in: 1, by: fixture.caller)
    #expect(try fs.lookUp("Only.hiv", in: node("save")).attributes.kind == .directory)
    _ = try fs.makeDirectory("Only", in: 1, by: fixture.caller)
    #expect(try fs.lookUp("Only.hiv", in: node("save")).attributes.kind == .file)
    #expect(try fixture.list(node("save")).isEmpty)
    #expect(Set(try fixture.list(try fs.lookUp("%ctl", in: 1).nodeID)) == ["cmd", "status", "stats", "rules", "events", "save", "restore", "export"])
    // One node per key and view, whatever the spelling.
    #expect(try fs.lookUp("KEY", in: node("save")).nodeID == fs.lookUp("key", in: node("save")).nodeID)
    #expect(try fs.lookUp("Key", in: node("save")).nodeID != fs.lookUp("Key", in: node("restore")).nodeID)
  }

  @Test func nothingIsMadeThere() throws {
    let caller = fixture.caller
    let (save, inside) = (try node("save"), try node("save/Key"))
    for parent in [save, inside] {
      #expect(throws: Errno.self) { _ = try fs.makeDirectory("x", in: parent, by: caller) }
      #expect(throws: Errno.notPermitted) { _ = try fs.create("x", in: parent, flags: writeOnly, by: caller) }
      #expect(throws: Errno.self) { try fs.unlink("Key.hiv", in: parent, by: caller) }
      #expect(throws: Errno.self) { _ = try fs.rename("Key", in: parent, to: "x", in: 1, flags: 0, by: caller) }
    }
    #expect(throws: Errno.accessDenied) { _ = try fs.open(node("save/Key.hiv"), flags: writeOnly, by: caller) }
    #expect(throws: Errno.accessDenied) { _ = try fs.open(node("restore/Key.hiv"), flags: readOnly, by: caller) }
  }

  @Test func closingWhatWasWrittenIsRestoringTheKey() throws {
    let bytes = try saved("Key.hiv")
    let file = try openRestore()
    // The shell's dup2.
    _ = try fs.flush(file, by: fixture.caller)
    try write(Array(bytes[1000...]), to: file, at: 1000)
    try write(Array(bytes[..<1000]), to: file)
    let target = try fs.lookUp("Target", in: 1).nodeID
    #expect(try fixture.list(target).isEmpty)
    _ = try fs.flush(file, by: fixture.caller)
    fs.release(file)
    #expect(try fixture.list(target) == ["Be low"])
    #expect(try fixture.cat("v", in: fs.lookUp("Be%20low", in: target).nodeID) == "text\n")
  }

  @Test(arguments: [0, 1, 4095, 4096, 8000])
  func whatIsNoWholeHiveIsEINVALAtTheCloseAndChangesNothing(length: Int) throws {
    let bytes = try saved("Key.hiv")
    let target = try fs.lookUp("Target", in: 1).nodeID
    _ = try fs.makeDirectory("Kept", in: target, by: fixture.caller)
    let file = try openRestore()
    try write(Array(bytes[..<length]), to: file)
    #expect(throws: Errno.invalid) { _ = try fs.flush(file, by: fixture.caller) }
    // Told once; the release has nobody to tell.
    _ = try fs.flush(file, by: fixture.caller)
    fs.release(file)
    #expect(try fixture.list(target) == ["Kept"])
  }

  @Test func restoringIsJudgedAtTheOpenAndForWhoCloses() throws {
    let judge = try TreeJudge(fixture.registry)
    let bytes = try saved("Key.hiv")
    let other = Caller(threadID: 5, userID: 0, groupID: 0)
    judge.refused.withLock { $0 = [5] }
    #expect(throws: Errno.accessDenied) { _ = try openRestore(by: other) }
    let file = try openRestore()
    try write(bytes, to: file)
    #expect(throws: Errno.accessDenied) { _ = try fs.flush(file, by: other) }
    #expect(try fixture.list(fs.lookUp("Target", in: 1).nodeID).isEmpty)
    // A program that runs as somebody else and has inherited the handle lends no leave of its own.
    judge.refused.withLock { $0 = [] }
    #expect(throws: Errno.accessDenied) { try write(bytes, to: file, by: stranger) }
    try write(bytes, to: file)
    #expect(throws: Errno.accessDenied) { _ = try fs.flush(file, by: stranger) }
    #expect(try fixture.list(fs.lookUp("Target", in: 1).nodeID).isEmpty)
    fs.release(file)
  }

  @Test func savingIsJudgedForEveryReader() throws {
    let judge = try TreeJudge(fixture.registry)
    let node = try node("save/Key.hiv")
    judge.refused.withLock { $0 = [99] }
    #expect(throws: Errno.accessDenied) { _ = try fs.open(node, flags: readOnly, by: stranger) }
    let file = try fs.open(node, flags: readOnly, by: fixture.caller).file
    defer { fs.release(file) }
    #expect(file.needsDirectIO)
    #expect(throws: Errno.accessDenied) { _ = try fs.read(file, offset: 0, size: 10, by: stranger) }
    #expect(try fs.read(file, offset: 0, size: 4, by: fixture.caller) == Array("regf".utf8))
  }

  @Test func whileAValueIsOpenForWritingItIsBusy() throws {
    let bytes = try saved("Key.hiv")
    try fixture.echo("x\n", to: "open")
    let writer = try fs.open(fs.lookUp("open", in: 1).nodeID, flags: writeOnly, by: fixture.caller).file
    let file = try openRestore()
    defer { fs.release(file) }
    try write(bytes, to: file)
    #expect(throws: Errno.busy) { _ = try fs.flush(file, by: fixture.caller) }
    fs.release(writer)
    try write(bytes, to: file)
    _ = try fs.flush(file, by: fixture.caller)
  }

  @Test func handlesAreLimitedAndGivenBack() throws {
    let node = try node("save/Key.hiv")
    for _ in 0..<2 {
      var files: [OpenFile] = []
      for _ in 0..<16 { files.append(try fs.open(node, flags: readOnly, by: fixture.caller).file) }
      #expect(throws: Errno(rawValue: ENFILE)) { _ = try fs.open(node, flags: readOnly, by: fixture.caller) }
      #expect(throws: Errno(rawValue: ENFILE)) { _ = try openRestore() }
      for file in files { fs.release(file) }
    }
    // Nor does a refused open keep one.
    let judge = try TreeJudge(fixture.registry)
    judge.refused.withLock { $0 = [1] }
    for _ in 0..<20 { #expect(throws: Errno.accessDenied) { _ = try fs.open(node, flags: readOnly, by: fixture.caller) } }
  }

  @Test func aLengthBeyondEveryHiveIsRefused() throws {
    let file = try openRestore()
    defer { fs.release(file) }
    #expect(throws: Errno.fileTooLarge) { try write([1], to: file, at: 1 << 31 + 4096) }
    #expect(throws: Errno.fileTooLarge) { try write([1], to: file, at: -1) }
    #expect(throws: Errno.fileTooLarge) {
      _ = try fs.setAttributes(of: node("restore/Target.hiv"), file: file, size: 1 << 32, modified: nil, by: fixture.caller)
    }
    try write([1, 2, 3], to: file)
    _ = try fs.setAttributes(of: node("restore/Target.hiv"), file: file, size: 0, modified: nil, by: fixture.caller)
  }

  @Test func theRulesAreAFile() throws {
    let file = try fs.open(node("rules"), flags: readOnly, by: fixture.caller).file
    #expect(try fs.read(file, offset: 0, size: 100, by: fixture.caller) == Array("rules\n".utf8))
  }

  @Test func theFlagsOfARestoreAreTakenByName() throws {
    for (flag, wanted) in [
      ("refresh", "error 95 there is no older state"), ("whole-hive-volatile", "error 95 a hive here lies on its file"),
      ("sideways", "error 22 unknown flag 'sideways'"), ("force", "error 2 /nowhere/x: "),
      ("force,refresh", "error 95 "),
    ] {
      #expect(try fixture.say("restore\tKey\t/nowhere/x\t\(flag)").hasPrefix(wanted), "\(flag)")
    }
  }
}
