import ConfigurationManager
import Executive
import Glibc
import HiveStorage
import Synchronization
import Testing

@testable import RegistryFileSystem

private let exclusive: Int32 = 0o200
private let regular: UInt32 = 0o100644

extension Fixture {
  /// Opens or creates, writes and closes, as most programs do; false: the close.
  @discardableResult
  fileprivate func write(_ bytes: [UInt8], to name: String, _ flags: Int32 = truncate, by caller: Caller? = nil) throws -> Bool {
    let caller = caller ?? self.caller
    let file: OpenFile
    if let entry = try? fs.lookUp(name, in: 1) {
      file = try fs.open(entry.nodeID, flags: writeOnly | flags, by: caller).file
    } else {
      file = try fs.create(name, in: 1, flags: writeOnly | flags, by: caller).file
    }
    defer { fs.release(file) }
    try bytes.withUnsafeBytes { try fs.write(file, $0, offset: 0, by: caller) }
    do { _ = try fs.flush(file, by: caller) } catch { return false }
    return true
  }

  fileprivate func write(_ text: String, to name: String, by caller: Caller? = nil) throws {
    let isClosed = try write(Array(text.utf8), to: name, by: caller)
    #expect(isClosed)
  }

  fileprivate func rename(_ old: String, _ new: String, flags: UInt32 = 0) throws {
    _ = try fs.rename(old, in: 1, to: new, in: 1, flags: flags, by: caller)
  }

  fileprivate func setAttribute(_ name: String, _ value: [UInt8], of file: String, flags: Int32 = 0) throws {
    let node = try fs.lookUp(file, in: 1).nodeID
    _ = try value.withUnsafeBytes { try fs.setAttribute(name, to: $0, flags: flags, of: node, by: caller) }
  }

  fileprivate func setType(_ type: String, of file: String) throws {
    try setAttribute("user.reg.type", Array(type.utf8), of: file)
  }

  fileprivate func attributes(of file: String) throws -> [String] {
    let bytes = try fs.listAttributes(of: try fs.lookUp(file, in: 1).nodeID)
    return bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
  }

  fileprivate func stored(_ name: UnicodeName) throws -> RegistryValue? {
    guard try registry.exists(name, in: registry.root, among: .values) else { return nil }
    let (information, data, _) = try registry.queryValue(of: registry.root, named: name)
    return RegistryValue(type: information.type, data: data)
  }

  fileprivate var setCount: Int { sets.withLock { $0.count } }

  fileprivate func put(_ name: UnicodeName, _ type: ValueType, _ data: [UInt8]) throws {
    try registry.setValue(of: registry.root, named: name, to: RegistryValue(type: type, data: data), by: caller)
    sets.withLock { $0 = [] }
  }

  fileprivate func pass(_ seconds: Double) { time.withLock { $0 += UInt64(seconds * 1_000_000_000) } }

  fileprivate func promote() -> [String] {
    lost.withLock { $0 = [] }
    _ = fs.promoteDue()
    return lost.withLock { $0 }
  }
}

@Suite("Values that are made and not in the hive yet (SEMANTICS.md, 10.1 to 10.3)")
struct UnsavedValueTests {
  @Test("10.1: an untyped text is not looked at before the close, and is EILSEQ then")
  func untypedBytes() throws {
    let fixture = try Fixture()
    let isClosed = try fixture.write([0x80, 0xFF], to: "v")
    #expect(!isClosed)
    #expect(try fixture.list() == [])
    #expect(fixture.setCount == 0)
  }

