import Executive
import HiveModel
import HiveStorage
import Testing

@Suite struct DamageTests {
  private func put(_ value: UInt32, at offset: Int, in bytes: inout [UInt8]) {
    for byte in 0..<4 { bytes[offset + byte] = UInt8(truncatingIfNeeded: value >> UInt32(8 * byte)) }
  }

  private func get(_ offset: Int, in bytes: [UInt8]) -> UInt32 {
    (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
  }

  /// A committed hive with keys A to F, each with a value, as bytes.
  private func sample() throws -> (bytes: [UInt8], keys: [CellIndex]) {
    let hive = try TestHive(minorVersion: 5)
    var keys: [CellIndex] = []
    for name in ["A", "B", "C", "D", "E", "F"] as [UnicodeName] {
      let key = try hive.create(name, under: hive.root, className: "class")
      try hive.set("value", of: key, to: bytes(100))
      keys.append(key)
    }
    try hive.commit()
    return (hive.bytes, keys)
  }

  private func isDamaged(_ error: any Error) -> Bool {
    if case HiveError.damaged? = error as? HiveError { true } else { false }
  }

  @Test func foreignCellsAreNoKeysAndNoValues() throws {
    let (bytes, keys) = try sample()
    let hive = try TestHive(device: MemoryDevice(bytes), access: .readOnly)
    let value = try #require(try hive.value("value", of: keys[0]))
    let wrong: [UInt32] = [0, 4, 0x20 + 8, 0x7FFF_FFF8, 0x8000_0020, 0xFFFF_FFF8, 0xFFFF_FFFF, value.rawValue]
    for index in wrong {
      #expect { _ = try hive.keyNode(at: CellIndex(rawValue: index)) } throws: { isDamaged($0) }
    }
    for index in wrong.dropLast() + [keys[0].rawValue] {
      #expect { _ = try hive.valueNode(at: CellIndex(rawValue: index)) } throws: { isDamaged($0) }
    }
  }

  /// Windows sorts; others may not. Every name is found, and a new one can be added.
  @Test func namesInUnsortedListsAreFound() throws {
    var (bytes, _) = try sample()
    let list = 4096 + Int(get(4096 + 0x20 + 4 + 28, in: bytes)) + 4 + 4
    let first = Array(bytes[list..<list + 8])
    bytes.replaceSubrange(list..<list + 8, with: bytes[list + 40..<list + 48])
    bytes.replaceSubrange(list + 40..<list + 48, with: first)
    let hive = try TestHive(device: MemoryDevice(bytes))
    for round in 0..<2 {
      for name in ["a", "b", "c", "d", "e", "f"] as [UnicodeName] {
        #expect(try hive.subkey(name, of: hive.root) != nil, "\(name), round \(round)")
      }
      #expect(try hive.subkey("g", of: hive.root) == nil)
    }
    let key = try hive.create("BB", under: hive.root)
    #expect(try hive.subkey("bb", of: hive.root) == key)
    let gone = try #require(try hive.subkey("f", of: hive.root))
    try hive.delete(gone)
    #expect(try hive.subkeyNames(of: hive.root).count == 6)
  }

  /// A wrong hash does not hide a key.
  @Test func namesWithWrongHashesAreFound() throws {
    var (bytes, keys) = try sample()
    let list = 4096 + Int(get(4096 + 0x20 + 4 + 28, in: bytes)) + 4 + 4
    put(0xDEAD_BEEF, at: list + 2 * 8 + 4, in: &bytes)
    let hive = try TestHive(device: MemoryDevice(bytes))
    #expect(try hive.subkey("c", of: hive.root) == keys[2])
    #expect(!HiveChecker(hive.hive).findings.isEmpty)
  }

  /// One rotten key in a list leaves the others as they are.
  @Test func aDamagedKeyDoesNotHideItsNeighbours() throws {
    var (bytes, keys) = try sample()
    bytes[keys[2].fileOffset + 4] = 0
    let hive = try TestHive(device: MemoryDevice(bytes))
    for name in ["a", "b", "d", "e", "f"] as [UnicodeName] {
      #expect(try hive.subkey(name, of: hive.root) != nil)
    }
    #expect(try hive.subkey("c", of: hive.root) == nil)
    _ = try hive.create("Between", under: hive.root)
    #expect(try hive.subkey("between", of: hive.root) != nil)
    #expect(HiveDump(hive.hive).problems.count == 1)
  }

  /// A change that meets damage half way leaves every byte of the bins as it was.
  @Test func aChangeThatFailsChangesNothing() throws {
    var (bytes, keys) = try sample()
    // The value's data cell is free already: deleting the key finds out late.
    let whole = try TestHive(device: MemoryDevice(bytes), access: .readOnly)
    let value = try #require(try whole.value("value", of: keys[1]))
    let data = 4096 + Int(get(value.fileOffset + 4 + 8, in: bytes))
    put(0 &- get(data, in: bytes), at: data, in: &bytes)
    let device = MemoryDevice(bytes)
    let hive = try TestHive(device: device)
    let before = hive.dump()
    let statistics = try hive.statistics()
    #expect { try hive.delete(keys[1]) } throws: { isDamaged($0) }
    #expect { try hive.set("value", of: keys[1], to: []) } throws: { isDamaged($0) }
    #expect(!hive.hasUncommittedChanges)
    let isUnchanged = hive.dump() == before
    #expect(isUnchanged)
    #expect(try hive.statistics() == statistics)
    // The other keys can be changed, and the failed change left nothing behind in what is written.
    try hive.delete(keys[3])
    try hive.commit()
    #expect(try hive.subkeyNames(of: hive.root).count == 5)
  }

  @Test func damagedBinsAreReadButNotChanged() throws {
    var (bytes, keys) = try sample()
    bytes[4096] = 0
    let hive = try TestHive(device: MemoryDevice(bytes))
    #expect(try hive.subkey("d", of: hive.root) == keys[3])
    #expect { _ = try hive.create("X", under: hive.root) } throws: {
      "\($0)".hasPrefix("hive bin at file offset 0x1000")
    }
  }

