import Executive
import HiveModel
import Testing

@testable import HiveStorage

/// SEMANTICS.md 1.14: counted once, and kept by every kind of change.
@Suite struct PopulationTests {
  private static func counted(_ hive: borrowing Hive) -> Hive.Population {
    var population = Hive.Population()
    for line in String(decoding: HiveDump(hive).bytes, as: UTF8.self).split(separator: "\n") {
      if line.hasPrefix("K") { population.keys += 1 } else { population.values += 1 }
    }
    return population
  }

  private static func makeHive() throws -> Hive {
    let device = MemoryDevice(name: "population", [])
    try Hive.format(device: device, minorVersion: 5, rootName: "ROOT")
    return try Hive(device: device, access: .readWrite)
  }

  @Test func everyChangeCounts() throws {
    var hive = try Self.makeHive()
    #expect(try hive.population() == Hive.Population(keys: 1, values: 0))
    let time = FileTime(rawValue: 1)
    let a = try hive.createKey(under: hive.rootKey, named: UnicodeName("a").units.span, time: time)
    let b = try hive.createKey(under: a, named: UnicodeName("b").units.span, time: time)
    for name in ["x", "y", "z"] as [UnicodeName] {
      _ = try hive.setValue(of: b, named: name.units.span, type: .sz, data: [1, 2], time: time)
    }
    _ = try hive.setValue(of: b, named: UnicodeName("X").units.span, type: .sz, data: [3], time: time)
    #expect(try hive.population() == Hive.Population(keys: 3, values: 3))
    let x = try #require(try hive.findValue(of: b, named: UnicodeName("x").units.span))
    try hive.deleteValue(of: b, value: x, time: time)
    _ = try hive.renameKey(a, to: UnicodeName("a much longer name than it had").units.span, time: time)
    #expect(try hive.population() == Hive.Population(keys: 3, values: 2))
    #expect(try hive.population() == Self.counted(hive))

    // A whole tree at once, over one that is there.
    var source = try Self.makeHive()
    for number in 0..<5 {
      let key = try source.createKey(under: source.rootKey, named: UnicodeName("k\(number)").units.span, time: time)
      _ = try source.setValue(of: key, named: UnicodeName("v").units.span, type: .sz, data: [], time: time)
    }
    try hive.restoreKey(hive.rootKey, from: source, key: source.rootKey, time: time)
    #expect(try hive.population() == Hive.Population(keys: 6, values: 5))
    let last = try #require(try hive.findSubkey(of: hive.rootKey, named: UnicodeName("k4").units.span))
    try hive.deleteKey(last, time: time)
    #expect(try hive.population() == Hive.Population(keys: 5, values: 4))
    #expect(try hive.population() == Self.counted(hive))
  }

  /// A change that is undone is not counted.
  @Test func whatIsUndoneDoesNotCount() throws {
    var hive = try Self.makeHive()
    #expect(try hive.population() == Hive.Population(keys: 1, values: 0))
    #expect(throws: HiveError.self) {
      try hive.transaction { (hive) throws(HiveError) in
        _ = try hive.createKey(under: hive.rootKey, named: UnicodeName("a").units.span, time: FileTime(rawValue: 1))
        throw HiveError.cannotDelete
      }
    }
    #expect(try hive.population() == Hive.Population(keys: 1, values: 0))
  }

  /// What was counted while nothing had been changed is not told afterwards.
  @Test func freeBytesFollowTheFirstChange() throws {
    var hive = try Self.makeHive()
    let before = try hive.statistics()
    #expect(try hive.statistics() == before)
    _ = try hive.createKey(under: hive.rootKey, named: UnicodeName("a").units.span, time: FileTime(rawValue: 1))
    let after = try hive.statistics()
    #expect(after.freeBytes < before.freeBytes || after.fileBytes > before.fileBytes)
  }
}
