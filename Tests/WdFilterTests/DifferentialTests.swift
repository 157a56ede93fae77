import ConfigurationManager
import Executive
import Glibc
import Testing
import WdFilter

/// The compiled rules and the driver's lists get the same rules and the same names, and find the same.
///
/// `REGWARD_SEED` starts another sequence, `REGWARD_PAIRS` says how many (rule tree, name) pairs; a failure names the seed
/// that makes its one tree again: `REGWARD_SEED=… REGWARD_PAIRS=1`.
@Suite("Compiled rules against MP_KEY_ENTRY lists (wdfilter.md 3.3)")
struct DifferentialTests {
  private static let components = ["a", "A", "b", "B", "ab", "aB", "ä", "Ä", "ß"]
  private static let valueNames: [String?] = [nil, "", "v", "V", "vv", "ä"]
  private static let keyBits: [UInt32] = [0x1, 0x4, 0x10, 0x10000, 0x20000, 0x40000, 0x10001, 0x37C015]
  private static let valueBits: [UInt32] = [0x100, 0x400, 0x800, 0x40000, 0x80000, 0x400000, 0x2D00, 0xC2D00]
  private static let namesPerTree = 250

  private static func number(_ name: String) -> UInt64? { getenv(name).flatMap { UInt64(String(cString: $0)) } }

  /// A policy in both forms.
  private struct Trees {
    let driver = DriverKeyTree()
    let compiled: RuleSet

    init(_ random: inout SeededGenerator) throws {
      // Deep nests of ** in a few trees: the driver's walk takes its time for them.
      let isDeep = Int.random(in: 0..<8, using: &random) == 0
      var monitored: [MonitoredRule] = []
      for index in 0..<Int.random(in: 1...24, using: &random) {
        let pattern = DifferentialTests.pattern(&random, isDeep)
        let isOfKey = Bool.random(using: &random)
        let words = isOfKey ? DifferentialTests.keyBits : DifferentialTests.valueBits
        let bits = words.randomElement(using: &random) ?? 1
        let digits = String(index, radix: 16)
        let hash = String(repeating: "0", count: 32 - digits.count) + digits
        let client = DriverKeyTree.Client(rules: bits, hash: hash)
        let entry = driver.entry(for: pattern, shares: Int.random(in: 0..<4, using: &random) != 0)
        var values: [ValueRule] = []
        if isOfKey {
          entry.clients.append(client)
        } else {
          let name = DifferentialTests.valueNames.randomElement(using: &random) ?? nil
          entry.values.append((name, client))
          values = [ValueRule(name: name, rules: RuleBits(rawValue: bits))]
        }
        monitored.append(
          MonitoredRule(
            id: digits, key: try KeyPattern((["\\REGISTRY"] + pattern).joined(separator: "\\")),
            rules: isOfKey ? RuleBits(rawValue: bits) : [], values: values, hash: RuleHash(hexadecimal: hash),
            source: .builtIn))
      }
      compiled = RuleSet(subtree: .faithful, monitored: monitored)
    }
  }

  private static func pattern(_ random: inout SeededGenerator, _ isDeep: Bool) -> [String] {
    var pattern: [String] = []
    for _ in 0..<Int.random(in: 0...(isDeep ? 9 : 5), using: &random) {
      switch Int.random(in: 0..<10, using: &random) {
      case 0, 1: pattern.append("*")
      case 2...(isDeep ? 5 : 3):
        // The driver's form has none beside another, and they would say the same.
        if pattern.last != "**" { pattern.append("**") }
      default: pattern.append(components.randomElement(using: &random) ?? "a")
      }
    }
    return pattern
  }

  private static func name(_ random: inout SeededGenerator) -> [String] {
    (0..<Int.random(in: 0...7, using: &random)).map { _ in
      switch Int.random(in: 0..<40, using: &random) {
      // Names like others: what stands for itself in a key is no wildcard.
      case 0: "*"
      case 1: "**"
      case 2: ""
      default: components.randomElement(using: &random) ?? "a"
      }
    }
  }

  /// An operation on the name, the value that it is about, and the flag that the rules are asked for.
  private static func question(_ name: [String], _ random: inout SeededGenerator) -> (
    operation: RegistryOperation, value: String?, flags: UInt32
  ) {
    let key = KeyReference(id: 1, completeName: UnicodeName((["\\registry"] + name).joined(separator: "\\")))
    let value = (valueNames.randomElement(using: &random) ?? nil) ?? "other"
    switch Int.random(in: 0..<4, using: &random) {
    case 0: return (.createKey(completeName: key.completeName, parent: key, options: []), nil, 0x410001)
    case 1: return (.deleteKey(key: key), nil, 0x440010)
    case 2:
      return (.setValueKey(key: key, valueName: UnicodeName(value), value: nil), value, 0x480100)
    default: return (.deleteValueKey(key: key, valueName: UnicodeName(value)), value, 0x440800)
    }
  }

  @Test("Random rules and names: the same rules and hashes", .timeLimit(.minutes(10)))
  func theSameRulesAndHashes() throws {
    let seed = Self.number("REGWARD_SEED") ?? 20_241_121
    let pairs = max(1, Self.number("REGWARD_PAIRS") ?? 100_000)
    var done: UInt64 = 0
    var matched: UInt64 = 0
    var severalMatched: UInt64 = 0
    var treeSeed = seed
    var failures = 0
    while done < pairs, failures < 5 {
      var random = SeededGenerator(seed: treeSeed)
      let trees = try Trees(&random)
      for _ in 0..<Self.namesPerTree {
        let name = Self.name(&random)
        let (operation, value, flags) = Self.question(name, &random)
        let expected = trees.driver.match(["registry"] + name, value: value, flags: flags)
        let found = trees.compiled.decide(operation) { nil }
        let hashes = found.hashes.map(\.hexadecimal)
        done += 1
        if !expected.hashes.isEmpty { matched += 1 }
        if expected.hashes.count > 1 { severalMatched += 1 }
        if found.matchedRules.rawValue != expected.rules || Set(hashes) != expected.hashes
          || hashes.count != expected.hashes.count
        {
          failures += 1
          let keys = trees.compiled.monitored.map { "\($0.key.text) \($0.rules.rawValue) \($0.values)" }
          Issue.record(
            """
            REGWARD_SEED=\(treeSeed) REGWARD_PAIRS=1: \(operation): \(found.matchedRules.rawValue) \(hashes), \
            not \(expected), of \(keys)
            """)
          break
        }
      }
      treeSeed &+= 1
    }
    print("seed \(seed): \(done) pairs, \(matched) with a match, \(severalMatched) with several")
    // A comparison of nothing with nothing would prove nothing.
    if done >= 10_000 {
      #expect(matched * 10 >= done)
      #expect(severalMatched * 50 >= done)
    }
  }
}
