import Executive
import HiveStorage
import Testing

/// A hive with one of each, and where its parts lie in the file.
private struct Specimen {
  var bytes: [UInt8]
  /// File offsets of cells' payloads.
  let root: Int
  /// Class, values and subkeys; `bare` has none of them.
  let key: Int
  let bare: Int
  let inline: Int
  let plain: Int
  let big: Int
  let twin: Int
  let link: Int
  /// A key with an index root.
  let many: Int

  init() throws {
    let hive = try TestHive(minorVersion: 5)
    let key = try hive.create("Key", under: hive.root, className: "class")
    let bare = try hive.create("Lay", under: hive.root)
    let link = try hive.create("Link", under: hive.root)
    try hive.set("SymbolicLinkValue", of: link, to: HiveStorageTests.bytes(20), type: .sz)
    let inline = try hive.set("inline", of: key, to: [1, 2, 3, 4])
    let plain = try hive.set("plain", of: key, to: HiveStorageTests.bytes(100))
    let big = try hive.set("big", of: key, to: HiveStorageTests.bytes(40_000))
    try hive.set("twin1", of: key, to: [1])
    let twin = try hive.set("twin2", of: key, to: [1])
    let many = try hive.create("Many", under: hive.root)
    for number in 0..<1100 { _ = try hive.create("N\(number)", under: many) }
    try hive.commit()
    hive.expectSound()
    self.bytes = hive.bytes
    root = hive.root.fileOffset + 4
    self.key = key.fileOffset + 4
    self.bare = bare.fileOffset + 4
    self.inline = inline.fileOffset + 4
    self.plain = plain.fileOffset + 4
    self.big = big.fileOffset + 4
    self.twin = twin.fileOffset + 4
    self.link = link.fileOffset + 4
    self.many = many.fileOffset + 4
  }

  subscript(offset: Int) -> UInt32 {
    get { get32(offset, in: bytes) }
    set { put32(newValue, at: offset, in: &bytes) }
  }

  /// The payload of the cell that the field at `offset` refers to.
  func cell(_ offset: Int) -> Int { 4096 + Int(self[offset]) + 4 }

  mutating func put16(_ value: UInt16, at offset: Int) {
    bytes[offset] = UInt8(truncatingIfNeeded: value)
    bytes[offset + 1] = UInt8(truncatingIfNeeded: value >> 8)
  }

  mutating func putBase(_ value: UInt32, at offset: Int) {
    self[offset] = value
    checksum(&bytes)
  }

  var secondBin: Int { 4096 + Int(self[4096 + 8]) }

  /// A free cell of at least 16 bytes.
  var freeCell: Int {
    var place = 4096 + 32
    var bin = 4096
    while place < bytes.count {
      let size = Int(Int32(bitPattern: self[place]))
      if size >= 16 { return place }
      place += abs(size)
      if place == bin + Int(self[bin + 8]) {
        bin = place
        place += 32
      }
    }
    return 0
  }
}