  @Test("10.1: bytes become a value when its type is set before the close, as cp -a does")
  func typedBeforeTheClose() throws {
    let fixture = try Fixture()
    let (_, file) = try fixture.fs.create("v", in: 1, flags: writeOnly | exclusive, by: fixture.caller)
    let bytes: [UInt8] = [0x80, 0xFF, 0]
    try bytes.withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.caller) }
    #expect(try fixture.attributes(of: "v") == [])
    // The last one counts, and is looked at at the close.
    try fixture.setType("REG_DWORD", of: "v")
    try fixture.setType("REG_BINARY", of: "v")
    #expect(try fixture.attributes(of: "v") == ["user.reg.type"])
    _ = try fixture.fs.flush(file, by: fixture.caller)
    fixture.fs.release(file)
    #expect(try fixture.stored("v") == RegistryValue(type: .binary, data: bytes))
    #expect(fixture.setCount == 1)
  }

  @Test("10.2: exact data counts while the text reads as it does, in whatever order they come", arguments: [0, 1, 2])
  func exactData(order: Int) throws {
    let fixture = try Fixture()
    let data: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
    let text = "578437695752307201\n"
    let entry = try fixture.fs.makeNode("v", in: 1, mode: regular, by: fixture.caller)
    func write() throws { // open, write, and close at the end
      let (file, _) = try fixture.fs.open(entry.nodeID, flags: writeOnly, by: fixture.caller)
      files.append(file)
      try Array(text.utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.caller) }
    }
    var files: [OpenFile] = []
    func type() throws { try fixture.setType("REG_DWORD", of: "v") }
    func exact() throws { try fixture.setAttribute("user.reg.data", data, of: "v") }
    for step in [[exact, type, write], [write, exact, type], [type, exact, write]][order] { try step() }
    for file in files {
      _ = try fixture.fs.flush(file, by: fixture.caller)
      fixture.fs.release(file)
    }
    #expect(try fixture.stored("v") == RegistryValue(type: .dword, data: data))
    #expect(fixture.setCount == 1)
  }

  @Test("10.2: another text comes before exact data")
  func textOverData() throws {
    let fixture = try Fixture()
    _ = try fixture.fs.makeNode("v", in: 1, mode: regular, by: fixture.caller)
    try fixture.setType("REG_DWORD", of: "v")
    try fixture.setAttribute("user.reg.data", [1, 2], of: "v")
    #expect(try fixture.attributes(of: "v") == ["user.reg.data", "user.reg.type"])
    #expect(throws: Errno.exists) { try fixture.setAttribute("user.reg.data", [1], of: "v", flags: 1) }
    try fixture.write("7\n", to: "v")
    #expect(try fixture.stored("v") == RegistryValue(type: .dword, data: [7, 0, 0, 0]))
  }

  @Test("5.11: mknod makes regular files only, each name once")
  func nodes() throws {
    let fixture = try Fixture()
    for kind: UInt32 in [0o010644, 0o020644, 0o060644, 0o140644] {
      #expect(throws: Errno.notPermitted) {
        _ = try fixture.fs.makeNode("v", in: 1, mode: kind, by: fixture.caller)
      }
    }
    _ = try fixture.fs.makeNode("v", in: 1, mode: regular, by: fixture.caller)
    #expect(throws: Errno.exists) { _ = try fixture.fs.makeNode("V", in: 1, mode: regular, by: fixture.caller) }
    #expect(try fixture.list() == ["v"])
    #expect(try fixture.stored("v") == nil)
    fixture.denied.withLock { $0 = ["w"] }
    #expect(throws: Errno.accessDenied) { _ = try fixture.fs.makeNode("w", in: 1, mode: regular, by: fixture.caller) }
    #expect(throws: Errno.noEntry) { _ = try fixture.fs.lookUp("w", in: 1) }
    try fixture.fs.unlink("v", in: 1, by: fixture.caller)
    #expect(try fixture.list() == [])
    #expect(fixture.setCount == 0)
  }

  @Test("10.3: its handles share the text, and go on with it when it is saved")
  func handles() throws {
    let fixture = try Fixture()
    let (entry, maker) = try fixture.fs.create("v", in: 1, flags: readWrite, by: fixture.caller)
    let (other, _) = try fixture.fs.open(entry.nodeID, flags: writeOnly, by: fixture.caller)
    let (reader, keeps) = try fixture.fs.open(entry.nodeID, flags: readOnly, by: fixture.caller)
    #expect(!keeps && reader.needsDirectIO)
    try Array("abc".utf8).withUnsafeBytes { try fixture.fs.write(maker, $0, offset: 0, by: fixture.caller) }
    try Array("de".utf8).withUnsafeBytes { try fixture.fs.write(other, $0, offset: 3, by: fixture.caller) }
    #expect(try fixture.fs.read(reader, offset: 0, size: 9, by: fixture.caller) == Array("abcde".utf8))
    #expect(try fixture.fs.lookUp("v", in: 1).attributes.size == 5)
    _ = try fixture.fs.flush(maker, by: fixture.caller)
    #expect(try fixture.cat("v") == "abcde\n")
    try Array("X".utf8).withUnsafeBytes { try fixture.fs.write(other, $0, offset: 0, by: fixture.caller) }
    for file in [maker, other] {
      _ = try fixture.fs.flush(file, by: fixture.caller)
      fixture.fs.release(file)
    }
    #expect(try fixture.fs.read(reader, offset: 0, size: 9, by: fixture.caller) == Array("Xbcde\n".utf8))
    fixture.fs.release(reader)
    #expect(fixture.setCount == 2)
  }

  @Test("5.5: a failed write leaves nothing of a new value, not even in memory")
  func failedWrite() throws {
    let fixture = try Fixture()
    let (_, file) = try fixture.fs.create("n%dword", in: 1, flags: writeOnly, by: fixture.caller)
    try Array("12".utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.caller) }
    #expect(throws: Errno.invalid) {
      try Array("xy".utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 1, by: fixture.caller) }
    }
    // What was refused is not in the text that the others see.
    let (reader, _) = try fixture.fs.open(try fixture.fs.lookUp("n", in: 1).nodeID, flags: readOnly, by: fixture.caller)
    #expect(try fixture.fs.read(reader, offset: 0, size: 9, by: fixture.caller) == Array("12".utf8))
    fixture.fs.release(reader)
    #expect(throws: Errno.invalid) {
      try Array("3".utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 2, by: fixture.caller) }
    }
    #expect(throws: Errno.invalid) { _ = try fixture.fs.flush(file, by: fixture.caller) }
    fixture.fs.release(file)
    #expect(try fixture.list() == [])
    #expect(fixture.setCount == 0)
  }

  @Test("3.9: text that no value can have is EFBIG, in memory, too")
  func tooLarge() throws {
    let fixture = try Fixture(scratchLimit: 1 << 30, largestText: 1 << 20)
    let (_, file) = try fixture.fs.create("sedAbC123", in: 1, flags: writeOnly, by: fixture.caller)
    #expect(throws: Errno.fileTooLarge) {
      try Array("ab".utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 1 << 20 - 1, by: fixture.caller) }
    }
    fixture.fs.release(file)
    #expect(fixture.memory.counters == ScratchMemory.Counters())
  }

  @Test("10.1: only the last writing handle sets what nobody has written")
  func severalWriters() throws {
    let fixture = try Fixture()
    let (entry, maker) = try fixture.fs.create("v", in: 1, flags: writeOnly, by: fixture.caller)
    let (other, _) = try fixture.fs.open(entry.nodeID, flags: writeOnly, by: fixture.caller)
    fixture.fs.release(maker)
    #expect(fixture.setCount == 0)
    fixture.fs.release(other)
    #expect(fixture.setCount == 1)
  }

  @Test("10.3: what settles it while somebody is judged leaves him the value that it has become")
  func settledMeanwhile() throws {
    let fixture = try Fixture()
    func makeAndPromoteInTheNextJudgement() throws -> UInt64 {
      let node = try fixture.fs.makeNode("v", in: 1, mode: regular, by: fixture.caller).nodeID
      fixture.inJudgement.withLock { $0 = { [unowned fixture] in fixture.fs.promoteAll() } }
      return node
    }
    // While it is opened.
    let (file, _) = try fixture.fs.open(try makeAndPromoteInTheNextJudgement(), flags: writeOnly, by: fixture.caller)
    #expect(try fixture.stored("v")?.data == [])
    #expect(file.unsaved == nil)
    fixture.fs.release(file)
    try fixture.fs.unlink("v", in: 1, by: fixture.caller)
    // While it is written.
    let node = try fixture.fs.makeNode("v", in: 1, mode: regular, by: fixture.caller).nodeID
    let (writer, _) = try fixture.fs.open(node, flags: writeOnly, by: fixture.caller)
    fixture.inJudgement.withLock { $0 = { [unowned fixture] in fixture.fs.promoteAll() } }
    try Array("ab".utf8).withUnsafeBytes { try fixture.fs.write(writer, $0, offset: 0, by: fixture.caller) }
    #expect(try fixture.stored("v")?.data == [])
    _ = try fixture.fs.flush(writer, by: fixture.caller)
    fixture.fs.release(writer)
    #expect(try fixture.cat("v") == "ab\n")
    try fixture.fs.unlink("v", in: 1, by: fixture.caller)
    // While its type is set.
    _ = try makeAndPromoteInTheNextJudgement()
    try fixture.setType("REG_BINARY", of: "v")
    #expect(try fixture.stored("v") == RegistryValue(type: .binary, data: []))
  }

  @Test("10.1: it is settled once")
  func settledOnce() throws {
    let fixture = try Fixture()
    let node = try fixture.fs.makeNode("v", in: 1, mode: regular, by: fixture.caller).nodeID
    let unsaved = try #require(fixture.fs.inodes.node(node)?.value?.withLock { $0.unsaved })
    #expect(unsaved.inTurn { true } == true)
    // The kernel forgets it; it is set, and a callback says afterwards that it was not.
    fixture.fs.forget(node, count: 1)
    fixture.deniesAfterwards.store(true, ordering: .relaxed)
    fixture.pass(5)
    #expect(fixture.promote().count == 1)
    #expect(unsaved.inTurn { true } == nil)
    fixture.deniesAfterwards.store(false, ordering: .relaxed)
    // Its number is free, once.
    let first = try fixture.fs.makeNode("a", in: 1, mode: regular, by: fixture.caller).nodeID
    let second = try fixture.fs.makeNode("b", in: 1, mode: regular, by: fixture.caller).nodeID
    #expect(first == node)
    #expect(second != node)
    #expect(fixture.memory.counters.values == 2)
  }

  @Test("1.9, 10.5: nothing is made beside the hives of a mount of several, and nothing goes from one to another")
  func severalHives() throws {
    let registry = try Registry(callbacks: CallbackStack(), isReadOnly: false)
    for name in ["A", "B"] as [UnicodeName] {
      let device = MemoryDevice(name: "memory", [])
      try Hive.format(device: device, minorVersion: 5)
      let hive = try Hive(device: device, access: .readWrite, logs: LogPair(MemoryDevice(name: "LOG1"), MemoryDevice(name: "LOG2")))
      try registry.attach(hive, from: name.description, at: try #require(HivePlace(["HKLM", name])))
    }
    let fixture = try Fixture()
    let fs = RegistryFileSystem(
      registry: registry, presentation: Presentation(userID: 0, groupID: 0, umask: 0o022, isReadOnly: false),
      largestText: 1 << 20, handler: fixture)
    let machine = try fs.lookUp("HKLM", in: 1).nodeID
    #expect(throws: Errno.invalid) { _ = try fs.makeNode("4913", in: machine, mode: regular, by: fixture.caller) }
    #expect(throws: Errno.invalid) { _ = try fs.makeNode("4914", in: machine, mode: regular, by: fixture.caller) }
    let (a, b) = (try fs.lookUp("A", in: machine).nodeID, try fs.lookUp("B", in: machine).nodeID)
    _ = try fs.makeNode("4913", in: a, mode: regular, by: fixture.caller)
    #expect(throws: Errno.crossDevice) { _ = try fs.rename("4913", in: a, to: "x", in: b, flags: 0, by: fixture.caller) }
    #expect(throws: Errno.crossDevice) { _ = try fs.rename("4913", in: a, to: "sedAbC123", in: machine, flags: 0, by: fixture.caller) }
    let key = try fs.makeDirectory("k", in: a, by: fixture.caller).nodeID
    _ = try fs.rename("4913", in: a, to: "x", in: key, flags: 0, by: fixture.caller)
    #expect(try fs.lookUp("x", in: key).attributes.size == 0)
    #expect(throws: Errno.noEntry) { _ = try fs.lookUp("4913", in: a) }
  }

  @Test("10.6, 5.14: a restore does not wait for what nobody has open, and is busy with the rest")
  func writers() throws {
    let fixture = try Fixture()
    let (_, file) = try fixture.fs.create("sedAbC123", in: 1, flags: writeOnly, by: fixture.caller)
    #expect(fixture.fs.hasWriters(below: fixture.registry.root))
    #expect(fixture.setCount == 0)
    fixture.fs.release(file)
    #expect(!fixture.fs.hasWriters(below: fixture.registry.root))
    #expect(fixture.setCount == 1)
    try fixture.write("7\n", to: "sedAbC124")
    fixture.refusesAll.store(true, ordering: .relaxed)
    #expect(!fixture.fs.hasWriters(below: fixture.registry.root))
    #expect(fixture.lost.withLock { $0 }.count == 1)
  }

  @Test("2.6: a value made as NAME%val leaves the bare name to a key that is made later, until it is given that name")
  func suffixed() throws {
    let fixture = try Fixture()
    let (_, file) = try fixture.fs.create("k%val", in: 1, flags: writeOnly, by: fixture.caller)
    #expect(throws: Errno.noEntry) { _ = try fixture.fs.lookUp("K", in: 1) }
    #expect(try fixture.list() == ["k%val"])
    try Array("1".utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.caller) }
    _ = try fixture.fs.flush(file, by: fixture.caller)
    fixture.fs.release(file)
    #expect(throws: Errno.noEntry) { _ = try fixture.fs.lookUp("K", in: 1) }
    #expect(try fixture.list() == ["k%val"])
    try fixture.rename("k%val", "k")
    #expect(try fixture.list() == ["k"])
    #expect(try fixture.cat("k") == "1\n")
    try fixture.rename("k", "j%val")
    #expect(throws: Errno.noEntry) { _ = try fixture.fs.lookUp("j", in: 1) }
    _ = try fixture.fs.makeDirectory("j", in: 1, by: fixture.caller)
    #expect(try fixture.list() == ["j", "j%val"])
    try fixture.fs.removeDirectory("j", in: 1, by: fixture.caller)
    try fixture.fs.unlink("j%val", in: 1, by: fixture.caller)
    try fixture.write("2", to: "j")
    #expect(try fixture.cat("j") == "2\n")
    try fixture.write("3", to: "4913%val")
    #expect(try fixture.list() == ["4913%val", "j"])
    try fixture.rename("4913%val", "m%val")
    #expect(try fixture.list() == ["j", "m%val"])
  }

  @Test("2.6: so many of them, and a name counts once")
  func suffixedLimit() throws {
    let root = try Fixture().registry.root
    let names = SuffixedValues(limit: 2)
    for name in ["a", "A", "b", "c"] as [UnicodeName] { names.note(name, of: root, hasSuffix: true) }
    #expect((["a", "b", "c"] as [UnicodeName]).map { names.contains($0, of: root) } == [true, true, false])
    names.note("a", of: root, hasSuffix: false)
    names.note("c", of: root, hasSuffix: true)
    #expect((["a", "b", "c"] as [UnicodeName]).map { names.contains($0, of: root) } == [false, true, true])
  }

  @Test("4.5: written under another name and renamed while it is open, it is one SetValue")
  func renamedWhileOpen() throws {
    let fixture = try Fixture()
    try fixture.put("x", .dword, [1, 0, 0, 0])
    let (_, file) = try fixture.fs.create("new", in: 1, flags: writeOnly, by: fixture.caller)
    try Array("5".utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.caller) }
    try fixture.rename("new", "x")
    #expect(try fixture.stored("x") == RegistryValue(type: .dword, data: [5, 0, 0, 0]))
    try Array("6".utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 1, by: fixture.caller) }
    _ = try fixture.fs.flush(file, by: fixture.caller)
    fixture.fs.release(file)
    #expect(try fixture.stored("x") == RegistryValue(type: .dword, data: [56, 0, 0, 0]))
    #expect(fixture.sets.withLock { $0 } == ["x=REG_DWORD:4", "x=REG_DWORD:4"])
    #expect(try fixture.list() == ["x"])
  }

  @Test("5.13: what is written after an unlink goes nowhere, and can be read on the handle")
  func unlinkedWhileOpen() throws {
    let fixture = try Fixture()
    let (entry, file) = try fixture.fs.create("v", in: 1, flags: readWrite, by: fixture.caller)
    try Array("ab".utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.caller) }
    try fixture.fs.unlink("v", in: 1, by: fixture.caller)
    try Array("c".utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 2, by: fixture.caller) }
    #expect(try fixture.fs.read(file, offset: 0, size: 9, by: fixture.caller) == Array("abc".utf8))
    #expect(try fixture.fs.attributes(of: entry.nodeID).links == 0)
    _ = try fixture.fs.flush(file, by: fixture.caller)
    fixture.fs.release(file)
    #expect(try fixture.list() == [])
    #expect(fixture.setCount == 0)
  }

  @Test("3.8, 10.1: an emptied text in the place of a number is EINVAL, and the number stays")
  func emptyOntoNumber() throws {
    let fixture = try Fixture()
    try fixture.put("x", .dword, [1, 0, 0, 0])
    let (_, file) = try fixture.fs.create("sedAbCdEf", in: 1, flags: writeOnly, by: fixture.caller)
    fixture.fs.release(file)
    #expect(throws: Errno.invalid) { try fixture.rename("sedAbCdEf", "x") }
    #expect(try fixture.stored("x")?.data == [1, 0, 0, 0])
    #expect(try fixture.list() == ["sedAbCdEf", "x"])
    fixture.denied.withLock { $0 = ["x"] }
    #expect(throws: Errno.accessDenied) { try fixture.rename("sedAbCdEf", "x") }
  }
}

