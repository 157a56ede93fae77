import Executive
import Testing

@testable import HiveStorage

/// Hives written anew: without holes, and without what is wrong with them.
@Suite struct RewriteTests {
  private func rewritten(
    _ bytes: [UInt8], repairing: Bool = false
  ) throws -> (result: Hive.Rewritten, bytes: [UInt8], dump: [UInt8], rules: Set<HiveFinding.Rule>) {
    let hive = try Hive(device: MemoryDevice(bytes), access: .inspection)
    let checker = HiveChecker(hive)
    let device = MemoryDevice()
    let result = repairing ? try hive.repair(to: device, after: checker) : try hive.compact(to: device)
    let new = try Hive(device: MemoryDevice(device.bytes), access: .readOnly)
    let second = HiveChecker(new)
    #expect(second.findings.isEmpty)
    #expect(second.orphans.isEmpty)
    #expect(second.keys == result.keys && second.values == result.values)
    return (result, device.bytes, HiveDump(new).bytes, Set(checker.findings.map(\.rule)))
  }

  /// A hive of everything that a dump shows, with holes, and fields that nobody needs.
  private func sample(minor: Int) throws -> TestHive {
    let test = try TestHive(minorVersion: minor)
    for number in 0..<300 {
      let key = try test.create("K\(number)", under: test.root, className: number % 7 == 0 ? "class" : nil)
      for value in 0..<5 { try test.set(UnicodeName("v\(value)"), of: key, to: bytes(number * 10 % 900, value)) }
    }
    let key = try #require(try test.subkey("K7", of: test.root))
    try test.set("big", of: key, to: bytes(60_000))
    try test.hive.setSecurityDescriptor(ofKey: key, SecurityDescriptorTests.plain, time: FileTime(rawValue: 6))
    for number in 0..<300 where number % 3 == 0 {
      let gone = try #require(try test.subkey(UnicodeName("K\(number)"), of: test.root))
      try test.delete(gone)
    }
    try test.commit()
    return test
  }

  @Test(arguments: 3...6) func aCompactedHiveIsTheSameOneWithoutHoles(minor: Int) throws {
    let test = try sample(minor: minor)
    let before = test.dump()
    var bytes = test.bytes
    // Of the base block: the end of the path, and a field that nobody knows; of the root, the bits of access.
    bytes[48] = 0x58
    bytes[0x0F00] = 0x77
    bytes[4096 + 32 + 4 + 12] = 3
    checksum(&bytes)
    let (result, new, dump, _) = try rewritten(bytes)
    #expect(dump == before)
    #expect(new.count < bytes.count * 3 / 4)
    #expect(result.statistics.fileBytes == new.count)
    #expect(result.statistics.freeBytes < 3 * 4096)
    #expect(new[48] == 0x58 && new[0x0F00] == 0x77 && new[4096 + 32 + 4 + 12] == 3)
    #expect(get32(4, in: new) == get32(4, in: bytes) && get32(8, in: new) == get32(8, in: bytes))
    #expect(Array(new[20..<28]) == Array(bytes[20..<28]))
  }

  /// The order of values is what a caller enumerates.
  @Test func theOrderOfValuesStays() throws {
    let test = try TestHive(minorVersion: 5)
    for name in ["z", "a", "m", "", "b"] as [UnicodeName] { try test.set(name, of: test.root, to: [1]) }
    try test.commit()
    let (_, new, _, _) = try rewritten(test.bytes)
    let again = try TestHive(device: MemoryDevice(new), access: .readOnly)
    #expect(try again.valueNames(of: again.root) == ["z", "a", "m", "", "b"])
  }

  @Test func damageEndsCompactingBeforeAnythingIsWritten() throws {
    let test = try sample(minor: 5)
    let key = try #require(try test.subkey("K7", of: test.root))
    let value = try #require(try test.value("v1", of: key))
    var bytes = test.bytes
    put32(0x7FFF_0000, at: value.fileOffset + 4 + 8, in: &bytes)
    let hive = try Hive(device: MemoryDevice(bytes), access: .readOnly)
    let device = MemoryDevice()
    #expect { _ = try hive.compact(to: device) } throws: { "\($0)".hasPrefix("value data at file offset") }
    #expect(device.bytes.isEmpty)
  }

  /// Offsets in a hive with keys A (with values v and w, and a class) to E below the root.
  private struct Patient {
    var bytes: [UInt8]
    let root: Int
    let keys: [Int]
    let v: Int

    init() throws {
      let test = try TestHive(minorVersion: 5)
      var keys: [Int] = []
      for name in ["A", "B", "C", "D", "E"] as [UnicodeName] {
        keys.append(try test.create(name, under: test.root, className: "class").fileOffset + 4)
      }
      let a = try #require(try test.subkey("A", of: test.root))
      v = try test.set("v", of: a, to: HiveStorageTests.bytes(100)).fileOffset + 4
      try test.set("w", of: a, to: [1])
      let b = try #require(try test.subkey("B", of: test.root))
      _ = try test.create("below", under: b)
      try test.commit()
      bytes = test.bytes
      root = test.root.fileOffset + 4
      self.keys = keys
    }