@Suite struct HiveCheckerTests {
  private static let faults: [(rule: HiveFinding.Rule, spoil: @Sendable (inout Specimen) -> Void)] = [
    (.baseSequence, { $0.putBase(99, at: 4) }),
    (.baseFormat, { $0.putBase(7, at: 44) }),
    (.binsSize, { $0.putBase($0[40] + 4096, at: 40) }),
    (.binSignature, { $0[$0.secondBin] = 0 }),
    (.binOffset, { $0[$0.secondBin + 4] = 0 }),
    (.binSize, { $0[$0.secondBin + 8] = 12 }),
    (.cellSize, { $0[$0.plain - 4] = 0 &- 12 }),
    (
      .freeNeighbours,
      {
        let free = $0.freeCell
        $0[free + 8] = $0[free] - 8
        $0[free] = 8
      }
    ),
    (.cellReference, { $0[$0.cell($0.key + 40)] = 0xFFFF_FFFF }),
    (.cellShared, { $0[$0.cell($0.key + 40)] = $0[$0.cell($0.key + 40) + 4] }),
    (.keySignature, { $0.put16(0, at: $0.key) }),
    (.keyNameSize, { $0.put16(5000, at: $0.key + 72) }),
    (.keyName, { $0.bytes[$0.key + 76] = 0x5C }),
    (.keyFlags, { $0.bytes[$0.key + 2] |= 4 }),
    (.keyParent, { $0[$0.key + 16] = $0[$0.key + 16] + 8 }),
    (.classSize, { $0.put16(6000, at: $0.key + 74) }),
    (.listSignature, { $0.put16(0, at: $0.cell($0.root + 28)) }),
    (.listNested, { $0.put16(0x6972, at: $0.cell($0.cell($0.many + 28) + 4)) }),
    (.listSize, { $0.put16(0xFFFF, at: $0.cell($0.root + 28) + 2) }),
    (.listEmpty, { $0.put16(0, at: $0.cell($0.root + 28) + 2) }),
    (
      .listOrder,
      {
        let list = $0.cell($0.root + 28) + 4
        let first = Array($0.bytes[list..<list + 8])
        $0.bytes.replaceSubrange(list..<list + 8, with: $0.bytes[list + 8..<list + 16])
        $0.bytes.replaceSubrange(list + 8..<list + 16, with: first)
      }
    ),
    (.listDuplicate, { $0.bytes.replaceSubrange($0.bare + 76..<$0.bare + 79, with: Array("kEY".utf8)) }),
    (.listHint, { $0[$0.cell($0.root + 28) + 8] ^= 1 }),
    (.listUnused, { $0[$0.bare + 28] = $0[$0.root + 28] }),
    (.subkeyCount, { $0[$0.root + 20] += 1 }),
    (.valueListSize, { $0[$0.key + 36] = 5000 }),
    (.valueListUnused, { $0[$0.bare + 40] = $0[$0.key + 40] }),
    (.valueSignature, { $0.put16(0, at: $0.plain) }),
    (.valueNameSize, { $0.put16(6000, at: $0.plain + 2) }),
    (.valueDuplicate, { $0.bytes[$0.twin + 24] = UInt8(ascii: "1") }),
    (.inlineData, { $0[$0.inline + 4] = 0x8000_0005 }),
    (.dataSize, { $0[$0.plain + 4] = 5000 }),
    (.bigDataSignature, { $0.put16(0, at: $0.cell($0.big + 8)) }),
    (.bigDataCount, { $0.put16(2, at: $0.cell($0.big + 8) + 2) }),
    (
      .bigDataSegment,
      {
        // The first segment's cell in two.
        let segment = $0.cell($0.cell($0.cell($0.big + 8) + 4)) - 4
        $0[segment + 8000] = $0[segment] &+ 8000
        $0[segment] = 0 &- 8000
      }
    ),
    (.longestSubkeyName, { $0.put16(0, at: $0.root + 52) }),
    (.longestSubkeyClass, { $0[$0.root + 56] = 0 }),
    (.longestValueName, { $0[$0.key + 60] = 4 }),
    (.longestValueData, { $0[$0.key + 64] = 39_999 }),
    (.securitySignature, { $0.put16(0, at: $0.cell($0.root + 44)) }),
    (.securityDescriptor, { $0.bytes[$0.cell($0.root + 44) + 20] = 9 }),
    (.securityRing, { $0[$0.cell($0.root + 44) + 8] += 8 }),
    (.securityCount, { $0[$0.cell($0.root + 44) + 12] += 1 }),
    (.linkTarget, { $0.bytes[$0.link + 2] |= 0x10 }),
  ]

  @Test(arguments: 0..<faults.count) func everyFaultIsFoundByItsName(number: Int) throws {
    let fault = Self.faults[number]
    var specimen = try Specimen()
    fault.spoil(&specimen)
    let hive = try Hive(device: MemoryDevice(specimen.bytes), access: .inspection)
    let findings = HiveChecker(hive).findings
    #expect(findings.contains { $0.rule == fault.rule }, "\(fault.rule): \(findings.prefix(3).map { "\($0)" })")
    for finding in findings { #expect(finding.description.hasPrefix(finding.rule.rawValue + ": ")) }
  }

  /// What is no hive, and what lies too deep to be made here: craft/bad_depth1500.
  @Test func noRuleIsUntested() {
    #expect(HiveFinding(opening: .notAHive(problem: "text"))?.rule == .baseBlock)
    #expect(HiveFinding(opening: .device(operation: "read", name: "hive", errno: 5)) == nil)
    let tested = Set(Self.faults.map(\.rule))
    #expect(Set(HiveFinding.Rule.allCases).subtracting(tested) == [.baseBlock, .keyDepth])
    #expect(Set(HiveFinding.Rule.allCases.map(\.rawValue)).count == HiveFinding.Rule.allCases.count)
  }

  @Test(.enabled(if: Shared.isThere, "../shared is absent")) func depthIsLimited() throws {
    let deep = try Hive(bytes: Shared.hive("craft/bad_depth1500.hiv"))
    let findings = HiveChecker(deep).findings
    #expect(findings.first?.rule == .keyDepth)
    let legal = try Hive(bytes: Shared.hive("craft/edge_depth512.hiv"))
    let none = HiveChecker(legal).findings
    #expect(none.isEmpty)
  }

  /// One bad bin does not hide what lies behind it.
  @Test func theSearchGoesOnBehindABadBin() throws {
    var specimen = try Specimen()
    specimen[specimen.secondBin] = 0
    let unspoilt = try Hive(bytes: try Specimen().bytes)
    let whole = HiveChecker(unspoilt)
    let hive = try Hive(bytes: specimen.bytes)
    let checker = HiveChecker(hive)
    #expect(checker.findings.filter { $0.rule == .binSignature }.count == 1)
    #expect(checker.keys > whole.keys - 100)
    #expect(checker.findings.contains { $0.rule == .cellReference }, "what lies in the bad bin is missed")
  }

  @Test func progressEndsWithAllCells() throws {
    let hive = try Hive(bytes: try Specimen().bytes)
    var last = (done: 0, all: 0)
    _ = HiveChecker(hive) {
      #expect($0 >= last.done)
      last = ($0, $1)
    }
    #expect(last.done == last.all && last.all > 1100)
  }
}