@Suite("A key's time is set after what was closed before (SEMANTICS.md, 10.10)")
struct ClosedBeforeTests {
  @Test("a value that was made, or only emptied, is set at its release; that of a moment ago comes before the time", arguments: [true, false])
  func releaseIsOnItsWay(isMade: Bool) throws {
    let fixture = try Fixture()
    if !isMade { try fixture.put("x", .sz, [0x41, 0, 0, 0]) }
    let file =
      if isMade { try fixture.fs.create("x", in: 1, flags: writeOnly, by: fixture.caller).file } else {
        try fixture.fs.open(try fixture.fs.lookUp("x", in: 1).nodeID, flags: writeOnly | truncate, by: fixture.caller).file
      }
    _ = try fixture.fs.flush(file, by: fixture.caller)
    let release = try #require(SystemThread(name: "release") {
      usleep(50_000)
      fixture.fs.release(file)
    })
    let time = FileTime(rawValue: 132_000_000_000_000_000)
    _ = try fixture.fs.setAttributes(of: 1, file: nil, size: nil, modified: time, by: fixture.caller)
    release.join()
    #expect(fixture.setCount == 1)
    #expect(try fixture.fs.attributes(of: 1).modified == time)
  }

  @Test("one who keeps a descriptor does not keep the others waiting for good")
  func heldOpen() throws {
    let fixture = try Fixture()
    let file = try fixture.fs.create("x", in: 1, flags: writeOnly, by: fixture.caller).file
    _ = try fixture.fs.flush(file, by: fixture.caller)
    let time = FileTime(rawValue: 132_000_000_000_000_000)
    _ = try fixture.fs.setAttributes(of: 1, file: nil, size: nil, modified: time, by: fixture.caller)
    #expect(try fixture.fs.attributes(of: 1).modified == time)
    fixture.fs.release(file)
    #expect(try fixture.fs.attributes(of: 1).modified != time)
  }
}

