import Executive
import Testing

@testable import HiveStorage

@Suite struct FreeTests {
  /// Two values of one data cell, behind a free one: the second time, the cell begins nowhere any more.
  @Test func aCellIsNotFreedTwice() throws {
    let test = try TestHive(minorVersion: 5)
    let key = try test.create("key", under: test.root)
    try test.set("a", of: key, to: [])
    let gap = try test.set("gap", of: key, to: bytes(64))
    let a = try test.set("a", of: key, to: bytes(64))
    let b = try test.set("b", of: key, to: bytes(64, 1))
    try test.deleteValue(of: key, value: gap)
    try test.hive.transaction { (hive) throws(HiveError) in
      let data = try hive.valueNode(at: a).data
      hive.image.store(data, try hive.valueNode(at: b).body, ValueNode.Field.data)
    }
    let statistics = try test.statistics()
    #expect { try test.delete(key) } throws: { "\($0)".contains("the cell is free") }
    #expect(try test.statistics() == statistics)
    #expect(try test.data(ofValue: b) == bytes(64))
  }
}
