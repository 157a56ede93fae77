import ConfigurationManager
import Executive
import HiveStorage
import Testing

@testable import RegistryFileSystem

/// Names and security descriptors of every hive in ../shared, through the codecs.
@Suite(.enabled(if: SharedHives.isThere, "../shared is absent")) struct SharedHivesTests {
  private struct Counts {
    var hives = 0
    var keys = 0
    var values = 0
    var shortened = 0
    var descriptors: Set<[UInt8]> = []
    var problems: [String] = []

    /// SEMANTICS 2.2 to 2.4 and 2.11: a file name that the kernel takes, of this name and no other one of the key's.
    mutating func check(_ name: UnicodeName, _ seen: inout [[UInt8]: UnicodeName]) {
      var bytes: [UInt8] = []
      NameCodec.encode(name, into: &bytes)
      if bytes.isEmpty || bytes.count > 1024 || bytes.contains(0x2F) || bytes.contains(0) || bytes == [0x2E] || bytes == [0x2E, 0x2E] {
        problems.append("\(name): no file name")
      }
      let decoded = try? NameCodec.decode(bytes)
      if decoded?.isShortened == true {
        shortened += 1
        if let decoded, !name.units.starts(with: decoded.name.units) { problems.append("\(name): shortened wrongly") }
      } else if decoded != EntryName(name: name, suffix: .none) {
        problems.append("\(name): not read back")
      }
      if let other = seen.updateValue(name, forKey: bytes), other.units != name.units {
        problems.append("\(name) and \(other): one file name")
      }
    }

    /// Whatever can be read, of a damaged hive too.
    mutating func walk(_ hive: borrowing Hive) {
      hives += 1
      var left = [hive.rootKey]
      var visited: Set<CellIndex> = []
      while let key = left.popLast() {
        guard visited.insert(key).inserted else { continue }
        if let descriptor = try? hive.securityDescriptor(ofKey: key) { descriptors.insert(descriptor) }
        var names: [[UInt8]: UnicodeName] = [:]
        try? hive.forEachSubkey(of: key, from: 0, damaged: { _ in }) { (_, cell) throws(HiveError) in
          if let name = try? hive.keyName(at: cell), !name.isEmpty {
            keys += 1
            check(name, &names)
            left.append(cell)
          }
          return true
        }
        names = [:]
        try? hive.forEachValue(of: key, from: 0) { (_, cell) throws(HiveError) in
          if let name = try? hive.valueName(at: cell) {
            values += 1
            check(name, &names)
          }
          return true
        }
      }
    }
  }

  private static let counts = Result {
    var counts = Counts()
    for path in SharedHives.paths {
      if let hive = try SharedHives.hive(path) { counts.walk(hive) }
    }
    return counts
  }

  @Test func everyNameHasAFileNameAndIsReadBack() throws {
    let counts = try Self.counts.get()
    #expect(counts.problems.prefix(5) == [])
    print("\(counts.hives) hives, \(counts.keys) keys, \(counts.values) values, \(counts.shortened) shortened")
    #expect(counts.hives > 100 && counts.keys > 100_000 && counts.values > 100_000 && counts.shortened > 0)
  }

  /// SEMANTICS 4.10. Canonical is what Windows writes: no part overlaps or is left out, no bit or room that SDDL has no word for.
  private static func isCanonical(_ bytes: [UInt8]) -> Bool {
    func number(_ offset: Int, _ count: Int) -> Int { (0..<count).reversed().reduce(0) { $0 << 8 | Int(bytes[offset + $1]) } }
    guard bytes.count >= 20, bytes[1] == 0, number(2, 2) & ~0xBF14 == 0 else { return false }
    var end = 20
    for (field, isList) in [(12, true), (16, true), (4, false), (8, false)] where number(field, 4) != 0 {
      guard number(field, 4) == end, end + 8 <= bytes.count else { return false }
      guard isList else {
        end += 8 + 4 * Int(bytes[end + 1])
        continue
      }
      var entry = end + 8
      var hasObjects = false
      for _ in 0..<number(end + 4, 2) {
        guard entry + 4 <= bytes.count else { return false }
        hasObjects = hasObjects || [5, 6, 7, 8, 11].contains(bytes[entry])
        entry += number(entry + 2, 2)
      }
      guard bytes[end] == (hasObjects ? 4 : 2), bytes[end + 1] == 0, number(end + 6, 2) == 0, number(end + 2, 2) == entry - end else {
        return false
      }
      end = entry
    }
    let control = number(2, 2)
    let flagsOfAbsent = (control & 0x0004 == 0 ? 0x1500 : 0) | (control & 0x0010 == 0 ? 0x2A00 : 0)
    return end == bytes.count && control & flagsOfAbsent == 0
  }

  @Test func everyDescriptorIsReadBackFromItsText() throws {
    let descriptors = try Self.counts.get().descriptors
    var canonical = 0
    var whole = 0
    for bytes in descriptors {
      guard let parts = SecurityDescriptorParts(bytes) else { continue }
      whole += 1
      let text = parts.text
      let again = try #require(SecurityDescriptorParts(text: text), "\(text)")
      #expect(again.text == text)
      if Self.isCanonical(bytes) {
        canonical += 1
        #expect(again.bytes == bytes, "\(text)")
      }
    }
    print("\(descriptors.count) descriptors, \(whole) whole, \(canonical) canonical")
    #expect(whole > 300 && canonical * 4 > whole * 3)
  }
}