@Suite("The type of what was there a moment ago (SEMANTICS.md, 10.4)")
struct RemovedValueTests {
  let number = RegistryValue(type: .dword, data: [7, 0, 0, 0])

  @Test func aValueMadeAnewWithinTenSecondsHasItsOldType() throws {
    let fixture = try Fixture()
    try fixture.put("x", .dword, [1, 0, 0, 0])
    try fixture.fs.unlink("x", in: 1, by: fixture.caller)
    fixture.pass(9.9)
    #expect(throws: Errno.invalid) { try fixture.write("no number", to: "x") }
    try fixture.write("7\n", to: "X")
    #expect(try fixture.stored("x") == number)
    #expect(try fixture.type(of: "x") == "REG_DWORD")
    #expect(fixture.setCount == 1)
  }

  @Test func afterTenSecondsItIsForgotten() throws {
    let fixture = try Fixture()
    try fixture.put("x", .dword, [1, 0, 0, 0])
    try fixture.fs.unlink("x", in: 1, by: fixture.caller)
    fixture.pass(10)
    try fixture.write("7\n", to: "x")
    #expect(try fixture.stored("x")?.type == .sz)
  }

  @Test("also when it was renamed away, as vim and sed -i.bak do")
  func renamedAway() throws {
    let fixture = try Fixture()
    try fixture.put("x", .dword, [1, 0, 0, 0])
    try fixture.rename("x", "x.bak")
    try fixture.write("7\n", to: "sedAbCdEf")
    try fixture.rename("sedAbCdEf", "x")
    #expect(try fixture.stored("x") == number)
    #expect(try fixture.stored("x.bak")?.data == [1, 0, 0, 0])
    // And once more: what took after it hands the type on.
    try fixture.rename("x", "x.bak")
    try fixture.write("8\n", to: "x")
    #expect(try fixture.stored("x")?.type == .dword)
  }

