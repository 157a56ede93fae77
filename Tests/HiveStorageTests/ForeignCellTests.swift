import Executive
import Testing

@testable import HiveStorage

/// References into the middle of cells, found by fuzzing: what lies there may look like a cell.
@Suite struct ForeignCellTests {
  /// A value whose data holds a free-standing cell of a size that runs over the cells behind it.
  private func hive() throws -> (test: TestHive, key: CellIndex, inside: CellIndex) {
    let test = try TestHive(minorVersion: 5)
    let key = try test.create("key", under: test.root)
    var data = bytes(64)
    // At 12 of the data, 16 bytes from the cell's start: a size of 88 bytes, allocated.
    put32(UInt32(bitPattern: -88), at: 12, in: &data)
    let holder = try test.set("holder", of: key, to: data)
    try test.set("victim", of: key, to: bytes(200))
    let victim = try test.set("neighbour", of: key, to: bytes(64))
    let place = try test.hive.valueNode(at: holder).data
    let inside = CellIndex(rawValue: place.rawValue + 16)
    try test.hive.transaction { (hive) throws(HiveError) in
      hive.image.store(inside, try hive.valueNode(at: victim).body, ValueNode.Field.data)
    }
    return (test, key, inside)
  }

  @Test func whatLooksLikeACellIsReadButNotChanged() throws {
    let (test, key, inside) = try hive()
    let victim = try #require(try test.value("neighbour", of: key))
    #expect(try test.data(ofValue: victim).count == 64)
    let before = test.dump()
    for change in [
      { try test.set("neighbour", of: key, to: [1]) }, { try test.set("neighbour", of: key, to: bytes(64)) },
      { try test.deleteValue(of: key, value: victim); return victim }, { try test.delete(key); return victim },
    ] as [() throws -> CellIndex] {
      #expect { _ = try change() } throws: {
        "\($0)".contains("0x\(String(inside.fileOffset, radix: 16)): no cell begins there")
      }
    }
    #expect(test.dump() == before)
    let rules = HiveChecker(test.hive).findings.map(\.rule)
    #expect(Set(rules) == [.cellReference])
  }
}
