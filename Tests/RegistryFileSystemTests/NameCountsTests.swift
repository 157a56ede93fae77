import Executive
import Testing

@testable import RegistryFileSystem

@Suite struct NameCountsTests {
  /// Against a dictionary of upper-cased names; names of one hash are told apart.
  @Test func itCountsAsADictionaryDoes() {
    var counts = NameCounts()
    var model: [UnicodeName: Int] = [:]
    #expect(!counts.contains("a"))
    // 37 of the second letter are one of the first: "b" + U+0020 hashes as "a" + "E" does.
    let twins: [UnicodeName] = ["aE", UnicodeName(units: [0x42, 0x20]), "Ae", "B "]
    for name in twins + (0..<3000).map({ UnicodeName("name \($0 % 1700)") }) + ["ÄNDERUNG", "änderung", ""] {
      model[name.upcased, default: 0] += 1
      #expect(counts.add(name) == model[name.upcased])
    }
    for name in model.keys { #expect(counts.contains(name)) }
    #expect(counts.contains("NAME 5") && !counts.contains("name 1700"))
  }
}