  @Test func anotherUserOfAnotherSessionMakesPlainText() throws {
    let fixture = try Fixture()
    try fixture.put("x", .dword, [1, 0, 0, 0])
    try fixture.fs.unlink("x", in: 1, by: fixture.caller)
    try fixture.write("7\n", to: "x", by: Caller(threadID: 0, userID: 1000, groupID: 1000))
    #expect(try fixture.stored("x")?.type == .sz)
  }

  @Test func anotherUserOfTheSameSessionMeansTheSameValue() throws {
    let fixture = try Fixture()
    try fixture.put("x", .dword, [1, 0, 0, 0])
    let session = try Session()
    try fixture.fs.unlink("x", in: 1, by: Caller(threadID: session.id, userID: 0, groupID: 0))
    try fixture.write("7\n", to: "x", by: Caller(threadID: session.id, userID: 1000, groupID: 1000))
    #expect(try fixture.stored("x") == number)
  }

  @Test func anotherSessionOfAnotherUserMeansAnotherValue() throws {
    let fixture = try Fixture()
    try fixture.put("x", .dword, [1, 0, 0, 0])
    let (session, another) = (try Session(), try Session())
    try fixture.fs.unlink("x", in: 1, by: Caller(threadID: session.id, userID: 0, groupID: 0))
    try fixture.write("7\n", to: "x", by: Caller(threadID: another.id, userID: 1000, groupID: 1000))
    #expect(try fixture.stored("x")?.type == .sz)
  }

