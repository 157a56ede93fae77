import ConfigurationManager
import Executive
import HiveStorage
import Synchronization
import Testing

@testable import RegistryFileSystem

private let create: Int32 = 1
private let replace: Int32 = 2

/// SEMANTICS 4.4 and 4.6 to 4.8.
@Suite struct ExtendedAttributeTests {
  /// A value that text cannot show: a REG_DWORD of eight bytes, whose text is a number too large for one.
  private let odd = RegistryValue(type: .dword, data: [1, 0, 0, 0, 1, 0, 0, 0])
  private let oddText = Array("4294967297\n".utf8)

  private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

  private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  @Test func exactBytesAreSetWithTheTypeThatIsThere() throws {
    let fixture = try Fixture()
    try fixture.echo("1\n", to: "n%dword")
    let node = try fixture.fs.lookUp("n", in: 1).nodeID
    #expect(throws: Errno.noData) { _ = try fixture.attribute("user.reg.data", of: node) }
    try fixture.setAttribute("user.reg.data", odd.data, of: node)
    #expect(try fixture.value("n") == odd)
    #expect(try fixture.attributes(of: node) == ["user.reg.data", "user.reg.type"])
    #expect(try fixture.attribute("user.reg.data", of: node) == odd.data)
    #expect(try fixture.cat("n") == text(oddText))
    #expect(fixture.sets.withLock { $0 } == ["n=REG_DWORD:4", "n=REG_DWORD:8"])
    // Text that says something else takes their place.
    try fixture.echo("7\n", to: "n")
    #expect(try fixture.value("n").data == [7, 0, 0, 0])
    #expect(try fixture.attributes(of: node) == ["user.reg.type"])
  }

