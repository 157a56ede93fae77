import ConfigurationManager
import Executive
import Glibc
import HiveStorage
import RegistryFileSystem
import Synchronization
import Testing

let readOnly: Int32 = 0
let writeOnly: Int32 = 1
let readWrite: Int32 = 2
private let exclusive: Int32 = 0o200
let truncate: Int32 = 0o1000
private let append: Int32 = 0o2000

/// A file system over a new hive in memory, with a callback that counts and may refuse.
final class Fixture: RegistryCallback, KernelCache, ControlHandler {
  let registry: Registry
  private let box = Mutex<RegistryFileSystem?>(nil)
  let denied = Mutex<Set<String>>([])
  let whileDropping = Mutex<(@Sendable () -> Void)?>(nil)
  let sets = Mutex<[String]>([])
  let refusals = Mutex(0)
  let namesDropped = Mutex(0)
  let pagesDropped = Mutex<Set<UInt64>>([])
  let attributesDropped = Mutex<Set<UInt64>>([])
  let caller = Caller(threadID: 1, userID: 0, groupID: 0)

  /// Nanoseconds: the file system's clock.
  let time = Mutex<UInt64>(1_000_000_000)
  /// Whoever set a value, in turn.
  let setters = Mutex<[Caller]>([])
  let refusesAll = Atomic(false)
  /// Runs in the next judgement, once.
  let inJudgement = Mutex<(@Sendable () -> Void)?>(nil)
  /// What has been done is called a failure.
  let deniesAfterwards = Atomic(false)
  let promoted = KernelEvent()
  let lost = Mutex<[String]>([])
  let memory: ScratchMemory
  /// One that is there as long as a test runs.
  static let ownThread = Int32(getpid())

  convenience init(
    usesScratchNames: Bool = true, scratchLimit: Int = 1 << 20, largestText: Int = 1 << 21, view: ValueView = .text,
    listsTypes: Bool = false
  ) throws {
    let device = MemoryDevice(name: "memory", [])
    try Hive.format(device: device, minorVersion: 5)
    try self.init(
      device, usesScratchNames: usesScratchNames, scratchLimit: scratchLimit, largestText: largestText, view: view,
      listsTypes: listsTypes)
  }