  /// A process that leads a session. Our own session is no example: in a container its leader may be outside, and then
  /// nobody knows it.
  private final class Session {
    let id: pid_t

    init() throws {
      var attributes = posix_spawnattr_t()
      posix_spawnattr_init(&attributes)
      defer { posix_spawnattr_destroy(&attributes) }
      // POSIX_SPAWN_SETSID of <spawn.h>, which Swift is not shown.
      posix_spawnattr_setflags(&attributes, 0x80)
      let words = [strdup("sleep"), strdup("600"), nil]
      defer { words.forEach { free($0) } }
      var id: pid_t = 0
      let failure = posix_spawnp(&id, "sleep", nil, &attributes, words, nil)
      try #require(failure == 0, "posix_spawnp of sleep failed with \(failure)")
      self.id = id
    }

    deinit {
      kill(id, SIGKILL)
      waitpid(id, nil, 0)
    }
  }

  @Test("what was plain text without a type leaves its successor free to take another's")
  func untypedRemoved() throws {
    let fixture = try Fixture()
    try fixture.put("x", .dword, [1, 0, 0, 0])
    for text in ["6\n", "7\n"] {
      try fixture.write(text, to: "x.tmp")
      try fixture.rename("x.tmp", "x")
    }
    #expect(try fixture.stored("x") == number)
    _ = try fixture.fs.makeNode("x.tmp", in: 1, mode: regular, by: fixture.caller)
    #expect(try fixture.attributes(of: "x.tmp") == [])
  }

  @Test func theOldestGiveWay() throws {
    let fixture = try Fixture()
    for index in 0...256 {
      try fixture.put(UnicodeName("v\(index)"), .dword, [1, 0, 0, 0])
      try fixture.fs.unlink("v\(index)", in: 1, by: fixture.caller)
    }
    for (name, type) in [("v0", ValueType.sz), ("v1", .dword)] {
      try fixture.write("7\n", to: name)
      #expect(try fixture.stored(UnicodeName(name))?.type == type)
    }
  }
}

@Suite("Temporary files of editors and copy tools (SEMANTICS.md, 10.5 to 10.9)")
struct ScratchNameTests {
  @Test("10.5: what is made under a scratch name is in memory and asks nobody", arguments: [
    ".x.swp", ".x.swo", ".new.swx", ".x.swpx", "x~", "#x#", ".#x", ".x.AbC123", ".new.AbC123", "x.oAbC123", "4913", "sedAbC123", "XXAbC123",
    "tmpab_cd123", ".goutputstream-AbC123", ".#-emacsAbC123", ".@.swp", "@~", "k%val~", ".k%val.AbC123",
  ])
  func scratch(name: String) throws {
    let fixture = try Fixture()
    try fixture.put("x", .dword, [1, 0, 0, 0])
    try fixture.put("", .sz, [])
    _ = try fixture.fs.makeDirectory("k", in: 1, by: fixture.caller)
    try fixture.put("k", .sz, [])
    let listed = try fixture.list().count
    fixture.refusesAll.store(true, ordering: .relaxed)
    try fixture.write("7\n", to: name)
    #expect(try fixture.list().count == listed + 1)
    #expect(try fixture.cat(name) == "7\n")
    #expect(fixture.refusals.withLock { $0 } == 0)
    #expect(throws: Errno.accessDenied) { try fixture.rename(name, "x") }
    #expect(try fixture.stored("x")?.data == [1, 0, 0, 0])
    #expect(try fixture.cat(name) == "7\n")
    fixture.refusesAll.store(false, ordering: .relaxed)
    try fixture.rename(name, "x")
    #expect(fixture.sets.withLock { $0 } == ["x=REG_DWORD:4"])
    #expect(try fixture.list().count == listed)
    #expect(fixture.memory.counters == ScratchMemory.Counters())
  }

  @Test("10.5: names that only look alike are values at once", arguments: [
    "y~", "#y#", ".#y", "y.oAbC123", ".swp", ".x.swpp", ".x.swpxx", ".x.sw-", ".x.AbC12", ".x.AbC-23", "sedAbC12", "XXAbC1234", "tmpabcd",
    "4914", "~", "##", "k%foo~",
  ])
  func ordinary(name: String) throws {
    let fixture = try Fixture()
    try fixture.put("x", .dword, [1, 0, 0, 0])
    guard name != "k%foo~" else {
      #expect(throws: Errno.invalid) { try fixture.write("7\n", to: name) }
      return
    }
    try fixture.write("7\n", to: name)
    #expect(fixture.setCount == 1)
  }

