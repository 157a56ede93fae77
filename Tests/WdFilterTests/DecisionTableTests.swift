import ConfigurationManager
import Executive
import ProcessTable
import Testing
import WdFilter

/// Every operation against every rule word, list, place, caller, mode and subtree: the engine and `DecisionModel` say the same.
@Suite("Decision table (wdfilter.md 3 and 4)")
struct DecisionTableTests {
  private typealias Kind = DecisionModel.Kind

  // MARK: The tables

  private static let singleBits: [UInt32] = [
    0x1, 0x4, 0x10, 0x100, 0x400, 0x800, 0x2000, 0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000,
    0x200000, 0x400000, 0x800000, 0x1000000,
  ]
  private static let pairs: [UInt32] = [0x10001, 0x20004, 0x40010, 0x80100, 0x40800, 0x204000, 0x108000]
  private static let liveWords: [UInt32] = [0x37C015, 0xC2D00, 0x2D00]

  private static let subject = #"\REGISTRY\MACHINE\SOFTWARE\Acme\Agent"#
  private static let newName = "Renamed"

  /// Where a rule is, seen from the key that an operation is about.
  private static let places: [(name: String, key: String)] = [
    ("the key", #"HKLM\SOFTWARE\acme\AGENT"#), ("its parent", #"HKLM\SOFTWARE\Acme"#),
    ("a descendant", #"HKLM\SOFTWARE\Acme\Agent\Deep\Run"#),
    ("below the key by **", #"HKLM\SOFTWARE\Acme\Agent\**\Run"#),
    ("anywhere by **", #"HKLM\SOFTWARE\**\Run"#), ("the key by *", #"HKLM\SOFTWARE\*\Agent"#),
    ("the key and all below", #"HKLM\SOFTWARE\Acme\Agent\**"#), ("the parent and all below", #"HKLM\SOFTWARE\Acme\**"#),
    ("the new name", #"HKLM\SOFTWARE\Acme\renamed"#), ("below the new name", #"HKLM\SOFTWARE\Acme\Renamed\*\Run"#),
    ("a name that begins so", #"HKLM\SOFTWARE\Acme\AgentX"#),
  ]

  private static let lists = ["key", "value", "any value", "another value"]

  private static func ruleOf(_ key: String, _ bits: UInt32, _ list: String, _ mode: DecisionModel.Mode = .enforce)
    -> DecisionModel.Rule
  {
    switch list {
    case "value": DecisionModel.Rule(key: key, mode: mode, bits: 0, values: [("START", bits)])
    case "any value": DecisionModel.Rule(key: key, mode: mode, bits: 0, values: [(nil, bits)])
    case "another value": DecisionModel.Rule(key: key, mode: mode, bits: 0, values: [("Other", bits), ("", bits)])
    default: DecisionModel.Rule(key: key, mode: mode, bits: bits, values: [])
    }
  }

  /// Unknown, known without anything, each flag and each rule of 3.2 alone, and some together.
  private static let callers: [(name: String, words: DecisionModel.Caller?)] =
    [("unknown", nil), ("none", DecisionModel.Caller(flags: 0, rules: 0))]
    + [0x1, 0x8, 0x10, 0x20, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800, 0x9, 0x18].map {
      ("flags 0x" + String($0, radix: 16), DecisionModel.Caller(flags: $0, rules: 0))
    }
    + [0x400, 0x200000, 0x2000_0000].map {
      ("rules 0x" + String($0, radix: 16), DecisionModel.Caller(flags: 0, rules: $0))
    }
    + [("all", DecisionModel.Caller(flags: 0xFFFF_FFFF, rules: 0xFFFF_FFFF))]

  /// Every caller is a user of its own, and the policy has an entry for each.
  private static let entries: [ProcessRule] = callers.enumerated().compactMap { index, caller in
    caller.words.map {
      entry(
        caller.name, uid: 2000 + UInt32(index), flags: ProcessFlags(rawValue: $0.flags),
        rules: ProcessRules(rawValue: $0.rules))
    }
  }
  private static let contexts: [ProcessContext?] = callers.enumerated().map { index, caller in
    caller.words.map { _ in process(uid: 2000 + UInt32(index)) }
  }

  /// The product's own list, written out once more (3.4; 4 row 6).
  private static func builtIn(isStrict: Bool) -> [DecisionModel.HardenedKey] {
    let services = #"HKLM\SYSTEM\CurrentControlSet\Services\"#
    return ["WdNisDrv", "WdNisSvc", "WdBoot", "WinDefend", "WdFilter"].map { .init(key: services + $0) }
      + [.init(key: services + "MpHardCodedBlockHive", isCanary: true)]
      + [.init(key: #"HKLM\SYSTEM\Select"#)]
  }

  // MARK: A row

  private static func operation(_ kind: Kind, _ name: String, _ newName: String) -> RegistryOperation {
    switch kind {
    case .create: create(name)
    case .createLink: createLink(name)
    case .setValue: set(name, "Start")
    case .setLinkTarget: set(name, "symbolicLinkVALUE")
    case .deleteValue: deleteValue(name, "Start")
    case .deleteLinkTarget: deleteValue(name, "SymbolicLinkValue")
    case .deleteKey: delete(name)
    case .rename: rename(name, newName)
    case .setInformation: touch(name)
    case .setSecurity: secure(name)
    case .restore: restore(name)
    case .replace: replace(name)
    case .load: load(name)
    case .unload: unload(name)
    }
  }

  private static func valueName(_ kind: Kind) -> String {
    kind == .setLinkTarget || kind == .deleteLinkTarget ? "SymbolicLinkValue" : "Start"
  }

  /// One policy, for the model and for the engine.
  private struct Policy {
    let model: DecisionModel
    let rules: RuleSet

    init(
      mode: DecisionModel.Mode = .enforce, isStrict: Bool, hardened: [DecisionModel.HardenedKey] = [],
      rules: [DecisionModel.Rule]
    ) throws {
      func expand(_ key: String) -> String { #"\REGISTRY\MACHINE"# + key.dropFirst("HKLM".count) }
      model = DecisionModel(
        mode: mode, isStrict: isStrict,
        hardened: (hardened + DecisionTableTests.builtIn(isStrict: isStrict)).map {
          .init(key: expand($0.key), isStringPrefix: $0.isStringPrefix, isCanary: $0.isCanary)
        },
        rules: rules.map { .init(key: expand($0.key), mode: $0.mode, bits: $0.bits, values: $0.values) })
      let modes: [DecisionModel.Mode: RuleMode] = [.off: .off, .audit: .audit, .enforce: .enforce]
      let monitored = try rules.enumerated().map { index, given in
        try rule(
          "r\(index)", given.key, RuleBits(rawValue: given.bits),
          values: given.values.map { ValueRule(name: $0.name, rules: RuleBits(rawValue: $0.bits)) },
          mode: modes[given.mode] ?? .enforce)
      }
      self.rules = RuleSet(
        mode: modes[mode] ?? .enforce, subtree: isStrict ? .strict : .faithful,
        hardened: try hardened.map {
          HardenedKey(
            pattern: try KeyPattern($0.key), match: $0.isStringPrefix ? .stringPrefix : .component,
            source: RuleSource(file: "test.yaml", line: 5))
        }, monitored: monitored, processes: DecisionTableTests.entries)
    }
  }

  /// Judges rows both ways, counts what came out, and shows the first rows that differ.
  private struct Judge {
    private(set) var rows = 0
    private(set) var outcomes: [String: Int] = [:]
    private var failures = 0

    mutating func judge(
      _ policy: Policy, _ kind: Kind, _ name: String = subject, newName: String = DecisionTableTests.newName,
      caller: Int = 1, row: @autoclosure () -> String
    ) {
      rows += 1
      let expected = policy.model.judge(
        kind, key: name, value: valueName(kind), newName: newName, by: callers[caller].words)
      let decision = policy.rules.decide(operation(kind, name, newName)) { contexts[caller] }
      let found = DecisionModel.Outcome(
        isDenied: decision.verdict == .deny, reason: decision.reason.rawValue, isAudited: decision.isAudited,
        isExempt: decision.isExempt, matchedRules: decision.matchedRules.rawValue,
        finalKeyRules: decision.finalKeyRules.rawValue, retrievesOldValue: decision.retrievesOldValue)
      let state = expected.isDenied ? "denied" : expected.isAudited ? "audited" : expected.isExempt ? "exempt" : "done"
      outcomes["\(expected.reason) \(state)", default: 0] += 1
      // An explanation is the same decision, made once more with notes.
      if rows % 97 == 0 {
        let explained = policy.rules.explain(operation(kind, name, newName), process: contexts[caller]).decision
        #expect(explained.summary == decision.summary)
        #expect(explained.hashes == decision.hashes)
      }
      guard found != expected else { return }
      failures += 1
      guard failures <= 10 else { return }
      let model = policy.model
      Issue.record(
        """
        row \(rows): \(kind) \(name)\(kind == .rename ? " to " + newName : "") by \(callers[caller].name), \(row())
        mode \(model.mode), \(model.isStrict ? "strict" : "faithful"), rules \(model.rules)
        expected \(expected)
        found    \(found), rules \(decision.ruleIDs)
        """)
    }

    /// A table whose rows all come out alike would prove nothing.
    func finish(_ expected: Set<String>, atLeast: Int) {
      print("decision table: \(rows) rows")
      #expect(failures == 0, "\(failures) of \(rows) rows differ")
      #expect(rows >= atLeast)
      #expect(expected.subtracting(outcomes.filter { $0.value >= 20 }.keys) == [], "\(outcomes)")
    }
  }

  // MARK: The tables, crossed

  @Test("operation × rule word × list × place × subtree")
  func wordsListsAndPlaces() throws {
    var judge = Judge()
    for isStrict in [true, false] {
      for word in Self.singleBits + Self.pairs + Self.liveWords {
        for list in Self.lists {
          for place in Self.places {
            let policy = try Policy(isStrict: isStrict, rules: [Self.ruleOf(place.key, word, list)])
            for kind in Kind.allCases {
              judge.judge(policy, kind, row: "0x\(String(word, radix: 16)) in the list of \(list) at \(place.name)")
            }
          }
        }
      }
    }
    judge.finish(
      ["untouched done", "watched done", "denied denied", "deniedBelow denied", "tamperProtection denied"],
      atLeast: 30_000)
  }

  @Test("operation × caller × global mode × rule's mode × hardened × subtree")
  func callersAndModes() throws {
    var judge = Judge()
    let hardened: [(String, [DecisionModel.HardenedKey])] = [
      ("nothing hardened", []), ("hardened", [.init(key: #"HKLM\SOFTWARE\Acme"#)]),
      ("hardened by prefix", [.init(key: #"HKLM\SOFTWARE\Acme\Ag"#, isStringPrefix: true)]),
      ("hardened below", [.init(key: #"HKLM\SOFTWARE\Acme\Agent\Deep"#)]),
    ]
    for isStrict in [true, false] {
      for mode in DecisionModel.Mode.allCases {
        for ruleMode in DecisionModel.Mode.allCases {
          for (name, keys) in hardened {
            // Everything watched and denied, without and with TamperProtectionActive.
            for (word, place) in [(0, 0), (0x3FED15, 0), (0x7FED15, 0), (0x3FED15, 2)] as [(UInt32, Int)] {
              let policy = try Policy(
                mode: mode, isStrict: isStrict, hardened: keys,
                rules: ["key", "any value"].map { Self.ruleOf(Self.places[place].key, word, $0, ruleMode) })
              for kind in Kind.allCases {
                for caller in Self.callers.indices {
                  judge.judge(policy, kind, caller: caller, row: "\(name), rule's mode \(ruleMode)")
                }
              }
            }
          }
        }
      }
    }
    judge.finish(
      [
        "hardened denied", "hardened audited", "hardened exempt", "hardenedBelow denied", "hardenedBelow audited",
        "hardenedBelow exempt", "denied denied", "denied audited", "denied exempt", "tamperProtection denied",
        "tamperProtection audited", "deniedBelow denied",
      ], atLeast: 50_000)
  }

  @Test("operation × caller × mode × subtree at the product's own keys, the canary among them")
  func theProductsList() throws {
    var judge = Judge()
    let services = #"\REGISTRY\MACHINE\SYSTEM\ControlSet001\Services"#
    let names = [
      services + #"\WinDefend"#, services + #"\wdfilter\Instances"#, services + #"\WdFilterX"#, services,
      services + #"\MpHardCodedBlockHive"#, services + #"\MPHARDCODEDBLOCKHIVE\Below"#,
      #"\REGISTRY\MACHINE\SYSTEM"#, #"\REGISTRY\MACHINE\SYSTEM\ControlSet002"#, #"\REGISTRY\MACHINE\SYSTEM\Select"#,
      #"\REGISTRY\MACHINE\SYSTEM\CurrentControlSet\Services\WdBoot"#,
      #"\REGISTRY\MACHINE\SYSTEM\ControlSet01\Services"#,
    ]
    for isStrict in [true, false] {
      for mode in DecisionModel.Mode.allCases {
        let policy = try Policy(mode: mode, isStrict: isStrict, rules: [])
        for kind in Kind.allCases {
          for name in names {
            for newName in kind == .rename ? ["x", "WinDefend", "mphardcodedblockhive", "ControlSet003"] : ["x"] {
              for caller in Self.callers.indices {
                judge.judge(policy, kind, name, newName: newName, caller: caller, row: "built-in list")
              }
            }
          }
        }
      }
    }
    judge.finish(["canary denied", "hardened denied", "hardenedBelow denied", "hardened exempt"], atLeast: 15_000)
  }

  @Test("several rules at random", arguments: [1, 2, 3, 4] as [UInt64])
  func severalRules(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    var judge = Judge()
    let denied = Self.singleBits.filter { $0 & 0x7F0000 != 0 }
    for _ in 0..<250 {
      let rules = (0..<Int.random(in: 2...4, using: &random)).map { _ -> DecisionModel.Rule in
        let place = Self.places.randomElement(using: &random) ?? Self.places[0]
        let list = Self.lists.randomElement(using: &random) ?? "key"
        let words = Self.singleBits + Self.pairs + Self.liveWords + denied
        let word = (0..<Int.random(in: 1...3, using: &random)).reduce(0 as UInt32) { word, _ in
          word | (words.randomElement(using: &random) ?? 0)
        }
        let mode: DecisionModel.Mode = Int.random(in: 0..<6, using: &random) == 0 ? .audit : .enforce
        return Self.ruleOf(place.key, word, list, mode)
      }
      let policy = try Policy(isStrict: Int.random(in: 0..<4, using: &random) != 0, rules: rules)
      for kind in Kind.allCases {
        // None, Excluded, Friendly, AllowAllRegistryOperations.
        for caller in [1, 2, 5, 14] { judge.judge(policy, kind, caller: caller, row: "seed \(seed)") }
      }
    }
    judge.finish(
      ["denied exempt", "deniedBelow exempt", "deniedBelow audited", "tamperProtection denied"], atLeast: 10_000)
  }
}