  /// Over the hive on `device`.
  init(
    _ device: MemoryDevice, usesScratchNames: Bool = true, scratchLimit: Int = 1 << 20, largestText: Int = 1 << 21,
    view: ValueView = .text, listsTypes: Bool = false
  ) throws {
    memory = ScratchMemory(limit: scratchLimit)
    let stack = CallbackStack()
    registry = Registry(
      hive: try Hive(device: device, access: .readWrite, logs: LogPair(MemoryDevice(name: "LOG1"), MemoryDevice(name: "LOG2"))),
      completeName: #"\REGISTRY\MACHINE\TEST"#, callbacks: stack, isReadOnly: false)
    let mask = NotifyClass.preSetValueKey.bit | NotifyClass.postSetValueKey.bit | NotifyClass.preDeleteValueKey.bit
    _ = try stack.register(self, altitude: try #require(Altitude("1")), interests: mask)
    let fs = RegistryFileSystem(
      registry: registry,
      presentation: Presentation(
        userID: 0, groupID: 0, umask: 0o022, isReadOnly: false, view: view, listsTypes: listsTypes),
      largestText: largestText, handler: self, usesScratchNames: usesScratchNames, scratchMemory: memory,
      whenLost: { [unowned self] value in lost.withLock { $0.append(value.description) } },
      now: { [unowned self] in time.withLock { $0 } })
    fs.attach(self)
    box.withLock { $0 = fs }
  }

  var fs: RegistryFileSystem { box.withLock { $0! } }

  func preOperation(
    _ operation: RegistryOperation, _ call: inout RegistryCall
  ) -> NTStatus {
    if let hook = inJudgement.withLock({ $0.take() }) { hook() }
    let name: String
    switch operation {
    case .setValueKey(_, let value, _), .deleteValueKey(_, let value): name = value.description
    default: return .success
    }
    guard refusesAll.load(ordering: .relaxed) || denied.withLock({ $0.contains(name.lowercased()) }) else { return .success }
    refusals.withLock { $0 += 1 }
    return .accessDenied
  }

  func postOperation(
    _ operation: RegistryOperation, status: NTStatus, _ call: inout RegistryCall
  ) -> NTStatus {
    if case .setValueKey(_, let name, let value?) = operation, status == .success {
      setters.withLock { $0.append(Caller(threadID: call.caller.threadID, userID: call.caller.userID, groupID: call.caller.groupID)) }
      defer { promoted.signal() }
      sets.withLock { $0.append("\(name)=\(value.type.name):\(value.data.count)") }
      if deniesAfterwards.load(ordering: .relaxed) {
        call.returnStatus = .accessDenied
        return .callbackBypass
      }
    }
    return .success
  }

  func dropNames() { namesDropped.withLock { $0 += 1 } }
  func dropAttributes(of nodeID: UInt64) {
    whileDropping.withLock { $0 }?()
    _ = attributesDropped.withLock { $0.insert(nodeID) }
  }
  func dropPages(of nodeID: UInt64) { _ = pagesDropped.withLock { $0.insert(nodeID) } }
  func why(_ name: UnicodeName) -> String { "why \(name)\n" }
  func status() -> String { "{}\n" }
  func execute(
    _ verb: String, _ arguments: [String], by caller: Caller, registryName: (String) -> UnicodeName?
  ) -> String? { nil }
  func stats() -> String { "" }
  func ruleListing() -> String { "rules\n" }
  func openEvents(onArrival: @escaping @Sendable () -> Void) -> (any EventStream)? { nil }
  func export(_ saved: UnnamedFile, named name: UnicodeName, to file: UnnamedFile) throws(NTStatus) {
    throw .invalidParameter
  }

  // What the kernel sends for the usual calls.

  func echo(_ text: String, to name: String, _ flags: Int32 = truncate, in parent: UInt64 = 1) throws {
    let file: OpenFile
    if let entry = try? fs.lookUp(name, in: parent) {
      file = try fs.open(entry.nodeID, flags: writeOnly | flags, by: caller).file
      // bash's dup2 flushes before its data.
      _ = try fs.flush(file, by: caller)
    } else {
      file = try fs.create(name, in: parent, flags: writeOnly | flags, by: caller).file
      _ = try fs.flush(file, by: caller)
    }
    defer { fs.release(file) }
    try Array(text.utf8).withUnsafeBytes { try fs.write(file, $0, offset: 0, by: caller) }
    _ = try fs.flush(file, by: caller)
  }

  /// A line for the command file, and its answer.
  func say(_ line: String, by caller: Caller? = nil) throws -> String {
    let caller = caller ?? self.caller
    let command = try fs.lookUp("cmd", in: try fs.lookUp("%ctl", in: 1).nodeID)
    let file = try fs.open(command.nodeID, flags: readWrite, by: caller).file
    defer { fs.release(file) }
    try Array((line + "\n").utf8).withUnsafeBytes { try fs.write(file, $0, offset: 0, by: caller) }
    return String(decoding: try fs.read(file, offset: 0, size: 1000, by: caller), as: UTF8.self)
  }

  func cat(_ name: String, in parent: UInt64 = 1) throws -> String {
    let entry = try fs.lookUp(name, in: parent)
    let file = try fs.open(entry.nodeID, flags: readOnly, by: caller).file
    defer { fs.release(file) }
    let bytes = try fs.read(file, offset: 0, size: 1 << 20, by: caller)
    #expect(bytes.count == entry.attributes.size)
    return String(decoding: bytes, as: UTF8.self)
  }

  func type(of name: String) throws -> String {
    String(decoding: try fs.getAttribute("user.reg.type", of: try fs.lookUp(name, in: 1).nodeID, by: caller), as: UTF8.self)
  }

  func list(_ node: UInt64 = 1) throws -> [String] {
    let stream = try fs.openDirectory(node, by: caller)
    try fs.fill(stream, of: node, by: caller)
    return (0..<stream.count).compactMap { stream.withEntry(at: $0) { String(cString: $1) } }.dropFirst(2).sorted()
  }
}

@Suite struct FileSystemTests {
  @Test func echoSetsAValueOnceAndANewOneIsREGSZ() throws {
    let fixture = try Fixture()
    try fixture.echo("hello\n", to: "v")
    #expect(try fixture.cat("V") == "hello\n")
    #expect(fixture.sets.withLock { $0 } == ["v=REG_SZ:12"])
    try fixture.echo("again\n", to: "v")
    #expect(fixture.sets.withLock { $0 }.count == 2)
  }

  @Test func touchSetsAnEmptyValueOnceAndItIsSeenBeforeItsRelease() throws {
    let fixture = try Fixture()
    let (_, file) = try fixture.fs.create("new", in: 1, flags: writeOnly, by: fixture.caller)
    _ = try fixture.fs.flush(file, by: fixture.caller)
    #expect(fixture.sets.withLock { $0 }.isEmpty)
    #expect(try fixture.list() == ["new"])
    #expect(try fixture.fs.lookUp("NEW", in: 1).attributes.size == 0)
    fixture.fs.release(file)
    #expect(fixture.sets.withLock { $0 } == ["new=REG_SZ:0"])
    #expect(try fixture.list() == ["new"])
    let (_, number) = try fixture.fs.create("n%dword", in: 1, flags: writeOnly, by: fixture.caller)
    fixture.fs.release(number)
    #expect(try fixture.type(of: "n") == "REG_DWORD")
    #expect(try fixture.cat("n") == "")
  }

  @Test func aTypeSuffixMakesAValueOfThatType() throws {
    let fixture = try Fixture()
    try fixture.echo("0x2A\n", to: "n%dword")
    #expect(try fixture.list() == ["n"])
    #expect(try fixture.cat("n") == "42\n")
    #expect(try fixture.cat("n%dword") == "42\n")
    #expect(throws: Errno.noEntry) { try fixture.fs.lookUp("n%sz", in: 1) }
    #expect(try fixture.type(of: "n") == "REG_DWORD")
    try fixture.echo("text\n", to: "n%sz")
    #expect(try fixture.type(of: "n") == "REG_SZ")
    #expect(try fixture.cat("n") == "text\n")
  }

  @Test func overwritingKeepsTheType() throws {
    let fixture = try Fixture()
    try fixture.echo("1\n", to: "n%dword")
    try fixture.echo("2\n", to: "n")
    #expect(try fixture.type(of: "n") == "REG_DWORD")
    #expect(try fixture.cat("n") == "2\n")
  }

  @Test func textThatIsNoNumberIsRefusedAtTheWriteAndTheOldValueStands() throws {
    let fixture = try Fixture()
    try fixture.echo("1\n", to: "n%dword")
    #expect(throws: Errno.invalid) { try fixture.echo("foo\n", to: "n") }
    #expect(throws: Errno.range) { try fixture.echo("4294967296\n", to: "n") }
    #expect(try fixture.cat("n") == "1\n")
    #expect(fixture.sets.withLock { $0 }.count == 1)
  }

  @Test func aNewValueWhoseTextIsRefusedIsNotLeftBehind() throws {
    let fixture = try Fixture()
    #expect(throws: Errno.invalid) { try fixture.echo("foo\n", to: "n%dword") }
    #expect(try fixture.list().isEmpty)
    #expect(throws: Errno.noEntry) { try fixture.fs.lookUp("n", in: 1) }
    #expect(fixture.namesDropped.withLock { $0 } > 0)
  }

  @Test func appendingKeepsWhatIsThere() throws {
    let fixture = try Fixture()
    try fixture.echo("a\n", to: "v")
    try fixture.echo("b\n", to: "v", append)
    #expect(try fixture.cat("v") == "a\nb\n")
    #expect(fixture.sets.withLock { $0 }.count == 2)
  }

  @Test func aRefusedOpenLeavesTheValue() throws {
    let fixture = try Fixture()
    try fixture.echo("1\n", to: "start%dword")
    fixture.denied.withLock { _ = $0.insert("start") }
    for name in ["start", "START", "Start", "start%dword"] {
      #expect(throws: Errno.accessDenied) { try fixture.echo("4\n", to: name) }
      #expect(throws: Errno.accessDenied) { try fixture.fs.unlink(name, in: 1, by: fixture.caller) }
    }
    #expect(throws: Errno.accessDenied) { try fixture.echo("4\n", to: "START%sz") }
    let node = try fixture.fs.lookUp("start", in: 1).nodeID
    #expect(throws: Errno.accessDenied) {
      _ = try fixture.fs.setAttributes(of: node, file: nil, size: 0, modified: nil, by: fixture.caller)
    }
    try fixture.echo("x\n", to: "other")
    #expect(throws: Errno.accessDenied) {
      _ = try fixture.fs.rename("other", in: 1, to: "START", in: 1, flags: 0, by: fixture.caller)
    }
    #expect(throws: Errno.accessDenied) {
      _ = try fixture.fs.rename("start", in: 1, to: "gone", in: 1, flags: 0, by: fixture.caller)
    }
    #expect(throws: Errno.accessDenied) {
      _ = try "REG_SZ".utf8.withContiguousStorageIfAvailable { bytes in
        try fixture.fs.setAttribute(
          "user.reg.type", to: UnsafeRawBufferPointer(bytes), flags: 0, of: node, by: fixture.caller)
      }
    }
    #expect(try fixture.cat("start") == "1\n")
    #expect(try fixture.list() == ["other", "start"])
  }

  @Test func aWriterThatIsRefusedOnlyNowSpoilsTheHandle() throws {
    let fixture = try Fixture()
    try fixture.echo("1\n", to: "v")
    let node = try fixture.fs.lookUp("v", in: 1).nodeID
    let file = try fixture.fs.open(node, flags: writeOnly | truncate, by: fixture.caller).file
    fixture.denied.withLock { _ = $0.insert("v") }
    #expect(throws: Errno.accessDenied) {
      try [UInt8](arrayLiteral: 0x32).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.caller) }
    }
    fixture.denied.withLock { $0 = [] }
    #expect(throws: Errno.accessDenied) { _ = try fixture.fs.flush(file, by: fixture.caller) }
    fixture.fs.release(file)
    #expect(try fixture.cat("v") == "1\n")
  }

  @Test func aTruncatingOpenForReadingIsAChangeToo() throws {
    let fixture = try Fixture()
    try fixture.echo("abc\n", to: "v")
    let node = try fixture.fs.lookUp("v", in: 1).nodeID
    fixture.denied.withLock { _ = $0.insert("v") }
    #expect(throws: Errno.accessDenied) {
      _ = try fixture.fs.open(node, flags: readOnly | truncate, by: fixture.caller)
    }
    fixture.denied.withLock { $0 = [] }
    fixture.fs.release(try fixture.fs.open(node, flags: readOnly | truncate, by: fixture.caller).file)
    #expect(try fixture.cat("v") == "")
  }

  @Test func othersSeeTheOldValueWholeWhileItIsWritten() throws {
    let fixture = try Fixture()
    try fixture.echo("OLDTEXT\n", to: "v")
    let node = try fixture.fs.lookUp("v", in: 1).nodeID
    let writer = try fixture.fs.open(node, flags: writeOnly | truncate, by: fixture.caller).file
    #expect(try fixture.cat("v") == "OLDTEXT\n")
    try Array("NE".utf8).withUnsafeBytes { try fixture.fs.write(writer, $0, offset: 0, by: fixture.caller) }
    #expect(try fixture.cat("v") == "OLDTEXT\n")
    _ = try fixture.fs.flush(writer, by: fixture.caller)
    fixture.fs.release(writer)
    #expect(try fixture.cat("v") == "NE\n")
  }

  @Test func aBareTruncationIsSetAtRelease() throws {
    let fixture = try Fixture()
    try fixture.echo("abc\n", to: "v")
    let node = try fixture.fs.lookUp("v", in: 1).nodeID
    let file = try fixture.fs.open(node, flags: writeOnly | truncate, by: fixture.caller).file
    _ = try fixture.fs.flush(file, by: fixture.caller)
    #expect(try fixture.registry.queryValue(of: fixture.registry.root, named: "v").data.count == 8)
    fixture.fs.release(file)
    #expect(try fixture.cat("v") == "")
    #expect(fixture.sets.withLock { $0 } == ["v=REG_SZ:8", "v=REG_SZ:0"])
  }

  @Test func renamingAnUntypedValueOntoATypedOneTakesItsType() throws {
    let fixture = try Fixture()
    try fixture.echo("1\n", to: "n%dword")
    try fixture.echo("7\n", to: "tmp")
    _ = try fixture.fs.rename("tmp", in: 1, to: "N", in: 1, flags: 0, by: fixture.caller)
    #expect(try fixture.type(of: "n") == "REG_DWORD")
    #expect(try fixture.cat("n") == "7\n")
    #expect(try fixture.list() == ["n"])
    try fixture.echo("bad\n", to: "tmp")
    #expect(throws: Errno.invalid) {
      _ = try fixture.fs.rename("tmp", in: 1, to: "n", in: 1, flags: 0, by: fixture.caller)
    }
    #expect(try fixture.cat("n") == "7\n")
  }

  @Test func renameRefusesWhatItCannotDo() throws {
    let fixture = try Fixture()
    let a = try fixture.fs.makeDirectory("a", in: 1, by: fixture.caller)
    _ = try fixture.fs.makeDirectory("b", in: 1, by: fixture.caller)
    try fixture.echo("x\n", to: "v")
    func rename(_ from: String, _ to: String, _ parent: UInt64 = 1, _ flags: UInt32 = 0) throws {
      _ = try fixture.fs.rename(from, in: 1, to: to, in: parent, flags: flags, by: fixture.caller)
    }
    #expect(throws: Errno.crossDevice) { try rename("b", "c", a.nodeID) }
    #expect(throws: Errno.exists) { try rename("a", "B") }
    #expect(throws: Errno.exists) { try rename("a", "b", 1, 1) }
    #expect(throws: Errno.invalid) { try rename("a", "b", 1, 2) }
    #expect(throws: Errno.notDirectory) { try rename("a", "v") }
    try rename("v", "w", a.nodeID)
    #expect(try fixture.list(a.nodeID) == ["w"])
    #expect(try fixture.list() == ["a", "b"])
  }

  @Test func keysAreDirectories() throws {
    let fixture = try Fixture()
    let a = try fixture.fs.makeDirectory("Key", in: 1, by: fixture.caller)
    #expect(throws: Errno.exists) { try fixture.fs.makeDirectory("KEY", in: 1, by: fixture.caller) }
    try fixture.echo("x\n", to: "v", in: a.nodeID)
    #expect(throws: Errno.notEmpty) { try fixture.fs.removeDirectory("key", in: 1, by: fixture.caller) }
    try fixture.fs.unlink("V", in: a.nodeID, by: fixture.caller)
    try fixture.fs.removeDirectory("key", in: 1, by: fixture.caller)
    #expect(try fixture.list().isEmpty)
    #expect(fixture.namesDropped.withLock { $0 } == 2)
  }

  @Test func aValueHiddenByAKeyHasItsSuffix() throws {
    let fixture = try Fixture()
    try fixture.echo("x\n", to: "both")
    try fixture.registry.createKey(named: "Both", in: fixture.registry.root, by: fixture.caller) { key, _ in
      fixture.registry.close(key)
    }
    #expect(try fixture.list() == ["Both", "both%val"])
    #expect(try fixture.cat("both%val") == "x\n")
    #expect(try fixture.fs.lookUp("both", in: 1).attributes.kind == .directory)
  }

  @Test func onlyTheStoredSpellingMayBeCached() throws {
    let fixture = try Fixture()
    try fixture.echo("x\n", to: "Value")
    #expect(try fixture.fs.lookUp("Value", in: 1).isExactSpelling)
    #expect(try !fixture.fs.lookUp("VALUE", in: 1).isExactSpelling)
    #expect(try !fixture.fs.lookUp("Value%sz", in: 1).isExactSpelling)
    #expect(try fixture.fs.lookUp("VALUE", in: 1).nodeID == fixture.fs.lookUp("Value", in: 1).nodeID)
  }

  @Test func aReaderThatHoldsTheValueOpenSeesTheNewText() throws {
    let fixture = try Fixture()
    try fixture.echo("old\n", to: "v")
    let node = try fixture.fs.lookUp("v", in: 1).nodeID
    let (reader, keeps) = try fixture.fs.open(node, flags: readOnly, by: fixture.caller)
    #expect(!keeps)
    #expect(try fixture.fs.read(reader, offset: 0, size: 100, by: fixture.caller) == Array("old\n".utf8))
    let again = try fixture.fs.open(node, flags: readOnly, by: fixture.caller)
    #expect(again.keepsCache)
    fixture.fs.release(again.file)
    let writer = try fixture.fs.open(node, flags: writeOnly | truncate, by: fixture.caller).file
    try Array("new\n".utf8).withUnsafeBytes { try fixture.fs.write(writer, $0, offset: 0, by: fixture.caller) }
    #expect(try fixture.fs.read(reader, offset: 0, size: 100, by: fixture.caller) == Array("old\n".utf8))
    #expect(try fixture.fs.flush(writer, by: fixture.caller) == node)
    #expect(try fixture.fs.read(reader, offset: 0, size: 100, by: fixture.caller) == Array("new\n".utf8))
    fixture.fs.release(writer)
    fixture.fs.release(reader)
    let next = try fixture.fs.open(node, flags: readOnly, by: fixture.caller)
    #expect(!next.keepsCache)
    fixture.fs.release(next.file)
  }

  @Test func attributesAreNotCachedWhileSomebodyWritesAndDroppedWithTheKeysTime() throws {
    let fixture = try Fixture()
    try fixture.echo("x\n", to: "a")
    try fixture.echo("x\n", to: "b")
    let a = try fixture.fs.lookUp("a", in: 1)
    #expect(a.attributes.isCacheable)
    fixture.attributesDropped.withLock { $0 = [] }
    let b = try fixture.fs.lookUp("b", in: 1).nodeID
    let writer = try fixture.fs.open(b, flags: writeOnly, by: fixture.caller).file
    #expect(try !fixture.fs.attributes(of: b).isCacheable)
    try [UInt8](arrayLiteral: 0x32).withUnsafeBytes { try fixture.fs.write(writer, $0, offset: 0, by: fixture.caller) }
    _ = try fixture.fs.flush(writer, by: fixture.caller)
    // The directory was not told about since the kernel forgot it by itself.
    #expect(fixture.attributesDropped.withLock { $0 } == [a.nodeID, b])
    _ = try fixture.fs.attributes(of: 1)
    try [UInt8](arrayLiteral: 0x33).withUnsafeBytes { try fixture.fs.write(writer, $0, offset: 0, by: fixture.caller) }
    _ = try fixture.fs.flush(writer, by: fixture.caller)
    #expect(fixture.attributesDropped.withLock { $0 } == [1, a.nodeID, b])
    fixture.fs.release(writer)
  }

  @Test func theTypeIsAnAttribute() throws {
    let fixture = try Fixture()
    try fixture.echo("42\n", to: "v")
    let node = try fixture.fs.lookUp("v", in: 1).nodeID
    func set(_ type: String) throws {
      try Array(type.utf8).withUnsafeBytes {
        _ = try fixture.fs.setAttribute("user.reg.type", to: $0, flags: 0, of: node, by: fixture.caller)
      }
    }
    try set("REG_DWORD")
    #expect(try fixture.registry.queryValue(of: fixture.registry.root, named: "v").data == [42, 0, 0, 0])
    try set("REG_MULTI_SZ")
    #expect(try fixture.type(of: "v") == "REG_MULTI_SZ")
    #expect(throws: Errno.invalid) { try set("REG_NOPE") }
    try fixture.echo("text\n", to: "w")
    let w = try fixture.fs.lookUp("w", in: 1).nodeID
    #expect(throws: Errno.invalid) {
      try Array("REG_DWORD".utf8).withUnsafeBytes {
        _ = try fixture.fs.setAttribute("user.reg.type", to: $0, flags: 0, of: w, by: fixture.caller)
      }
    }
    #expect(try fixture.fs.listAttributes(of: node) == Array("user.reg.type\0".utf8))
    #expect(throws: Errno.noData) { _ = try fixture.fs.getAttribute("security.capability", of: node, by: fixture.caller) }
  }

  @Test func whatTextCannotShowIsListedAsData() throws {
    let fixture = try Fixture()
    try fixture.registry.setValue(
      of: fixture.registry.root, named: "odd", to: RegistryValue(type: .sz, data: [0x61, 0, 0x62]), by: fixture.caller)
    let node = try fixture.fs.lookUp("odd", in: 1).nodeID
    #expect(try fixture.fs.listAttributes(of: node) == Array("user.reg.data\0user.reg.type\0".utf8))
    #expect(try fixture.fs.getAttribute("user.reg.data", of: node, by: fixture.caller) == [0x61, 0, 0x62])
    #expect(try fixture.cat("odd%raw") == "a\0b")
  }

  @Test func exclusiveCreateSeesOtherSpellings() throws {
    let fixture = try Fixture()
    try fixture.echo("x\n", to: "v")
    #expect(throws: Errno.exists) {
      _ = try fixture.fs.create("V%dword", in: 1, flags: writeOnly | exclusive, by: fixture.caller)
    }
  }

  @Test func aWritePastTheFormatsLimitIsRefused() throws {
    let fixture = try Fixture()
    let (_, file) = try fixture.fs.create("v", in: 1, flags: writeOnly, by: fixture.caller)
    #expect(throws: Errno.fileTooLarge) {
      try [UInt8](arrayLiteral: 1).withUnsafeBytes {
        try fixture.fs.write(file, $0, offset: Int.max, by: fixture.caller)
      }
    }
    fixture.fs.release(file)
    #expect(try fixture.list().isEmpty)
  }

  @Test func namesTheFormatCannotHoldAreRefused() throws {
    let fixture = try Fixture()
    let fs = fixture.fs
    #expect(throws: Errno.invalid) { _ = try fs.makeDirectory(#"a\b"#, in: 1, by: fixture.caller) }
    #expect(throws: Errno.invalid) { _ = try fs.makeDirectory("a%dword", in: 1, by: fixture.caller) }
    #expect(throws: Errno.invalid) { _ = try fs.makeDirectory("@", in: 1, by: fixture.caller) }
    #expect(throws: Errno.nameTooLong) {
      _ = try fs.makeDirectory(String(repeating: "a", count: 256), in: 1, by: fixture.caller)
    }
    for name in ["a%~0123456789abcdef", "a%~0123456789abcdef%sz", "a%dup2", "a%lost0x20"] {
      #expect(throws: Errno.invalid) { _ = try fs.create(name, in: 1, flags: writeOnly, by: fixture.caller) }
    }
    _ = try fs.makeDirectory(String(repeating: "長", count: 255), in: 1, by: fixture.caller)
  }

  @Test func theControlDirectoryAnswersAndIsNotListed() throws {
    let fixture = try Fixture()
    let fs = fixture.fs
    #expect(try fixture.list().isEmpty)
    let directory = try fs.lookUp("%ctl", in: 1)
    let command = try fs.lookUp("cmd", in: directory.nodeID)
    let file = try fs.open(command.nodeID, flags: readWrite, by: fixture.caller).file
    try Array("why /Some%2FKey/@\n".utf8).withUnsafeBytes { try fs.write(file, $0, offset: 0, by: fixture.caller) }
    #expect(
      String(decoding: try fs.read(file, offset: 18, size: 1000, by: fixture.caller), as: UTF8.self)
        == "why \\REGISTRY\\MACHINE\\TEST\\Some/Key\\\n")
    #expect(try fs.read(file, offset: 18, size: 1000, by: fixture.caller).isEmpty)
    #expect(throws: Errno.notPermitted) { _ = try fs.makeDirectory("%ctl", in: 1, by: fixture.caller) }
    #expect(throws: Errno.notPermitted) {
      _ = try fs.create("x", in: directory.nodeID, flags: writeOnly, by: fixture.caller)
    }
  }

  @Test func forgottenNodesAreGivenBackAndKeysWithThem() throws {
    let fixture = try Fixture()
    let entry = try fixture.fs.makeDirectory("k", in: 1, by: fixture.caller)
    _ = try fixture.fs.lookUp("K", in: 1)
    fixture.fs.forget(entry.nodeID, count: 1)
    _ = try fixture.fs.attributes(of: entry.nodeID)
    fixture.fs.forget(entry.nodeID, count: 1)
    #expect(throws: Errno.noEntry) { try fixture.fs.attributes(of: entry.nodeID) }
    let again = try fixture.fs.lookUp("k", in: 1)
    #expect(again.nodeID == entry.nodeID && again.generation != entry.generation)
  }

  @Test func anUnlinkedValueStillOpenIsNotBroughtBack() throws {
    let fixture = try Fixture()
    try fixture.echo("x\n", to: "v")
    let node = try fixture.fs.lookUp("v", in: 1).nodeID
    let file = try fixture.fs.open(node, flags: readWrite, by: fixture.caller).file
    _ = try fixture.fs.read(file, offset: 0, size: 10, by: fixture.caller)
    try fixture.fs.unlink("v", in: 1, by: fixture.caller)
    #expect(try fixture.fs.read(file, offset: 0, size: 10, by: fixture.caller) == Array("x\n".utf8))
    try [UInt8](arrayLiteral: 0x79).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.caller) }
    _ = try fixture.fs.flush(file, by: fixture.caller)
    fixture.fs.release(file)
    #expect(try fixture.list().isEmpty)
  }
}
