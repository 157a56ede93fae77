import Executive
import HiveStorage
import Testing

@Suite struct FormatTests {
  @Test(arguments: 3...6) func aNewHiveIsSound(minor: Int) throws {
    let hive = try TestHive(minorVersion: minor)
    hive.expectSound()
    #expect(hive.minorVersion == minor)
    #expect(try hive.keyName(at: hive.root) == "ROOT")
    #expect(try hive.keyNode(at: hive.root).flags.rawValue == 0x2C)
    #expect(try hive.securityDescriptor(ofKey: hive.root)?.count ?? 0 > 100)
  }

  @Test func foreignFilesAreRefused() throws {
    #expect(throws: HiveError.notAHive(problem: "0 bytes are too short for one")) {
      _ = try Hive(device: MemoryDevice(), access: .readOnly)
    }
    let hive = try TestHive(minorVersion: 5)
    var bytes = hive.bytes
    bytes[24] = 7
    fixChecksum(&bytes)
    #expect(throws: HiveError.notAHive(problem: "version 1.7")) {
      _ = try Hive(device: MemoryDevice(bytes), access: .readOnly)
    }
  }

  @Test func aDirtyHiveIsRefusedWithItsNumbers() throws {
    let hive = try TestHive(minorVersion: 5)
    var bytes = hive.bytes
    bytes[4] = 9
    fixChecksum(&bytes)
    #expect {
      _ = try Hive(device: MemoryDevice(bytes), access: .readOnly)
    } throws: { "\($0)".contains("sequence numbers 9 and 1 differ") }
    bytes[5] = 1
    #expect {
      _ = try Hive(device: MemoryDevice(bytes), access: .readOnly)
    } throws: { "\($0)".contains("checksum") }
  }

  @Test func aReadOnlyHiveIsNotChanged() throws {
    let hive = try TestHive(device: TestHive(minorVersion: 5).device, access: .readOnly)
    let root = hive.root
    #expect(throws: HiveError.readOnly) { _ = try hive.create("A", under: root) }
    #expect(throws: HiveError.readOnly) { try hive.commit() }
  }
}

@Suite struct KeyTests {
  @Test(arguments: [3, 5]) func keysAreFoundWithoutRegardToCase(minor: Int) throws {
    let hive = try TestHive(minorVersion: minor)
    let root = hive.root
    let key = try hive.create("Ärger", under: root)
    let wide = try hive.create("ΣΟΦΟΣ", under: root)
    #expect(try hive.subkey("ÄRGER", of: root) == key)
    #expect(try hive.subkey("σοφοσ", of: root) == wide)
    // Final sigma is another letter to Windows.
    #expect(try hive.subkey("σοφος", of: root) == nil)
    #expect(throws: HiveError.nameCollision) { _ = try hive.create("äRGER", under: root) }
    #expect(try hive.keyNode(at: key).parent == root)
    #expect(try hive.keyNode(at: root).lastWriteTime.rawValue == 2)
    hive.expectSound()
  }

