import ConfigurationManager
import Executive
import HiveStorage
import Synchronization
import Testing

@testable import RegistryFileSystem

extension Fixture {
  func put(_ bytes: [UInt8], to name: String, _ flags: Int32 = truncate, at offset: Int = 0) throws {
    let file: OpenFile
    if let entry = try? fs.lookUp(name, in: 1) {
      file = try fs.open(entry.nodeID, flags: writeOnly | flags, by: caller).file
    } else {
      file = try fs.create(name, in: 1, flags: writeOnly | flags, by: caller).file
    }
    defer { fs.release(file) }
    try bytes.withUnsafeBytes { try fs.write(file, $0, offset: offset, by: caller) }
    _ = try fs.flush(file, by: caller)
  }

  func write(_ bytes: [UInt8], to file: OpenFile, at offset: Int) throws {
    try bytes.withUnsafeBytes { try fs.write(file, $0, offset: offset, by: caller) }
  }

  func value(_ name: UnicodeName) throws -> RegistryValue {
    let (information, data, _) = try registry.queryValue(of: registry.root, named: name)
    return RegistryValue(type: information.type, data: data)
  }

  func setAttribute(_ attribute: String, _ bytes: [UInt8], of node: UInt64, flags: Int32 = 0) throws {
    try bytes.withUnsafeBytes { _ = try fs.setAttribute(attribute, to: $0, flags: flags, of: node, by: caller) }
  }

  func attribute(_ attribute: String, of node: UInt64) throws -> [UInt8] {
    try fs.getAttribute(attribute, of: node, by: caller)
  }

  func attributes(of node: UInt64) throws -> [String] {
    try fs.listAttributes(of: node).split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
  }
}

/// SEMANTICS 2.8 and 3.10 to 3.12: values as bytes.
@Suite struct RawViewTests {
  @Test func bytesAreWrittenAsTheyAreAndTheTypeStays() throws {
    let fixture = try Fixture()
    try fixture.echo("1\n", to: "n%dword")
    try fixture.put([1, 2], to: "n%raw")
    #expect(try fixture.value("n") == RegistryValue(type: .dword, data: [1, 2]))
    try fixture.put([3], to: "n%raw", 0, at: 4)
    #expect(try fixture.value("n").data == [1, 2, 0, 0, 3])
    try fixture.put([9], to: "N%raw", 0o2000)
    #expect(try fixture.value("n").data == [1, 2, 0, 0, 3, 9])
    #expect(fixture.sets.withLock { $0 } == ["n=REG_DWORD:4", "n=REG_DWORD:2", "n=REG_DWORD:5", "n=REG_DWORD:6"])
    #expect(try fixture.list() == ["n"])
  }

  @Test func aNewOneIsBinaryAndBothViewsAreTheSame() throws {
    let fixture = try Fixture()
    let (entry, file) = try fixture.fs.create("v%raw", in: 1, flags: readWrite, by: fixture.caller)
    #expect(!entry.isExactSpelling)
    #expect(try fixture.list() == ["v"])
    #expect(try fixture.fs.lookUp("v%raw", in: 1).nodeID == entry.nodeID)
    try fixture.write([0xFF, 0], to: file, at: 0)
    #expect(try fixture.fs.lookUp("v", in: 1).attributes.size == 2)
    _ = try fixture.fs.flush(file, by: fixture.caller)
    fixture.fs.release(file)
    #expect(try fixture.value("v") == RegistryValue(type: .binary, data: [0xFF, 0]))
    #expect(try fixture.fs.lookUp("v%raw", in: 1).nodeID != fixture.fs.lookUp("v", in: 1).nodeID)
  }