    subscript(offset: Int) -> UInt32 {
      get { get32(offset, in: bytes) }
      set { put32(newValue, at: offset, in: &bytes) }
    }

    func cell(_ offset: Int) -> Int { 4096 + Int(self[offset]) + 4 }
  }

  /// What is spoilt, what must be told of it, and keys and values that are left of 7 and 2.
  private static let faults:
    [(name: String, spoil: @Sendable (inout Patient) -> Void, told: String, keys: Int, values: Int)] = [
      ("hint", { $0[$0.cell($0.root + 28) + 8] ^= 1 }, "mended: list-hint", 7, 2),
      ("parent", { $0[$0.keys[2] + 16] = 0x20 + 8 }, "mended: key-parent", 7, 2),
      ("list", { $0[$0.root + 28] = 0x7FF0_0000 }, "changed: cell-reference", 7, 2),
      ("key", { $0.bytes[$0.keys[1]] = 0 }, "dropped: key-signature", 5, 2),
      ("empty name", { $0.bytes[$0.keys[3] + 72] = 0 }, "changed: key-name: key node", 7, 2),
      ("backslash", { $0.bytes[$0.keys[3] + 76] = 0x5C }, "its name is _", 7, 2),
      ("twin", { $0.bytes[$0.keys[3] + 76] = 0x63 }, "its name is c~2", 7, 2),
      ("class", { $0[$0.keys[0] + 48] = 0x7FF0_0000 }, "dropped: cell-reference: class name", 7, 2),
      ("security", { $0[$0.keys[0] + 44] = 0x7FF0_0000 }, "its security is that of the key above", 7, 2),
      ("value", { $0.bytes[$0.v] = 0 }, "dropped: value-signature", 7, 1),
      ("data", { $0[$0.v + 4] = 5000 }, "dropped: data-size: value data", 7, 1),
      ("value list", { $0[$0.keys[0] + 40] = 0xFFFF_FFFF }, "dropped: cell-reference: value list", 7, 0),
      ("value count", { $0[$0.keys[0] + 36] = 70 }, "changed: value-list-size", 7, 2),
      ("value twin", { $0.bytes[$0.v + 20] = 0x57 }, "its name is w~2", 7, 2),
      ("loop", { $0[$0.cell($0.root + 28) + 4 + 8] = 0x20 }, "dropped: cell-shared", 5, 2),
      ("root", { $0[36] = 0x2000; checksum(&$0.bytes) }, "mended: cell-reference: key node", 7, 2),
      ("security count", { $0[$0.cell($0.root + 44) + 12] = 1 }, "mended: security-count", 7, 2),
      ("hive bin", { $0[4096] = 0 }, "mended: bin-signature", 7, 2),
    ]

  @Test(arguments: 0..<faults.count) func whatCanBeReadIsSaved(number: Int) throws {
    let fault = Self.faults[number]
    var patient = try Patient()
    fault.spoil(&patient)
    let (result, _, _, rules) = try rewritten(patient.bytes, repairing: true)
    #expect(!rules.isEmpty, "\(fault.name) is found")
    let told = result.repairs.map(\.description)
    #expect(told.contains { $0.contains(fault.told) }, "\(fault.name): \(told)")
    #expect([result.keys, result.values] == [fault.keys, fault.values], "\(fault.name)")
  }

  /// A list that cannot be read is made again from what knows that it belongs there; cells that a crash left lying are
  /// not.
  @Test func onlyWhatALostListHeldIsTakenBack() throws {
    var patient = try Patient()
    // B stands in no list any more; the list is whole.
    let list = patient.cell(patient.root + 28)
    let entries = Array(patient.bytes[list + 4..<list + 4 + 40])
    patient.bytes.replaceSubrange(list + 4..<list + 4 + 32, with: Array(entries[..<8]) + Array(entries[16...]))
    put32(get32(list, in: patient.bytes) - 0x1_0000, at: list, in: &patient.bytes)
    patient[patient.root + 20] = 4
    patient[patient.cell(patient.root + 44) + 12] = 5
    let hive = try Hive(bytes: patient.bytes)
    let orphans = HiveChecker(hive).orphans.count
    #expect(orphans > 0)
    patient.bytes[patient.v] = 0
    let (result, _, _, _) = try rewritten(patient.bytes, repairing: true)
    #expect(result.keys == 5)
  }

  @Test func findingsNameTheKey() throws {
    var patient = try Patient()
    patient.bytes[patient.v] = 0
    let hive = try Hive(bytes: patient.bytes)
    #expect(HiveChecker(hive).findings.map(\.key) == ["A"])
    #expect(HiveChecker(hive).findings.first?.description.hasSuffix(", in the key \\A") == true)
  }

  @Test func progressGoesUpToTheNewSize() throws {
    let test = try sample(minor: 5)
    var last = 0
    let device = MemoryDevice()
    let result = try test.hive.compact(to: device) {
      #expect($0 >= last)
      last = $0
    }
    #expect(last == result.statistics.fileBytes)
  }
}
