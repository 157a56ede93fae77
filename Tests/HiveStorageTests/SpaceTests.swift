import Executive
import Testing

@testable import HiveStorage

/// Freed space is used again, and large lists cost what the format makes them cost.
@Suite struct SpaceTests {
  /// Ten rounds of 10,000 keys, made and deleted, some with a value.
  @Test func theFileDoesNotGrowAfterTheFirstRound() throws {
    let test = try TestHive(minorVersion: 5)
    var size: Int?
    for round in 0..<10 {
      var keys: [CellIndex] = []
      keys.reserveCapacity(10_000)
      for number in 0..<10_000 {
        let key = try test.create("Key \(number)", under: test.root)
        if number % 4 == 0 { try test.set("value", of: key, to: bytes(20 + number % 40)) }
        keys.append(key)
      }
      for key in keys { try test.delete(key) }
      let now = test.hive.byteCount
      if let size { #expect(now == size, "round \(round)") } else { size = now }
    }
    #expect(try test.hive.keyNode(at: test.root).subkeyCount == 0)
    // What is free is in one piece a bin.
    let statistics = try test.statistics()
    #expect(statistics.freeCells <= statistics.bins)
    test.expectSound()
  }

  /// Bytes that an insertion into a list of many marks for writing: a leaf's pages and few others, however long the
  /// list is. A value is appended; taking one out moves those behind it, which is what the format's lists without order
  /// and holes cost.
  @Test(arguments: [3, 5]) func anInsertionIntoALongListWritesFewPages(minor: Int) throws {
    let test = try TestHive(minorVersion: minor)
    let key = try test.create("many", under: test.root)
    for number in 0..<20_000 { _ = try test.create("N\((number &* 7919) % 20_011)", under: key) }
    for number in 0..<5_000 { try test.set(UnicodeName("v\(number)"), of: key, to: [1]) }
    try test.commit()
    for number in 0..<50 {
      _ = try test.create("M\(number)", under: key)
      // A split leaf is two new ones of 8 kB at most; the index root moves at most once in a while.
      #expect(test.hive.dirtyPageCount <= 16, "subkey \(number)")
      try test.commit()
      try test.set(UnicodeName("w\(number)"), of: key, to: [1])
      #expect(test.hive.dirtyPageCount <= 16, "value \(number)")
      try test.commit()
    }
    test.expectSound()
  }
}