  @Test func aClassIsGivenChangedAndTakenAway() throws {
    let hive = try TestHive(minorVersion: 5)
    let key = try hive.create("Key", under: hive.root)
    let time = try hive.hive.keyNode(at: key).lastWriteTime
    for name in ["Class", "a longer class than that", "C", nil, "again", nil] as [UnicodeName?] {
      try hive.hive.setClassName(ofKey: key, name)
      #expect(try hive.hive.className(ofKey: key) == name)
      #expect(try hive.hive.keyNode(at: key).lastWriteTime == time)
      // Neither is the old cell left behind nor the parent's bound exceeded.
      hive.expectSound()
    }
    try hive.hive.setClassName(ofKey: hive.root, "root")
    hive.expectSound()
    let long = UnicodeName(String(repeating: "c", count: 32768))
    #expect(throws: HiveError.limit(problem: "a class name of 65536 bytes")) {
      try hive.hive.setClassName(ofKey: key, long)
    }
    #expect(try hive.hive.className(ofKey: key) == nil)
  }

  @Test func namesThatNoKeyMayHaveAreRefused() throws {
    let hive = try TestHive(minorVersion: 5)
    let root = hive.root
    for name in ["", "a\\b", String(repeating: "x", count: 256)] as [String] {
      #expect { _ = try hive.create(name, under: root) } throws: { error in
        if case HiveError.limit = error { true } else { false }
      }
    }
    #expect(!hive.hasUncommittedChanges)
    _ = try hive.create(String(repeating: "文", count: 255), under: root)
    hive.expectSound()
  }

  @Test func keysNestFiveHundredDeepAtMost() throws {
    let hive = try TestHive(minorVersion: 5)
    var key = hive.root
    for _ in 0..<500 { key = try hive.create("d", under: key) }
    #expect { _ = try hive.create("d", under: key) } throws: { "\($0)".contains("500") }
    hive.expectSound()
  }

  /// Leaves split at the sizes of regf.md section 6, and shrink away to nothing.
  @Test(arguments: [3, 5]) func manyKeysComeAndGo(minor: Int) throws {
    let hive = try TestHive(minorVersion: minor)
    let root = hive.root
    let names = (0..<3000).map { UnicodeName("Key\(($0 &* 7919) % 3001)") }
    var keys: [CellIndex] = []
    for name in names { keys.append(try hive.create(name, under: root)) }
    hive.expectSound()
    #expect(try hive.subkeyNames(of: root).count == 3000)
    for (name, key) in zip(names, keys) {
      #expect(try hive.subkey(UnicodeName(name.description.lowercased()), of: root) == key)
    }
    #expect(try hive.subkey("Key3002", of: root) == nil)
    #expect(try hive.subkeyNames(of: root, from: 2995) == hive.subkeyNames(of: root).suffix(5))
    try hive.commit()
    for key in keys { try hive.delete(key) }
    hive.expectSound()
    #expect(try hive.keyNode(at: root).subkeyCount == 0)
    try hive.commit()
    try TestHive(device: hive.device, access: .readOnly).expectSound()
    // What was freed is free again, in one piece a bin.
    let statistics = try hive.statistics()
    #expect(statistics.cells == statistics.freeCells + 2)
  }

  @Test func keysWithSubkeysAndTheRootStay() throws {
    let hive = try TestHive(minorVersion: 5)
    let root = hive.root
    let key = try hive.create("A", under: root)
    _ = try hive.create("B", under: key)
    #expect(throws: HiveError.cannotDelete) { try hive.delete(key) }
    #expect(throws: HiveError.cannotDelete) { try hive.delete(root) }
    hive.expectSound()
  }

  @Test func aDeletedKeyGivesEverythingBack() throws {
    let hive = try TestHive(minorVersion: 5)
    let root = hive.root
    _ = try hive.create("Stays", under: root)
    let before = try hive.statistics()
    let key = try hive.create("Goes", under: root, className: "Class")
    try hive.set("small", of: key, to: [1, 2])
    try hive.set("plain", of: key, to: bytes(500))
    try hive.set("big", of: key, to: bytes(50_000))
    #expect(try hive.className(ofKey: key) == "Class")
    try hive.delete(key)
    let after = try hive.statistics()
    #expect(after.cells - after.freeCells == before.cells - before.freeCells)
    #expect(try hive.keyNode(at: root).lastWriteTime.rawValue == 4)
    hive.expectSound()
    #expect(throws: (any Error).self) { try hive.delete(key) }
  }

  @Test(arguments: [3, 5]) func renamedKeysKeepTheirChildren(minor: Int) throws {
    let hive = try TestHive(minorVersion: minor)
    let root = hive.root
    let key = try hive.create("Middle", under: root)
    _ = try hive.create("Above", under: root)
    for number in 0..<700 { _ = try hive.create("Child\(number)", under: key) }
    try hive.set("v", of: key, to: [1])
    // Another case of the same name stays in place.
    #expect(try hive.rename(key, to: "MIDDLE") == key)
    #expect(try hive.keyName(at: key) == "MIDDLE")
    let moved = try hive.rename(key, to: "A name that is too long for the cell 文")
    #expect(moved != key)
    #expect(try hive.subkey("middle", of: root) == nil)
    #expect(try hive.subkey("a name that is too long for the cell 文", of: root) == moved)
    #expect(try hive.subkeyNames(of: moved).count == 700)
    #expect(try hive.value("V", of: moved) != nil)
    #expect(throws: HiveError.nameCollision) {
      _ = try hive.rename(moved, to: "above")
    }
    #expect(throws: HiveError.cannotDelete) { _ = try hive.rename(root, to: "x") }
    hive.expectSound()
  }
}

