import ConfigurationManager
import Executive
import Notifications
import ProcessTable
import Testing
import WdFilter

@Suite("Explanations and hit counts")
struct ExplanationTests {
  private func rules(_ processes: [ProcessRule] = []) throws -> RuleSet {
    RuleSet(
      monitored: [
        try rule(
          "acme", #"HKLM\SOFTWARE\Acme"#, [.createKeyOperation, .createDenied],
          values: [
            ValueRule(name: "Start", rules: .setValueDenied), ValueRule(name: nil, rules: .setValueKeyOperation),
          ]),
        try rule("audited", #"HKLM\SOFTWARE\*"#, .setValueDenied, mode: .audit),
      ], processes: processes, version: 9)
  }

  private func subjects(_ explanation: Explanation) -> [Explanation.Step.Subject] { explanation.steps.map(\.subject) }

  @Test func everyStepOfARefusalIsThereInItsOrder() throws {
    let rules = try rules()
    let explanation = rules.explain(set(acme, "Start"), process: process(doubts: [.traced, .deletedExecutable]))
    #expect(
      subjects(explanation) == [
        .operation, .hardening, .monitored, .monitored, .monitored, .process, .process, .process, .mode, .verdict,
      ])
    let text = explanation.description
    for part in [
      "RegNtPreSetValueKey \(acme), value Start: asks for 0x80100 (SetValueKeyOperation, SetValueDenied)",
      "no entry covers the name", "'acme' (test.yaml:7)", "value 'Start': 0x80000 (SetValueDenied), hash ", "any value",
      "for any value: 0x80000", "audited", "uid 1000", ExemptionDoubt.traced.rawValue,
      ExemptionDoubt.deletedExecutable.rawValue, "policy enforce, subtree strict, version 9",
      "deny: denied, rule 'acme' (test.yaml:7)",
    ] {
      #expect(text.contains(part), "\(part) in \(text)")
    }
  }

  @Test func rulesBelowAndBothNamesOfARenameAreTold() throws {
    let text = try rules().explain(rename(#"\REGISTRY\MACHINE\SOFTWARE"#, "x"), process: nil).description
    #expect(text.contains(#"\REGISTRY\MACHINE\SOFTWARE to \REGISTRY\MACHINE\x"#))
    #expect(text.contains("below:      'acme' (test.yaml:7)"))
    #expect(text.contains("the caller is not known"))
    #expect(RuleSet().explain(open(acme), process: nil).steps.first?.text.contains("does not judge") == true)
  }

  @Test func aValueThatIsNotReadIsExplainedToo() {
    let rules = RuleSet(processes: [entry(uid: 1000, flags: .msSeces)])
    let explanation = rules.explain(query(acme, "LoadAppInit_DLLs"), process: process())
    #expect(explanation.decision.verdict == .deny)
    #expect(explanation.description.contains("for MsSeces"))
    #expect(rules.explain(query(acme, "x"), process: process()).decision.verdict == .allow)
  }

  /// Random rules, names and processes: what explains decides the same.
  @Test(arguments: 1...10 as ClosedRange<UInt64>)
  func explainingDecidesTheSame(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let names = [acme, winDefend, system, acme + #"\Sub"#, #"\REGISTRY\MACHINE\SOFTWARE"#]
    for _ in 0..<100 {
      let patterns = [#"HKLM\SOFTWARE\Acme"#, #"HKLM\**"#, #"HKLM\*\Acme"#]
      let monitored = try (0..<3).map { index in
        try rule(
          "r\(index)", patterns[Int.random(in: 0..<3, using: &random)],
          RuleBits(rawValue: UInt32.random(in: 0...0x7F_FFFF, using: &random)),
          values: [ValueRule(name: Bool.random(using: &random) ? "v" : nil, rules: RuleBits(rawValue: 0xC2D00))],
          mode: RuleMode.allCases.randomElement(using: &random) ?? .enforce)
      }
      let rules = RuleSet(
        mode: RuleMode.allCases.randomElement(using: &random) ?? .enforce,
        subtree: Bool.random(using: &random) ? .strict : .faithful, monitored: monitored,
        processes: [entry(uid: 1000, flags: ProcessFlags(rawValue: UInt32.random(in: 0...0x3F, using: &random)))])
      let name = names.randomElement(using: &random) ?? acme
      for operation in [
        create(name), createLink(name), delete(name), rename(name, "Acme"), set(name, "v"), deleteValue(name, "v"),
        touch(name), restore(name), replace(name), load(name), unload(name), secure(name),
      ] {
        let caller = Bool.random(using: &random) ? process() : nil
        let decision = rules.decide(operation) { caller }
        let explained = rules.explain(operation, process: caller).decision
        #expect(decision.verdict == explained.verdict, "seed \(seed) \(operation)")
        #expect(decision.reason == explained.reason, "seed \(seed) \(operation)")
        #expect(decision.ruleIDs == explained.ruleIDs && decision.finalKeyRules == explained.finalKeyRules)
      }
    }
  }

  @Test func aRuleThatTakesPartIsCountedAndNoOther() throws {
    let rules = try rules()
    func hits(_ id: String) -> UInt64 { rules.listings.filter { $0.id == id }.reduce(0) { $0 + $1.hits } }
    _ = rules.explain(create(acme), process: nil)
    #expect(rules.listings.allSatisfy { $0.hits == 0 })
    for _ in 0..<3 { _ = rules.decide(create(acme)) { nil } }
    #expect(hits("acme") == 3)
    #expect(hits("audited") == 0)
    _ = rules.decide(set(acme, "Start")) { nil }
    #expect(hits("acme") == 5)
    #expect(hits("audited") == 1)
    _ = rules.decide(rename(system, "x")) { nil }
    #expect(rules.listings.filter { $0.kind == .hardened }.reduce(0) { $0 + $1.hits } == 1)
    _ = rules.decide(create(acme + #"\Nothing"#)) { nil }
    #expect(hits("acme") == 5)
  }

  @Test func theVersionIsInEveryEvent() throws {
    let bench = Bench(try rules())
    bench.run(create(acme), by: .unknown)
    bench.run(set(acme, "x"), by: .unknown)
    #expect(bench.notifications.map(\.rulesVersion) == [9, 9])
  }

  @Test("report_failures: a failed watched operation is told with its status, one that was never done is not")
  func reportFailures() throws {
    for reports in [true, false] {
      let bench = Bench(
        RuleSet(monitored: [try rule(#"HKLM\SOFTWARE\Acme"#, .createKeyOperation)], reportsFailures: reports))
      bench.run(create(acme), by: .unknown, outcome: .diskFull)
      bench.run(create(acme), by: .unknown, outcome: .cancelled)
      #expect(bench.notifications.map(\.status) == (reports ? [.diskFull] : []))
      #expect(bench.notifications.allSatisfy { $0.notifyClass == .postCreateKeyEx && !$0.denied })
    }
  }
}
