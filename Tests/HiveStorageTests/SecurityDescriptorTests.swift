import Executive
import HiveModel
import Testing

@testable import HiveStorage

@Suite struct SecurityDescriptorTests {
  /// Owner BUILTIN\Administrators, no group, a DACL with one entry: everybody, all access.
  static let plain: [UInt8] =
    [1, 0, 4, 0x80, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 36, 0, 0, 0]
    + [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0]
    + [2, 0, 28, 0, 1, 0, 0, 0]
    + [0, 2, 20, 0, 63, 0, 15, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]

  private func set(_ bytes: [UInt8], of key: CellIndex, in test: TestHive) throws(HiveError) {
    try test.hive.setSecurityDescriptor(ofKey: key, bytes, time: FileTime(rawValue: 50))
  }

  private func count(of key: CellIndex, in test: TestHive) throws -> UInt32 {
    let security = try test.hive.image.security(at: test.hive.keyNode(at: key).security)
    return test.hive.image.load(UInt32.self, security.cell, SecurityCell.Field.referenceCount)
  }

  @Test func equalDescriptorsShareOneCellThatCountsItsKeys() throws {
    let test = try TestHive(minorVersion: 5)
    let a = try test.create("a", under: test.root)
    let b = try test.create("b", under: test.root)
    #expect(try count(of: a, in: test) == 3)
    try set(Self.plain, of: a, in: test)
    #expect(try test.securityDescriptor(ofKey: a) == Self.plain)
    #expect(try test.keyNode(at: a).lastWriteTime.rawValue == 50)
    try set(Self.plain, of: b, in: test)
    try set(Self.plain, of: b, in: test)
    #expect(try test.keyNode(at: a).security == test.keyNode(at: b).security)
    #expect(try count(of: a, in: test) == 2)
    #expect(try count(of: test.root, in: test) == 1)
    test.expectSound()
    // The last key of a descriptor takes its cell along: the root's own goes out of the ring.
    try set(Self.plain, of: test.root, in: test)
    #expect(try count(of: a, in: test) == 3)
    test.expectSound()
    let other = Self.plain + [0, 0, 0, 0]
    for key in [test.root, a, b] {
      try set(other, of: key, in: test)
      test.expectSound()
    }
    // A subkey takes its parent's.
    #expect(try test.securityDescriptor(ofKey: test.create("c", under: b)) == other)
    try test.commit()
    try check(test.bytes, name: "security")
  }

  /// Each byte that is named here is put in, and what it spoils is told.
  @Test(arguments: [
    (0, 2, "revision 2"), (3, 0, "self-relative"), (4, 19, "owner's SID at 19"), (4, 90, "owner's SID at 90"),
    (7, 0xFF, "owner's SID at"), (8, 44, "group's SID has revision"), (20, 0, "owner's SID has revision 0"),
    (21, 16, "owner's SID has 16"), (21, 15, "owner's SID has 15"), (16, 63, "DACL at 63"),
    (36, 1, "DACL has revision 1"),
    (38, 7, "DACL has a size of 7"), (38, 32, "DACL has a size of 32"), (40, 2, "entry 1 of the DACL lies outside"),
    (46, 24, "entry 0 of the DACL has a size of 24"), (46, 3, "entry 0 of the DACL has a size of 3"),
    (46, 18, "entry 0 of the DACL has a size of 18"), (46, 12, "entry 0 of the DACL's SID at 52"),
    (52, 3, "entry 0 of the DACL's SID has revision 3"), (53, 2, "entry 0 of the DACL's SID has 2"),
  ])
  func whatIsNoDescriptorIsRefused(offset: Int, byte: UInt8, problem: String) throws {
    let test = try TestHive(minorVersion: 5)
    let before = test.dump()
    var bytes = Self.plain
    bytes[offset] = byte
    #expect { try set(bytes, of: test.root, in: test) } throws: { error in
      if case HiveError.invalid? = error as? HiveError { "\(error)".contains(problem) } else { false }
    }
    #expect(test.dump() == before)
    #expect(!test.hasUncommittedChanges)
  }

  @Test func everyCutIsRefusedAndNothingTraps() throws {
    for count in 0..<Self.plain.count {
      #expect(throws: HiveError.self) { try SecurityDescriptor.check(Array(Self.plain.prefix(count)).span) }
    }
    #expect(throws: HiveError.self) {
      try SecurityDescriptor.check((Self.plain + Array(repeating: 0, count: SecurityDescriptor.longest)).span)
    }
    for seed in 0..<2000 as Range<UInt64> {
      var random = SeededGenerator(state: seed)
      var bytes = Self.plain
      for _ in 0..<3 { bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random) }
      try? SecurityDescriptor.check(bytes.span)
    }
  }

  /// A list that is null, and one that an absent bit makes meaningless.
  @Test func listsMayBeNullOrAbsent() throws {
    var bytes = Self.plain
    bytes[16] = 0
    try SecurityDescriptor.check(bytes.span)
    bytes[16] = 255
    #expect(throws: HiveError.self) { try SecurityDescriptor.check(bytes.span) }
    bytes[2] = 0
    try SecurityDescriptor.check(bytes.span)
  }

  @Test(
    .enabled(if: Shared.isThere, "../shared is absent"),
    arguments: ["real/SAM", "real/SECURITY", "real/BCD", "real/TruncatedPairHive2", "craft/edge_meta.hiv"])
  func whatWindowsWroteIsValid(name: String) throws {
    let test = try TestHive(device: MemoryDevice(Shared.hive(name)), access: .readOnly)
    var open = [test.root]
    var descriptors: Set<[UInt8]> = []
    while let key = open.popLast() {
      descriptors.insert(try #require(try test.securityDescriptor(ofKey: key)))
      try test.hive.forEachSubkey(of: key) { (_, subkey) throws(HiveError) in
        open.append(subkey)
        return true
      }
    }
    for descriptor in descriptors { try SecurityDescriptor.check(descriptor.span) }
    #expect(!descriptors.isEmpty)
  }

  @Test func aBrokenRingTakesNoNewDescriptor() throws {
    let test = try TestHive(minorVersion: 5)
    let key = try test.create("a", under: test.root)
    let cell = try test.hive.image.security(at: test.hive.keyNode(at: key).security).cell
    try test.hive.transaction { (hive) throws(HiveError) in
      hive.image.store(hive.rootKey, cell, SecurityCell.Field.next)
    }
    let before = test.dump()
    #expect { try set(Self.plain, of: key, in: test) } throws: { "\($0)".contains("security cell") }
    #expect(test.dump() == before)
  }
}