  /// What has to hold before a hive may be changed, and nothing else.
  @Test func theQuickLookSeesBinsCellsSizeAndRoot() throws {
    let (good, keys) = try sample()
    func look(_ spoil: (inout [UInt8]) -> Void) throws {
      var bytes = good
      spoil(&bytes)
      checksum(&bytes)
      let hive = try Hive(device: MemoryDevice(bytes), access: .inspection)
      try hive.checkStructure()
    }
    try look { _ in }
    try look { $0[keys[0].fileOffset + 4] = 0 }
    for spoil in [
      { $0[4096] = 0 }, { put32(12, at: 4096 + 8, in: &$0) }, { put32(0, at: keys[2].fileOffset, in: &$0) },
      { put32(0x10_0000, at: 40, in: &$0) }, { put32(0x28, at: 36, in: &$0) },
    ] as [(inout [UInt8]) -> Void] {
      #expect { try look(spoil) } throws: { isDamaged($0) }
    }
  }

  /// A list that leads back up, or into another key's subkeys, is not followed; a wrong parent field alone hides
  /// nothing.
  @Test func aSubkeyBelongsToOneKey() throws {
    let hive = try TestHive(minorVersion: 5)
    let a = try hive.create("A", under: hive.root)
    let b = try hive.create("B", under: a)
    let c = try hive.create("C", under: hive.root)
    #expect(try hive.hive.subkey(at: b, of: a).cell == b)
    #expect { _ = try hive.hive.subkey(at: a, of: b) } throws: { isDamaged($0) }
    #expect { _ = try hive.hive.subkey(at: c, of: a) } throws: { isDamaged($0) }
    #expect { _ = try hive.hive.subkey(at: hive.root, of: a) } throws: { isDamaged($0) }
    try hive.commit()
    var bytes = hive.bytes
    put32(c.rawValue, at: b.fileOffset + 4 + 16, in: &bytes)
    let other = try Hive(bytes: bytes)
    #expect(try other.subkey(at: b, of: a).cell == b)
  }

  /// Random bytes over a good hive: errors, never a trap, and whatever succeeded did not break what was whole.
  @Test func randomDamageNeverTraps() throws {
    let (good, keys) = try sample()
    for seed in 0..<600 as Range<UInt64> {
      var random = SeededGenerator(state: seed)
      var bytes = good
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let place = Int.random(in: 4096..<bytes.count, using: &random)
        let used = place % 2 == 0 ? place : 4096 + Int.random(in: 0..<1500, using: &random)
        bytes[used] = UInt8.random(in: 0...255, using: &random)
      }
      let hive = try TestHive(device: MemoryDevice(bytes))
      _ = hive.dump()
      _ = HiveChecker(hive.hive)
      for key in keys {
        _ = try? hive.set("value", of: key, to: [1])
        _ = try? hive.create("sub", under: key)
        _ = try? hive.rename(key, to: "a longer name than there was")
        _ = try? hive.delete(key)
      }
      try? hive.commit()
      _ = hive.dump()
    }
  }
}

/// Real hives: changed everywhere, and still whole.
@Suite struct RealHiveTests {
  @Test(
    .enabled(if: Shared.isThere, "../shared is absent"),
    arguments: [
      "real/SAM", "real/BCD", "real/TruncatedPairHive2", "craft/edge_index_lf_ri.hiv", "craft/edge_names.hiv",
    ])
  func changedHivesStayWhole(name: String) throws {
    let hive = try TestHive(device: MemoryDevice(Shared.hive(name)))
    hive.expectSound()
    let before = hive.dump()
    var open = [hive.root]
    var keys: [CellIndex] = []
    while let key = open.popLast() {
      keys.append(key)
      try hive.hive.forEachSubkey(of: key) { (_, subkey) throws(HiveError) in
        open.append(subkey)
        return true
      }
    }
    // Added, then taken away again: the dump is the same but for the times.
    var times: [(CellIndex, FileTime)] = []
    for key in keys {
      times.append((key, try hive.keyNode(at: key).lastWriteTime))
      guard try !hive.keyNode(at: key).flags.contains(.predefinedHandle) else { continue }
      let added = try hive.create("~regward", under: key)
      try hive.set("~value", of: added, to: bytes(20_000))
      try hive.set("~value", of: key, to: bytes(300))
    }
    hive.expectSound()
    try check(committed(hive), name: "grown")
    for (key, time) in times {
      if let added = try hive.subkey("~regward", of: key) {
        let value = try #require(try hive.value("~value", of: key))
        try hive.deleteValue(of: key, value: value)
        try hive.delete(added)
      }
      try hive.hive.setLastWriteTime(of: key, time)
    }
    hive.expectSound()
    #expect(hive.dump() == before)
    try check(committed(hive), name: "shrunk")
  }

  private func committed(_ hive: TestHive) throws -> [UInt8] {
    try hive.commit()
    return hive.bytes
  }
}