  @Test func aValueWithTextThatIsNotSetYetHasNoBytesYet() throws {
    let fixture = try Fixture()
    let (_, file) = try fixture.fs.create("v", in: 1, flags: writeOnly, by: fixture.caller)
    #expect(throws: Errno.noEntry) { try fixture.fs.lookUp("v%raw", in: 1) }
    try Array("ab\n".utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.caller) }
    // All handles of one that is not set share its text.
    #expect(throws: Errno.busy) { try fixture.fs.create("v%raw", in: 1, flags: readWrite, by: fixture.caller) }
    _ = try fixture.fs.flush(file, by: fixture.caller)
    fixture.fs.release(file)
    #expect(try fixture.value("v").data == [0x61, 0, 0x62, 0, 0, 0])
    #expect(try fixture.list() == ["v"])
  }

  @Test func eachViewSeesWhatTheOtherHasSet() throws {
    let fixture = try Fixture()
    try fixture.echo("one\n", to: "v")
    let text = try fixture.fs.lookUp("v", in: 1).nodeID
    let raw = try fixture.fs.lookUp("v%raw", in: 1).nodeID
    let textReader = try fixture.fs.open(text, flags: readOnly, by: fixture.caller).file
    let rawReader = try fixture.fs.open(raw, flags: readOnly, by: fixture.caller).file
    #expect(!textReader.needsDirectIO && rawReader.needsDirectIO)
    func read(_ file: OpenFile) throws -> [UInt8] { try fixture.fs.read(file, offset: 0, size: 100, by: fixture.caller) }
    #expect(try read(textReader) == Array("one\n".utf8) && read(rawReader).count == 8)
    #expect(try fixture.fs.attributes(of: text).size == 4 && fixture.fs.attributes(of: raw).size == 8)

    let rawWriter = try fixture.fs.open(raw, flags: writeOnly | truncate, by: fixture.caller).file
    fixture.attributesDropped.withLock { $0 = [] }
    try fixture.write([0x7A, 0, 0, 0], to: rawWriter, at: 0)
    // The pages that the kernel has are those of the text.
    #expect(try fixture.fs.flush(rawWriter, by: fixture.caller) == text)
    fixture.fs.release(rawWriter)
    #expect(fixture.attributesDropped.withLock { $0 }.isSuperset(of: [text, raw]))
    #expect(try read(textReader) == Array("z\n".utf8) && read(rawReader) == [0x7A, 0, 0, 0])
    #expect(try fixture.fs.attributes(of: text).size == 2 && fixture.fs.attributes(of: raw).size == 4)
    let reader = try fixture.fs.open(text, flags: readOnly, by: fixture.caller)
    #expect(!reader.keepsCache)
    fixture.fs.release(reader.file)

    try fixture.echo("three\n", to: "v")
    #expect(try read(textReader) == Array("three\n".utf8) && read(rawReader).count == 12)
    #expect(try fixture.fs.attributes(of: raw).size == 12)
    fixture.fs.release(textReader)
    fixture.fs.release(rawReader)
  }

  @Test func theOtherViewLearnsTheTypeAlsoWhileItRests() throws {
    let fixture = try Fixture()
    try fixture.echo("42\n", to: "v")
    let raw = try fixture.fs.lookUp("v%raw", in: 1).nodeID
    let text = try fixture.fs.lookUp("v", in: 1).nodeID
    _ = try fixture.fs.attributes(of: raw)
    for number in 0..<1100 {
      try fixture.registry.setValue(
        of: fixture.registry.root, named: UnicodeName("o\(number)"), to: RegistryValue(type: .sz, data: []), by: fixture.caller)
      _ = try fixture.fs.lookUp("o\(number)", in: 1)
    }
    try fixture.setAttribute("user.reg.type", Array("REG_QWORD".utf8), of: text)
    #expect(try fixture.fs.attributes(of: raw).size == 8)
    try fixture.put([1], to: "v%raw")
    #expect(try fixture.value("v") == RegistryValue(type: .qword, data: [1]))
  }

  @Test func aWriterWithNothingInHandSeesWhatOthersSet() throws {
    let fixture = try Fixture()
    try fixture.put([1, 2, 3], to: "v%raw")
    let node = try fixture.fs.lookUp("v%raw", in: 1).nodeID
    let first = try fixture.fs.open(node, flags: readWrite, by: fixture.caller).file
    #expect(try fixture.fs.read(first, offset: 0, size: 10, by: fixture.caller) == [1, 2, 3])
    try fixture.put([4, 5], to: "v%raw")
    #expect(try fixture.fs.read(first, offset: 0, size: 10, by: fixture.caller) == [4, 5])
    try fixture.write([9], to: first, at: 1)
    try fixture.put([7, 7, 7], to: "v%raw")
    // What it has in hand is its own.
    #expect(try fixture.fs.read(first, offset: 0, size: 10, by: fixture.caller) == [4, 9])
    _ = try fixture.fs.flush(first, by: fixture.caller)
    fixture.fs.release(first)
    #expect(try fixture.value("v").data == [4, 9])
  }

  /// A text as it was written is the handle's until somebody else sets the value.
  @Test func aHandleGoesOnWithTheTextThatItWrote() throws {
    let fixture = try Fixture()
    try fixture.echo("0\n", to: "n%dword")
    let file = try fixture.fs.open(try fixture.fs.lookUp("n", in: 1).nodeID, flags: readWrite | truncate, by: fixture.caller).file
    try Array("0x2".utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.caller) }
    _ = try fixture.fs.flush(file, by: fixture.caller)
    try Array("A\n".utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 3, by: fixture.caller) }
    _ = try fixture.fs.flush(file, by: fixture.caller)
    fixture.fs.release(file)
    #expect(try fixture.cat("n") == "42\n")
  }

  @Test func bytesAreJudgedAsTextIs() throws {
    let fixture = try Fixture()
    try fixture.echo("1\n", to: "start%dword")
    let raw = try fixture.fs.lookUp("start%raw", in: 1).nodeID
    fixture.denied.withLock { _ = $0.insert("start") }
    #expect(throws: Errno.accessDenied) { try fixture.put([1], to: "START%raw") }
    #expect(throws: Errno.accessDenied) { try fixture.setAttribute("user.reg.data", [1], of: raw) }
    #expect(throws: Errno.accessDenied) {
      _ = try fixture.fs.setAttributes(of: raw, file: nil, size: 1, modified: nil, by: fixture.caller)
    }
    fixture.denied.withLock { _ = $0.insert("new") }
    #expect(throws: Errno.accessDenied) { try fixture.put([1], to: "new%raw") }
    #expect(try fixture.value("start").data == [1, 0, 0, 0])
    #expect(try fixture.list() == ["start"])
  }

  @Test func aViewIsNoNameToMoveToOrFrom() throws {
    let fixture = try Fixture()
    try fixture.echo("x\n", to: "v")
    for (from, to) in [("v%raw", "w"), ("v", "w%raw"), ("v", "v%raw")] {
      #expect(throws: Errno.invalid) {
        _ = try fixture.fs.rename(from, in: 1, to: to, in: 1, flags: 0, by: fixture.caller)
      }
    }
    #expect(throws: Errno.invalid) { _ = try fixture.fs.makeDirectory("k%raw", in: 1, by: fixture.caller) }
    try fixture.fs.unlink("v%raw", in: 1, by: fixture.caller)
    #expect(try fixture.list().isEmpty)
  }

  /// SEMANTICS 3.9: at the write, before anything is changed, and without the memory for it.
  @Test func beyondTheFormatsLimitIsTooLarge() throws {
    let device = MemoryDevice(name: "memory", [])
    try Hive.format(device: device, minorVersion: 3)
    let fixture = try Fixture(device)
    let longest = 1 << 20
    try fixture.put([1], to: "v%raw", 0, at: longest - 1)
    #expect(try fixture.value("v").data.count == longest)
    for offset in [longest, longest + 1, 1 << 40, Int.max] {
      #expect(throws: Errno.fileTooLarge) { try fixture.put([2], to: "v%raw", 0, at: offset) }
    }
    let raw = try fixture.fs.lookUp("v%raw", in: 1).nodeID
    #expect(throws: Errno.fileTooLarge) {
      _ = try fixture.fs.setAttributes(of: raw, file: nil, size: longest + 1, modified: nil, by: fixture.caller)
    }
    #expect(throws: Errno.fileTooLarge) { try fixture.put(Array(repeating: 0x61, count: longest / 2 * 3 + 2), to: "t") }
    #expect(throws: Errno.fileTooLarge) { try fixture.put(Array(repeating: 0x61, count: longest / 2 + 1), to: "t") }
    #expect(throws: Errno.fileTooLarge) {
      try fixture.setAttribute("user.reg.data", Array(repeating: 0, count: longest + 1), of: raw)
    }
    #expect(try fixture.value("v").data.count == longest)
    #expect(try fixture.list() == ["v"])
  }

  @Test func aNewValuesHandleGoesOnSayingWhyItFailed() throws {
    let fixture = try Fixture()
    let (_, file) = try fixture.fs.create("v%raw", in: 1, flags: writeOnly, by: fixture.caller)
    for offset in [Int.max, 0] {
      #expect(throws: Errno.fileTooLarge) { try fixture.write([1], to: file, at: offset) }
    }
    #expect(throws: Errno.fileTooLarge) { _ = try fixture.fs.flush(file, by: fixture.caller) }
    fixture.fs.release(file)
    #expect(try fixture.list().isEmpty)
  }

  @Test func aGapThatNobodyWroteIsNotMadeOfMemory() throws {
    let device = MemoryDevice(name: "memory", [])
    try Hive.format(device: device, minorVersion: 5)
    let fixture = try Fixture(device, largestText: 1 << 30)
    try fixture.put([1], to: "v%raw")
    #expect(throws: Errno.fileTooLarge) { try fixture.put([2], to: "v%raw", 0, at: 17 << 20) }
    let raw = try fixture.fs.lookUp("v%raw", in: 1).nodeID
    #expect(throws: Errno.fileTooLarge) {
      _ = try fixture.fs.setAttributes(of: raw, file: nil, size: 17 << 20, modified: nil, by: fixture.caller)
    }
    try fixture.put([2], to: "v%raw", 0, at: 15 << 20)
    #expect(try fixture.value("v").data.count == 15 << 20 + 1)
  }

  // MARK: Views of a whole mount

  @Test func withTheOptionEveryFileIsBytes() throws {
    let fixture = try Fixture(view: .bytes)
    try fixture.put([1, 2], to: "v")
    #expect(try fixture.value("v") == RegistryValue(type: .binary, data: [1, 2]))
    let node = try fixture.fs.lookUp("v", in: 1).nodeID
    try fixture.setAttribute("user.reg.type", Array("REG_SZ".utf8), of: node)
    #expect(try fixture.value("v") == RegistryValue(type: .sz, data: [1, 2]))
    #expect(try fixture.fs.lookUp("v", in: 1).attributes.size == 2)
    #expect(try fixture.attributes(of: node) == ["user.reg.type"])
    try fixture.put([5], to: "n%dword")
    #expect(try fixture.value("n") == RegistryValue(type: .dword, data: [5]))
    try fixture.put([6], to: "tmp")
    _ = try fixture.fs.rename("tmp", in: 1, to: "n", in: 1, flags: 0, by: fixture.caller)
    #expect(try fixture.value("n") == RegistryValue(type: .dword, data: [6]))
    #expect(try fixture.cat("n%raw") == "\u{6}")
  }

  @Test func numbersInHexadecimal() throws {
    let fixture = try Fixture(view: .hexadecimal)
    try fixture.echo("42\n", to: "n%dword")
    #expect(try fixture.cat("n") == "0x0000002a\n")
    try fixture.echo("0x10\n", to: "q%qword")
    #expect(try fixture.cat("q") == "0x0000000000000010\n")
    #expect(try fixture.attributes(of: fixture.fs.lookUp("n", in: 1).nodeID) == ["user.reg.type"])
  }

  /// SEMANTICS 2.14.
  @Test func namesListedWithTheirTypes() throws {
    let fixture = try Fixture(listsTypes: true)
    try fixture.echo("1\n", to: "n%dword")
    try fixture.echo("x\n", to: "s")
    try fixture.echo("y\n", to: "both")
    try fixture.registry.createKey(named: "Both", in: fixture.registry.root, by: fixture.caller) { key, _ in
      fixture.registry.close(key)
    }
    try fixture.put([1], to: "@%0x63")
    let (_, pending) = try fixture.fs.create("new%qword", in: 1, flags: writeOnly, by: fixture.caller)
    #expect(try fixture.list() == ["@%0x63", "Both", "both%sz", "n%dword", "new%qword", "s%sz"])
    fixture.fs.release(pending)
    for name in try fixture.list() { _ = try fixture.fs.lookUp(name, in: 1) }
    #expect(try fixture.fs.lookUp("n", in: 1).isExactSpelling && !fixture.fs.lookUp("n%dword", in: 1).isExactSpelling)
    // Removed under the one name, it must not be found under the other: the kernel is told.
    let dropped = fixture.namesDropped.withLock { $0 }
    try fixture.fs.unlink("n%dword", in: 1, by: fixture.caller)
    #expect(fixture.namesDropped.withLock { $0 } == dropped + 1)
    #expect(throws: Errno.noEntry) { try fixture.fs.lookUp("n", in: 1) }
    // Another type is another name.
    try fixture.setAttribute("user.reg.type", Array("REG_EXPAND_SZ".utf8), of: try fixture.fs.lookUp("s", in: 1).nodeID)
    #expect(throws: Errno.noEntry) { try fixture.fs.lookUp("s%sz", in: 1) }
    #expect(try fixture.list().contains("s%expand_sz"))
  }
}
