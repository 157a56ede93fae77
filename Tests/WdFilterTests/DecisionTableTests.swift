import ConfigurationManager
import Executive
import ProcessTable
import Testing
import WdFilter

/// Every operation with every Denied bit at, above, below and beside its key, every kind of process, and every mode, against a
/// model that is written from the tables of wdfilter.md and shares no code with the filter.
@Suite("Decision table (wdfilter.md 3.1, 3.2, 3.4, 4)")
struct DecisionTableTests {
  private enum Operation: String, CaseIterable {
    case create, link, rename, delete, set, deleteValue, touch, restore, replace, load, unload, security

    func on(_ name: String) -> RegistryOperation {
      switch self {
      case .create: WdFilterTests.create(name)
      case .link: createLink(name)
      case .rename: WdFilterTests.rename(name, "Elsewhere")
      case .delete: WdFilterTests.delete(name)
      case .set: WdFilterTests.set(name, "v")
      case .deleteValue: WdFilterTests.deleteValue(name, "v")
      case .touch: WdFilterTests.touch(name)
      case .restore: WdFilterTests.restore(name)
      case .replace: WdFilterTests.replace(name)
      case .load: WdFilterTests.load(name)
      case .unload: WdFilterTests.unload(name)
      case .security: secure(name)
      }
    }

    /// The driver's own Denied bit, as a number of wdfilter.md 3.1; 0 for none.
    var denied: UInt32 {
      switch self {
      case .create, .link: 0x10000
      case .rename: 0x20000
      case .delete, .deleteValue: 0x40000
      case .set: 0x80000
      case .restore: 0x200000
      case .replace: 0x100000
      case .touch, .load, .unload, .security: 0
      }
    }

    /// What refuses at the key itself in a strict subtree.
    var strictlyDenied: UInt32 {
      switch self {
      case .rename: 0x20000 | 0x40000
      case .restore, .replace: 0x3F0000
      case .load: 0x10000 | 0x80000
      // A key's SetValueDenied is about its values, which go with the hive.
      case .unload: 0x40000 | 0x80000
      // The same of a delete.
      case .delete: 0x40000 | 0x80000
      // A link would hide the values that a SetValueDenied speaks of.
      case .link: 0x10000 | 0x80000
      default: denied
      }
    }

    var isOfValue: Bool { self == .set || self == .deleteValue }
    var reachesBelow: Bool {
      [.link, .rename, .delete, .restore, .replace, .load, .unload].contains(self)
    }
    var isStrictOnly: Bool { self == .load || self == .unload }
  }

  private enum Place: String, CaseIterable {
    case at, below, beside
    var rule: String {
      switch self {
      case .at: #"HKLM\SOFTWARE\Acme"#
      case .below: #"HKLM\SOFTWARE\Acme\Sub\Deep"#
      case .beside: #"HKLM\SOFTWARE\AcmeX"#
      }
    }
  }

  private static let bits: [UInt32] = [0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000, 0x400000]
  private static let words: [(flags: UInt32, rules: UInt32)] = [
    (0, 0), (0x1, 0), (0x8, 0), (0x10, 0), (0x20, 0), (0x40, 0), (0, 0x400),
  ]

  /// 0 nothing, 1 exempt, 2 audited, 3 denied.
  private func expected(
    _ operation: Operation, _ bit: UInt32, _ place: Place, _ subtree: SubtreeMode, _ mode: RuleMode, _ word: Int
  ) -> Int {
    guard mode != .off, subtree == .strict || !operation.isStrictOnly else { return 0 }
    let tamper = bit == 0x400000
    let refuses: Bool
    switch place {
    case .beside: refuses = false
    case .below: refuses = subtree == .strict && operation.reachesBelow
    case .at where tamper: refuses = true
    // A key's list says of values: nothing may be set. Its DeleteDenied is about the key.
    case .at where operation.isOfValue: refuses = operation == .set && bit == 0x80000
    case .at where operation == .security: refuses = bit == 0x80000 || bit == 0x40000
    case .at:
      // A renamed key takes its values along.
      let valuesGo = subtree == .strict && operation == .rename && bit == 0x80000
      refuses = bit & (subtree == .strict ? operation.strictlyDenied : operation.denied) != 0 || valuesGo
    }
    guard refuses else { return 0 }
    let (flags, rules) = Self.words[word]
    if !tamper, flags & 0x31 != 0 || rules & 0x400 != 0 { return 1 }
    return mode == .audit ? 2 : 3
  }

  @Test func everyRowIsDecidedAsTheTablesSay() throws {
    var rows = 0
    for operation in Operation.allCases {
      for bit in Self.bits {
        for place in Place.allCases {
          for subtree in SubtreeMode.allCases {
            for mode in RuleMode.allCases {
              for word in Self.words.indices {
                rows += 1
                let (flags, rules) = Self.words[word]
                let set = RuleSet(
                  mode: mode, subtree: subtree, monitored: [try rule(place.rule, RuleBits(rawValue: bit))],
                  processes: [
                    entry(uid: 1000, flags: ProcessFlags(rawValue: flags), rules: ProcessRules(rawValue: rules))
                  ])
                let decision = set.decide(operation.on(acme)) { process() }
                let found = decision.verdict == .deny ? 3 : decision.isAudited ? 2 : decision.isExempt ? 1 : 0
                let wanted = expected(operation, bit, place, subtree, mode, word)
                if found != wanted {
                  let row = "\(operation) 0x\(String(bit, radix: 16)) \(place) \(subtree) \(mode) \(word)"
                  Issue.record("\(row): \(found), not \(wanted)")
                }
              }
            }
          }
        }
      }
    }
    #expect(rows == 12 * 7 * 3 * 2 * 3 * 7)
  }

  @Test func hardenedKeysTheSameForEveryOperationAndProcess() {
    let below = winDefend + #"\Parameters"#
    let above = system + #"\ControlSet001"#
    for operation in Operation.allCases {
      for (name, isAbove) in [(winDefend, false), (below, false), (above, true), (winDefend + "X", true)] {
        for subtree in SubtreeMode.allCases {
          for mode in RuleMode.allCases {
            for (flags, rules) in Self.words {
              let caller = entry(
                uid: 1000, flags: ProcessFlags(rawValue: flags), rules: ProcessRules(rawValue: rules))
              let set = RuleSet(mode: mode, subtree: subtree, processes: [caller])
              let decision = set.decide(operation.on(name)) { process() }
              let reaches = !isAbove || name == above && subtree == .strict && operation.reachesBelow
              let isAsked = mode != .off && reaches && (subtree == .strict || !operation.isStrictOnly)
              let isRefused = isAsked && mode == .enforce && flags & 0x38 == 0
              #expect((decision.verdict == .deny) == isRefused, "\(operation) \(name) \(subtree) \(mode) \(flags)")
            }
          }
        }
      }
    }
  }
}