  /// `cp -a`, `tar`: attributes come before the handle is closed, in either order, on a new value and on one that is there.
  @Test(arguments: [true, false], [true, false]) func attributesWinOverTextWrittenBefore(isThere: Bool, isTypeFirst: Bool) throws {
    let fixture = try Fixture()
    if isThere { try fixture.echo("something else\n", to: "v") }
    let before = fixture.sets.withLock { $0.count }
    let file: OpenFile
    let node: UInt64
    if isThere {
      node = try fixture.fs.lookUp("v", in: 1).nodeID
      file = try fixture.fs.open(node, flags: writeOnly | truncate, by: fixture.caller).file
    } else {
      let created = try fixture.fs.create("v", in: 1, flags: writeOnly, by: fixture.caller)
      (node, file) = (created.entry.nodeID, created.file)
    }
    try oddText.withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.caller) }
    for isType in [isTypeFirst, !isTypeFirst] {
      if isType {
        try fixture.setAttribute("user.reg.type", bytes("REG_DWORD"), of: node)
      } else {
        try fixture.setAttribute("user.reg.data", odd.data, of: node, flags: create)
      }
    }
    #expect(text(try fixture.attribute("user.reg.type", of: node)) == "REG_DWORD")
    #expect(try fixture.attribute("user.reg.data", of: node) == odd.data)
    _ = try fixture.fs.flush(file, by: fixture.caller)
    fixture.fs.release(file)
    #expect(try fixture.value("v") == odd)
    #expect(fixture.sets.withLock { $0.count } == before + 1)
  }

  /// An empty file has nothing to write: what was opened and emptied is set with the attributes, too.
  @Test func attributesOfAFileThatIsOnlyEmptied() throws {
    let fixture = try Fixture()
    try fixture.echo("1\n", to: "n%dword")
    let node = try fixture.fs.lookUp("n", in: 1).nodeID
    let file = try fixture.fs.open(node, flags: writeOnly | truncate, by: fixture.caller).file
    try fixture.setAttribute("user.reg.data", [], of: node)
    try fixture.setAttribute("user.reg.type", bytes("REG_QWORD"), of: node)
    _ = try fixture.fs.flush(file, by: fixture.caller)
    fixture.fs.release(file)
    #expect(try fixture.value("n") == RegistryValue(type: .qword, data: []))
  }

  @Test func textWrittenAfterwardsDropsTheBytes() throws {
    let fixture = try Fixture()
    let (entry, file) = try fixture.fs.create("v", in: 1, flags: writeOnly, by: fixture.caller)
    try fixture.setAttribute("user.reg.data", [1, 2, 3], of: entry.nodeID)
    try bytes("x\n").withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.caller) }
    #expect(throws: Errno.noData) { _ = try fixture.attribute("user.reg.data", of: entry.nodeID) }
    _ = try fixture.fs.flush(file, by: fixture.caller)
    fixture.fs.release(file)
    #expect(try fixture.value("v").data == [0x78, 0, 0, 0])
  }

  @Test func aFailedHandleTakesItsAttributesWithIt() throws {
    let fixture = try Fixture()
    try fixture.echo("1\n", to: "n%dword")
    let node = try fixture.fs.lookUp("n", in: 1).nodeID
    let file = try fixture.fs.open(node, flags: writeOnly | truncate, by: fixture.caller).file
    try fixture.setAttribute("user.reg.type", bytes("REG_QWORD"), of: node)
    try fixture.setAttribute("user.reg.data", [1], of: node)
    #expect(throws: Errno.invalid) {
      try bytes("x").withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.caller) }
    }
    fixture.fs.release(file)
    #expect(text(try fixture.attribute("user.reg.type", of: node)) == "REG_DWORD")
    #expect(try fixture.value("n").data == [1, 0, 0, 0])
  }

  /// rsync sets attributes of the closed temporary file in the order of their names, and renames it.
  @Test func aTypeLeavesBytesThatWereGivenAsSuch() throws {
    let fixture = try Fixture()
    try fixture.echo(text(oddText), to: ".v.Ab12cD")
    let node = try fixture.fs.lookUp(".v.Ab12cD", in: 1).nodeID
    try fixture.setAttribute("user.reg.data", odd.data, of: node)
    try fixture.setAttribute("user.reg.type", bytes("REG_DWORD"), of: node)
    try fixture.echo("9\n", to: "v%qword")
    _ = try fixture.fs.rename(".v.Ab12cD", in: 1, to: "v", in: 1, flags: 0, by: fixture.caller)
    #expect(try fixture.value("v") == odd)
    // Bytes of an untyped value take the target's type, unread.
    try fixture.echo("x\n", to: "tmp")
    try fixture.setAttribute("user.reg.data", [9], of: try fixture.fs.lookUp("tmp", in: 1).nodeID)
    _ = try fixture.fs.rename("tmp", in: 1, to: "v", in: 1, flags: 0, by: fixture.caller)
    #expect(try fixture.value("v") == RegistryValue(type: .dword, data: [9]))
    // Written as text, it is read anew again.
    try fixture.echo("12\n", to: "v")
    try fixture.setAttribute("user.reg.type", bytes("REG_SZ"), of: try fixture.fs.lookUp("v", in: 1).nodeID)
    #expect(try fixture.cat("v") == "12\n")
  }

  /// tar makes the file, gives it its attributes, and writes its text last.
  @Test func theTextThatTheBytesShowKeepsThem() throws {
    let fixture = try Fixture()
    let node = try fixture.fs.makeFile("v", in: 1, by: fixture.caller).nodeID
    #expect(try fixture.value("v") == RegistryValue(type: .sz, data: []))
    #expect(throws: Errno.exists) { _ = try fixture.fs.makeFile("V", in: 1, by: fixture.caller) }
    try fixture.setAttribute("user.reg.type", bytes("REG_DWORD"), of: node)
    try fixture.setAttribute("user.reg.data", odd.data, of: node)
    #expect(throws: Errno.range) { try fixture.put(bytes("42949672970"), to: "v") }
    // No REG_DWORD could be this text, but it is what the bytes show.
    try fixture.put(oddText, to: "v")
    #expect(try fixture.value("v") == odd)
    try fixture.put(bytes("1"), to: "v")
    #expect(try fixture.value("v").data == [1, 0, 0, 0])
    try fixture.setAttribute("user.reg.data", [1, 0, 0, 0, 0, 0, 0, 0], of: node)
    try fixture.put(bytes("1\n"), to: "v")
    #expect(try fixture.value("v").data == [1, 0, 0, 0, 0, 0, 0, 0])
  }

  /// SEMANTICS 4.11: what has no type yet takes any bytes until it is closed, and none is lost when the type comes.
  @Test func bytesWithoutATypeWaitForIt() throws {
    let fixture = try Fixture()
    #expect(throws: Errno.illegalSequence) { try fixture.put([0xFF, 0x0A], to: "none") }
    #expect(try fixture.list() == [])
    for (number, content) in [[0x61, 0x62], [0x61, 0x0A], []].enumerated() as EnumeratedSequence<[[UInt8]]> {
      let name = "v\(number)"
      try fixture.put(content, to: name)
      let node = try fixture.fs.lookUp(name, in: 1).nodeID
      #expect(text(try fixture.attribute("user.reg.type", of: node)) == "REG_SZ")
      try fixture.setAttribute("user.reg.type", bytes("REG_NONE"), of: node)
      #expect(try fixture.value(UnicodeName(name)) == RegistryValue(type: .none, data: content))
    }
    try fixture.put([1], to: "x%binary")
    try fixture.put([0x61], to: "tmp")
    _ = try fixture.fs.rename("tmp", in: 1, to: "x", in: 1, flags: 0, by: fixture.caller)
    #expect(try fixture.value("x") == RegistryValue(type: .binary, data: [0x61]))
    // With a type, and once it has one, a text must be one.
    #expect(throws: Errno.illegalSequence) { try fixture.put([0xFF], to: "s%sz") }
    try fixture.put([0x61], to: "s")
    #expect(throws: Errno.illegalSequence) { try fixture.put([0xFF], to: "s") }
    try fixture.put([0x61, 0x62, 0x63], to: "s")
    try fixture.setAttribute("user.reg.type", bytes("REG_NONE"), of: try fixture.fs.lookUp("s", in: 1).nodeID)
    #expect(try fixture.value("s").data == bytes("abc\n"))
  }

  @Test func takingTheBytesAwayLeavesTheText() throws {
    let fixture = try Fixture()
    try fixture.registry.setValue(
      of: fixture.registry.root, named: "v", to: RegistryValue(type: .sz, data: [0x61, 0, 0x62]), by: fixture.caller)
    let node = try fixture.fs.lookUp("v", in: 1).nodeID
    func remove(_ name: String) throws { _ = try fixture.fs.removeAttribute(name, of: node, by: fixture.caller) }
    fixture.denied.withLock { _ = $0.insert("v") }
    #expect(throws: Errno.accessDenied) { try remove("user.reg.data") }
    fixture.denied.withLock { $0 = [] }
    try remove("user.reg.data")
    #expect(try fixture.value("v").data == [0x61, 0, 0, 0])
    #expect(throws: Errno.noData) { try remove("user.reg.data") }
    #expect(throws: Errno.noData) { try remove("user.other") }
    #expect(throws: Errno.noData) { try remove("user.reg.class") }
    for name in ["user.reg.type", "user.reg.name", "user.reg.lastwrite", "user.reg.flags"] {
      #expect(throws: Errno.notPermitted) { try remove(name) }
    }
    // What is shown is no number of the type.
    try fixture.registry.setValue(of: fixture.registry.root, named: "v", to: odd, by: fixture.caller)
    #expect(throws: Errno.range) { try remove("user.reg.data") }
    #expect(try fixture.value("v") == odd)
  }

  @Test func createAndReplaceAskWhetherItIsThere() throws {
    let fixture = try Fixture()
    try fixture.echo("1\n", to: "n%dword")
    let node = try fixture.fs.lookUp("n", in: 1).nodeID
    #expect(throws: Errno.exists) { try fixture.setAttribute("user.reg.type", bytes("REG_SZ"), of: node, flags: create) }
    #expect(throws: Errno.noData) { try fixture.setAttribute("user.reg.data", [1], of: node, flags: replace) }
    try fixture.setAttribute("user.reg.data", [1], of: node, flags: create)
    #expect(throws: Errno.exists) { try fixture.setAttribute("user.reg.data", [2], of: node, flags: create) }
    try fixture.setAttribute("user.reg.data", [2], of: node, flags: replace)
    try fixture.setAttribute("user.reg.type", bytes("REG_QWORD"), of: node, flags: replace)
    #expect(try fixture.value("n") == RegistryValue(type: .qword, data: [2]))
    #expect(throws: Errno.exists) { try fixture.setAttribute("system.ntfs_acl", [], of: 1, flags: create) }
    #expect(throws: Errno.noData) { try fixture.setAttribute("user.reg.class", bytes("c"), of: 1, flags: replace) }
  }

  @Test func whatIsReadAndNotListed() throws {
    let fixture = try Fixture()
    try fixture.echo("1\n", to: "a/b".replacing("/", with: "%2F"))
    let node = try fixture.fs.lookUp("A%2fB", in: 1).nodeID
    #expect(text(try fixture.attribute("user.reg.name", of: node)) == "a%2Fb")
    #expect(text(try fixture.attribute("user.reg.flags", of: node)) == "0x1")
    let time = try fixture.registry.query(fixture.registry.root).lastWriteTime.rawValue
    #expect(text(try fixture.attribute("user.reg.lastwrite", of: node)) == "\(time)")
    #expect(text(try fixture.attribute("user.reg.lastwrite", of: 1)) == "\(time)")
    #expect(text(try fixture.attribute("user.reg.flags", of: 1)) == "0x2c")
    #expect(try fixture.attributes(of: node) == ["user.reg.type"])
    #expect(try fixture.attributes(of: 1).isEmpty)
    for (name, id) in [("user.reg.class", node), ("user.reg.sddl", node), ("user.reg.type", 1), ("user.reg.data", 1)] as [(String, UInt64)] {
      #expect(throws: Errno.noData) { _ = try fixture.attribute(name, of: id) }
    }
    for (name, id) in [("user.reg.name", node), ("user.reg.flags", 1), ("user.reg.class", node), ("user.reg.type", 1), ("user.x", 1)] as [(String, UInt64)] {
      #expect(throws: Errno.notSupported) { try fixture.setAttribute(name, bytes("1"), of: id) }
    }
  }

  /// SEMANTICS 4.9.
  @Test func aKeysClass() throws {
    let fixture = try Fixture()
    let node = try fixture.fs.makeDirectory("k", in: 1, by: fixture.caller).nodeID
    try fixture.setAttribute("user.reg.class", bytes("Größe%2F1"), of: node)
    #expect(try fixture.attributes(of: node) == ["user.reg.class"])
    #expect(text(try fixture.attribute("user.reg.class", of: node)) == "Größe%2F1")
    try fixture.setAttribute("user.reg.class", bytes(String(repeating: "c", count: 32767)), of: node)
    #expect(try fixture.attribute("user.reg.class", of: node).count == 32767)
    #expect(throws: Errno.nameTooLong) { try fixture.setAttribute("user.reg.class", bytes(String(repeating: "c", count: 32768)), of: node) }
    #expect(throws: Errno.invalid) { try fixture.setAttribute("user.reg.class", bytes("100%"), of: node) }
    #expect(throws: Errno.illegalSequence) { try fixture.setAttribute("user.reg.class", [0xFF], of: node) }
    _ = try fixture.fs.removeAttribute("user.reg.class", of: node, by: fixture.caller)
    #expect(try fixture.attributes(of: node).isEmpty)
    #expect(throws: Errno.noData) { _ = try fixture.fs.removeAttribute("user.reg.class", of: node, by: fixture.caller) }
    try fixture.setAttribute("user.reg.class", bytes("c"), of: node)
    try fixture.setAttribute("user.reg.class", [], of: node)
    #expect(try fixture.attributes(of: node).isEmpty)
  }

  /// SEMANTICS 4.10.
  @Test func aKeysSecurityAsText() throws {
    let fixture = try Fixture()
    let node = try fixture.fs.makeDirectory("k", in: 1, by: fixture.caller).nodeID
    let whole = "O:BAG:SYD:PAI(A;CI;KA;;;SY)(A;CI;KR;;;BU)S:AI(AU;SAFA;KW;;;WD)"
    try fixture.setAttribute("user.reg.sddl", bytes(whole), of: node)
    #expect(text(try fixture.attribute("user.reg.sddl", of: node)) == whole)
    #expect(SecurityDescriptorParts(try fixture.attribute("system.ntfs_acl", of: node))?.text == whole)
    try fixture.setAttribute("user.reg.sddl", bytes("D:(A;;KA;;;BA)\n"), of: node)
    #expect(text(try fixture.attribute("user.reg.sddl", of: node)) == "O:BAG:SYD:(A;;KA;;;BA)S:AI(AU;SAFA;KW;;;WD)")
    for bad in ["", "D:(A;;KA;;;", "KA"] {
      #expect(throws: Errno.invalid) { try fixture.setAttribute("user.reg.sddl", bytes(bad), of: node) }
    }
    #expect(throws: Errno.notPermitted) { _ = try fixture.fs.removeAttribute("user.reg.sddl", of: node, by: fixture.caller) }
  }
}