@Suite struct ValueTests {
  /// Around every size where the storage changes: inline, one cell, big data from 1.4 on.
  @Test(arguments: [3, 4, 5, 6]) func dataOfEverySizeComesBack(minor: Int) throws {
    let hive = try TestHive(minorVersion: minor)
    let root = hive.root
    let sizes = [0, 1, 2, 3, 4, 5, 8, 100, 4000, 4096, 16343, 16344, 16345, 32688, 32689, 100_000]
    for size in sizes {
      try hive.set(UnicodeName("s\(size)"), of: root, to: bytes(size), type: ValueType(rawValue: UInt32(size)))
    }
    hive.expectSound()
    // One value through all sizes, up and down: its cell stays.
    let value = try hive.set("moving", of: root, to: [])
    for size in sizes + sizes.reversed() {
      #expect(try hive.set("MOVING", of: root, to: bytes(size, 1)) == value)
      #expect(try hive.data(ofValue: value) == bytes(size, 1))
    }
    #expect(try hive.valueName(at: value) == "moving")
    hive.expectSound()
    try hive.commit()
    let again = try TestHive(device: hive.device, access: .readOnly)
    for size in sizes {
      let value = try #require(try again.value(UnicodeName("S\(size)"), of: root))
      #expect(try again.data(ofValue: value) == bytes(size))
      #expect(try again.valueNode(at: value).type.rawValue == UInt32(size))
    }
    again.expectSound()
  }

  @Test func dataBeyondTheVersionsLimitIsRefused() throws {
    let hive = try TestHive(minorVersion: 3)
    let root = hive.root
    let value = try hive.set("v", of: root, to: [7])
    #expect { try hive.set("v", of: root, to: bytes(1 << 20 + 1)) } throws: { "\($0)".contains("limit") }
    #expect(try hive.data(ofValue: value) == [7])
    try hive.set("v", of: root, to: bytes(1 << 20))
    hive.expectSound()
  }

  @Test func theDefaultValueHasNoNameAndNoFlag() throws {
    let hive = try TestHive(minorVersion: 5)
    let root = hive.root
    let value = try hive.set("", of: root, to: [1])
    #expect(try hive.value("", of: root) == value)
    try hive.commit()
    #expect(hive.bytes[value.fileOffset + 4 + 16] == 0)
    #expect(try hive.valueNames(of: root) == [""])
    hive.expectSound()
  }

  @Test func valuesAreDeletedInAnyOrder() throws {
    let hive = try TestHive(minorVersion: 5)
    let root = hive.root
    var values: [CellIndex] = []
    for number in 0..<100 { values.append(try hive.set(UnicodeName("v\(number)"), of: root, to: bytes(number))) }
    for number in [0, 99, 50] { try hive.deleteValue(of: root, value: values[number]) }
    #expect(try hive.valueNames(of: root).count == 97)
    #expect(try hive.valueNames(of: root).first == "v1")
    #expect(throws: HiveError.keyNotFound) { try hive.deleteValue(of: root, value: values[0]) }
    for number in 1..<99 where number != 50 { try hive.deleteValue(of: root, value: values[number]) }
    #expect(try hive.keyNode(at: root).valueCount == 0)
    hive.expectSound()
  }

  @Test func valuesAreRenamed() throws {
    let hive = try TestHive(minorVersion: 5)
    let root = hive.root
    let value = try hive.set("one", of: root, to: bytes(100))
    let other = try hive.set("two", of: root, to: [2])
    #expect(try hive.renameValue(of: root, value: value, to: "ONE") == value)
    let moved = try hive.renameValue(of: root, value: value, to: "much longer than before")
    #expect(try hive.data(ofValue: moved) == bytes(100))
    #expect(throws: HiveError.nameCollision) {
      _ = try hive.renameValue(of: root, value: moved, to: "TWO")
    }
    _ = try hive.renameValue(of: root, value: other, to: "")
    #expect(try hive.valueNames(of: root) == ["much longer than before", ""])
    hive.expectSound()
  }

  @Test func appendsDoNotMoveTheListEachTime() throws {
    let hive = try TestHive(minorVersion: 5)
    let root = hive.root
    for number in 0..<2000 { try hive.set(UnicodeName("v\(number)"), of: root, to: [1]) }
    // 8,000 bytes of list; what growing left behind is used again, so the file stays near what its cells need.
    #expect(try hive.statistics().fileBytes < 4096 + 2000 * 40 + 6 * 8000)
    hive.expectSound()
  }
}

/// Gives changed bytes of a base block a right checksum.
func fixChecksum(_ bytes: inout [UInt8]) {
  var sum: UInt32 = 0
  for field in stride(from: 0, to: 508, by: 4) {
    sum ^= (0..<4).reduce(0) { $0 | UInt32(bytes[field + $1]) << UInt32(8 * $1) }
  }
  for byte in 0..<4 { bytes[508 + byte] = UInt8(truncatingIfNeeded: sum >> UInt32(8 * byte)) }
}