  @Test("10.5: scratch=off and a type suffix make a value at once")
  func bypassed() throws {
    let fixture = try Fixture(usesScratchNames: false)
    try fixture.write("7\n", to: "sedAbC123")
    #expect(fixture.setCount == 1)
    let other = try Fixture()
    try other.put("x", .dword, [1, 0, 0, 0])
    try other.write("7\n", to: "x~%sz")
    #expect(other.sets.withLock { $0 } == ["x~=REG_SZ:4"])
    // A value of the hive that is renamed to such a name is one.
    try other.rename("x", "4913")
    #expect(other.sets.withLock { $0 }.last == "4913=REG_DWORD:4")
  }

  @Test("10.5: a value beside which it lies may have gone a moment ago")
  func besideARemovedValue() throws {
    let fixture = try Fixture()
    try fixture.put("x", .sz, [])
    try fixture.fs.unlink("x", in: 1, by: fixture.caller)
    try fixture.write("7\n", to: "x~")
    #expect(fixture.setCount == 0)
    fixture.pass(10)
    try fixture.write("7\n", to: "#x#")
    #expect(fixture.setCount == 1)
  }

  @Test("10.6: five seconds after its last handle it is promoted, in the name of who made it")
  func promotion() throws {
    let fixture = try Fixture()
    let maker = Caller(threadID: Fixture.ownThread, userID: 7, groupID: 8)
    let (_, file) = try fixture.fs.create("sedAbC123", in: 1, flags: writeOnly, by: maker)
    try Array("abc".utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: maker) }
    _ = try fixture.fs.flush(file, by: maker)
    fixture.pass(60)
    #expect(fixture.promote() == [])
    #expect(fixture.setCount == 0)
    fixture.fs.release(file)
    fixture.pass(4.9)
    let due = fixture.fs.promoteDue()
    #expect(due == fixture.time.withLock { $0 } + 100_000_000)
    #expect(fixture.setCount == 0)
    fixture.pass(0.1)
    #expect(fixture.promote() == [])
    #expect(fixture.sets.withLock { $0 } == ["sedAbC123=REG_SZ:8"])
    #expect(fixture.setters.withLock { $0 }.last == maker)
    #expect(try fixture.cat("sedAbC123") == "abc\n")
    #expect(fixture.memory.counters == ScratchMemory.Counters(promoted: 1))
    #expect(fixture.fs.promoteDue() == nil)
    // And one without a handle.
    _ = try fixture.fs.makeNode("plain", in: 1, mode: regular, by: maker)
    fixture.pass(4.9)
    #expect(fixture.promote() == [])
    #expect(fixture.setCount == 1)
    fixture.pass(0.1)
    #expect(fixture.promote() == [])
    #expect(fixture.sets.withLock { $0 }.last == "plain=REG_SZ:0")
    #expect(fixture.setters.withLock { $0 }.last == maker)
  }

  @Test("10.6: a maker whose thread has ended is nobody")
  func goneMaker() throws {
    let fixture = try Fixture()
    try fixture.write(Array("7\n".utf8), to: "sedAbC123", by: Caller(threadID: Int32.max, userID: 7, groupID: 8))
    fixture.pass(5)
    #expect(fixture.promote() == [])
    #expect(fixture.setters.withLock { $0 }.last == Caller(threadID: 0, userID: 7, groupID: 8))
  }

  @Test("10.6: one that is refused is told and gone")
  func refusedPromotion() throws {
    let fixture = try Fixture()
    try fixture.write("7\n", to: "sedAbC123")
    fixture.denied.withLock { $0 = ["sedabc123"] }
    fixture.pass(5)
    let dropped = fixture.namesDropped.withLock { $0 }
    #expect(fixture.promote() == [#"\REGISTRY\MACHINE\TEST\sedAbC123 was only in memory and is gone: Permission denied"#])
    #expect(fixture.refusals.withLock { $0 } == 1)
    #expect(fixture.namesDropped.withLock { $0 } == dropped + 1)
    #expect(try fixture.list() == [])
    #expect(fixture.memory.counters == ScratchMemory.Counters(lost: 1))
  }

  @Test("10.6: bytes without a type are promoted as REG_BINARY, and at the end of the mount all are")
  func promotedAtTheEnd() throws {
    let fixture = try Fixture()
    let (_, file) = try fixture.fs.create(".x.swp", in: 1, flags: writeOnly, by: fixture.caller)
    let bytes: [UInt8] = [0x80, 0]
    try bytes.withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.caller) }
    _ = try fixture.fs.makeNode("number%dword", in: 1, mode: regular, by: fixture.caller)
    fixture.fs.promoteAll()
    fixture.fs.release(file)
    #expect(try fixture.stored(".x.swp") == RegistryValue(type: .binary, data: bytes))
    #expect(try fixture.stored("number") == RegistryValue(type: .dword, data: []))
  }

  @Test("10.6: the thread promotes them, and its stop what is left")
  func thread() throws {
    let fixture = try Fixture()
    let promoter = UnsavedPromoter(fixture.fs)
    try fixture.write("7\n", to: "sedAbC123")
    fixture.pass(5)
    fixture.fs.release(try fixture.fs.open(try fixture.fs.lookUp("sedAbC123", in: 1).nodeID, flags: readOnly, by: fixture.caller).file)
    fixture.pass(5)
    _ = try fixture.fs.makeNode("other", in: 1, mode: regular, by: fixture.caller)
    fixture.promoted.wait()
    #expect(try fixture.stored("sedAbC123")?.type == .sz)
    #expect(try fixture.stored("other") == nil)
    promoter.stop()
    #expect(try fixture.stored("other")?.data == [])
  }

  @Test("10.7: scratch text is at most so much in all, ENOSPC beyond")
  func limit() throws {
    let fixture = try Fixture(scratchLimit: 10)
    try fixture.write("12345678", to: "sedAbC123")
    #expect(fixture.memory.counters == ScratchMemory.Counters(values: 1, bytes: 8))
    let (_, file) = try fixture.fs.create("sedAbC124", in: 1, flags: writeOnly, by: fixture.caller)
    #expect(throws: Errno.noSpace) {
      try Array("abc".utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.caller) }
    }
    fixture.fs.release(file)
    #expect(try fixture.list() == ["sedAbC123"])
    #expect(throws: Errno.noSpace) { try fixture.setAttribute("user.reg.data", [1, 2, 3], of: "sedAbC123") }
    try fixture.setAttribute("user.reg.data", [1, 2], of: "sedAbC123")
    // An ordinary name is not counted, until it becomes a scratch name.
    let (_, other) = try fixture.fs.create("plain", in: 1, flags: writeOnly, by: fixture.caller)
    try Array("abc".utf8).withUnsafeBytes { try fixture.fs.write(other, $0, offset: 0, by: fixture.caller) }
    #expect(throws: Errno.noSpace) { try fixture.rename("plain", "4913") }
    try fixture.fs.unlink("sedAbC123", in: 1, by: fixture.caller)
    try fixture.rename("plain", "4913")
    #expect(fixture.memory.counters == ScratchMemory.Counters(values: 1, bytes: 3))
    fixture.fs.release(other)
    #expect(fixture.setCount == 0)
  }

  @Test("10.8: from one scratch name to another nothing is asked; over another one, that one goes")
  func betweenScratchNames() throws {
    let fixture = try Fixture()
    try fixture.put("x", .sz, [])
    try fixture.write("1", to: ".#-emacsAbC123")
    try fixture.write("2", to: ".#x")
    try fixture.rename(".#-emacsAbC123", ".#x")
    #expect(try fixture.list() == [".#x", "x"])
    #expect(try fixture.cat(".#x") == "1")
    #expect(fixture.memory.counters == ScratchMemory.Counters(values: 1, bytes: 1))
    #expect(fixture.setCount == 0)
    try fixture.fs.unlink(".#x", in: 1, by: fixture.caller)
    #expect(try fixture.list() == ["x"])
  }

  @Test("5.8: RENAME_NOREPLACE keeps what is there, in memory or not, and an exchange is EINVAL")
  func flags() throws {
    let fixture = try Fixture()
    try fixture.put("x", .sz, [])
    try fixture.put("y", .sz, [])
    try fixture.write("1", to: "sedAbC123")
    try fixture.write("2", to: "4913")
    for (old, new) in [("sedAbC123", "x"), ("x", "sedAbC123"), ("sedAbC123", "4913"), ("x", "y")] {
      #expect(throws: Errno.exists) { try fixture.rename(old, new, flags: 1) }
      #expect(throws: Errno.invalid) { try fixture.rename(old, new, flags: 2) }
    }
    #expect(try fixture.list() == ["4913", "sedAbC123", "x", "y"])
    try fixture.rename("sedAbC123", "new", flags: 1)
    #expect(fixture.sets.withLock { $0 } == ["new=REG_SZ:4"])
    // A value of the hive comes over one that is only in memory.
    try fixture.rename("x", "4913")
    #expect(try fixture.stored("4913") == RegistryValue(type: .sz, data: []))
    #expect(fixture.memory.counters == ScratchMemory.Counters())
  }

  @Test("5.6: a key with a value that is only in memory is not empty")
  func notEmpty() throws {
    let fixture = try Fixture()
    let key = try fixture.fs.makeDirectory("k", in: 1, by: fixture.caller).nodeID
    let (_, file) = try fixture.fs.create("sedAbC123", in: key, flags: writeOnly, by: fixture.caller)
    fixture.fs.release(file)
    #expect(throws: Errno.notEmpty) { try fixture.fs.removeDirectory("k", in: 1, by: fixture.caller) }
    try fixture.fs.unlink("sedAbC123", in: key, by: fixture.caller)
    try fixture.fs.removeDirectory("k", in: 1, by: fixture.caller)
  }

  @Test("10.9: the kernel may forget it; it is there when it is asked for")
  func forgotten() throws {
    let fixture = try Fixture()
    try fixture.write("abc", to: "sedAbC123")
    fixture.fs.forget(try fixture.fs.lookUp("sedAbC123", in: 1).nodeID, count: 100)
    #expect(try fixture.cat("sedAbC123") == "abc")
    fixture.fs.forget(try fixture.fs.lookUp("sedAbC123", in: 1).nodeID, count: 100)
    fixture.pass(5)
    #expect(fixture.promote() == [])
    #expect(try fixture.cat("sedAbC123") == "abc\n")
  }
}
