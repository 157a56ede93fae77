import ConfigurationManager
import Executive
import HiveStorage
import Testing

@testable import RegistryFileSystem

/// What a damaged hive shows: SEMANTICS 1.5, 2.13 and 7.4.
@Suite struct DamagedHiveTests {
  /// Keys A, B and C with a value each in the root and in B; `spoil` gets the bytes and where these keys and the value
  /// lie.
  private func fixture(
    _ spoil: (inout [UInt8], _ keys: [CellIndex], _ value: CellIndex) -> Void
  ) throws -> (Fixture, keys: [CellIndex], value: CellIndex) {
    let device = MemoryDevice()
    try Hive.format(device: device, minorVersion: 5)
    var hive = try Hive(device: device, access: .readWrite, logs: LogPair(MemoryDevice(), MemoryDevice()))
    var keys: [CellIndex] = []
    for name in ["A", "B", "C"] as [UnicodeName] {
      keys.append(try hive.createKey(under: hive.rootKey, named: name.units.span, time: .now()))
    }
    let name: UnicodeName = "v"
    let data: [UInt8] = Array("text of a value".utf8)
    _ = try hive.setValue(of: hive.rootKey, named: name.units.span, type: .binary, data: data, time: .now())
    let value = try hive.setValue(of: keys[1], named: name.units.span, type: .binary, data: data, time: .now())
    try hive.commit()
    var bytes = device.bytes
    spoil(&bytes, keys, value)
    return (try Fixture(MemoryDevice(bytes)), keys, value)
  }

  private func put(_ value: UInt32, at offset: Int, in bytes: inout [UInt8]) {
    for byte in 0..<4 { bytes[offset + byte] = UInt8(truncatingIfNeeded: value >> UInt32(8 * byte)) }
  }

  private func lost(_ cell: CellIndex) -> String { "%lost0x\(String(cell.fileOffset, radix: 16))" }

  /// 1.5, 2.13: the others are listed, the damaged one in the place of its name.
  @Test func aDamagedSubkeyIsSeenByItsPlace() throws {
    let (fixture, keys, _) = try fixture { bytes, keys, _ in bytes[keys[1].fileOffset + 4] = 0 }
    #expect(try fixture.list() == [lost(keys[1]), "A", "C", "v"])
    #expect(throws: Errno.unclean) { _ = try fixture.fs.lookUp(lost(keys[1]), in: 1) }
    #expect(throws: Errno.noEntry) { _ = try fixture.fs.lookUp(lost(keys[0]), in: 1) }
    #expect(throws: Errno.noEntry) { _ = try fixture.fs.lookUp("B", in: 1) }
    #expect(throws: Errno.invalid) { _ = try fixture.fs.makeDirectory(lost(keys[1]), in: 1, by: fixture.caller) }
    // The rest can be read and changed.
    #expect(try fixture.cat("v") == "text of a value")
    try fixture.echo("new\n", to: "w")
    #expect(try fixture.cat("w") == "new\n")
  }

  @Test func aDamagedValueIsSeenByItsPlace() throws {
    let (fixture, _, value) = try fixture { bytes, _, value in bytes[value.fileOffset + 4] = 0 }
    let b = try fixture.fs.lookUp("B", in: 1).nodeID
    #expect(try fixture.list(b) == [lost(value)])
    #expect(throws: Errno.unclean) { _ = try fixture.fs.lookUp(lost(value), in: b) }
  }

  /// 7.4: a value whose data cannot be read has a name, and reading it is EUCLEAN.
  @Test func dataThatCannotBeReadIsUnclean() throws {
    let (fixture, _, _) = try fixture { bytes, _, value in put(0x7FF0_0000, at: value.fileOffset + 12, in: &bytes) }
    let b = try fixture.fs.lookUp("B", in: 1).nodeID
    #expect(try fixture.list(b) == ["v"])
    #expect(throws: Errno.unclean) { _ = try fixture.cat("v", in: b) }
  }

  /// A list that cannot be read, and a count that does not fit, are seen in the directory.
  @Test func aDamagedListIsSeen() throws {
    let (fixture, _, _) = try fixture { bytes, _, _ in put(0x7FF0_0000, at: 4096 + 32 + 4 + 28, in: &bytes) }
    #expect(try fixture.list() == ["%lost0x7ff01000", "v"])
    #expect(throws: Errno.unclean) { _ = try fixture.fs.makeDirectory("new", in: 1, by: fixture.caller) }
  }

  /// A list that leads back up shows no second tree.
  @Test func aLoopIsLost() throws {
    let (fixture, keys, _) = try fixture { bytes, keys, _ in
      // B has the root's list.
      let (root, b) = (4096 + 32 + 4, keys[1].fileOffset + 4)
      for field in [20, 28] {
        bytes.replaceSubrange(b + field..<b + field + 4, with: bytes[root + field..<root + field + 4])
      }
    }
    let b = try fixture.fs.lookUp("B", in: 1).nodeID
    #expect(try fixture.list(b) == keys.map { lost($0) }.sorted() + ["v"])
    #expect(throws: Errno.unclean) { _ = try fixture.fs.lookUp("A", in: b) }
  }

  /// A key without a name would have the default value's file name.
  @Test func aKeyWithoutANameIsLost() throws {
    let (fixture, keys, _) = try fixture { bytes, keys, _ in bytes[keys[0].fileOffset + 4 + 72] = 0 }
    #expect(try fixture.list().contains(lost(keys[0])))
    #expect(throws: Errno.noEntry) { _ = try fixture.fs.lookUp("@", in: 1) }
  }
}
