import ConfigurationManager
import Executive
import Glibc
import Notifications
import PolicyFile
import Sigma
import Testing
import WdFilter

/// SEMANTICS 12.6: rules that deny.
@Suite(.timeLimit(.minutes(1))) struct SigmaDecisionTests {
  private func rules(_ detection: String, category: String = "registry_set", actor: String = "{}", _ more: String = "") throws -> RuleSet {
    let folder = try RuleFolder(
      "version: 1\n\(more)\nsigma: { path: rules, deny: [d], actor: \(actor) }",
      ["a.yml": rule("watching", detection, category: category), "d.yml": rule("d", detection, category: category)])
    return try folder.load().rules
  }

  private static let acmeKey = #"selection: { TargetObject|contains: '\SOFTWARE\Acme' }"# + "\ncondition: selection"

  @Test func itRefusesWhatItFiresOn() throws {
    let bench = Bench(try rules(Self.acmeKey))
    #expect(bench.run(set(acme, "v", "x")) == .accessDenied)
    #expect(bench.run(set(run, "v", "x")) == .success)
    // Another operation than its own.
    #expect(bench.run(.deleteValueKey(key: key(acme), valueName: "v")) == .success)
    let refusal = try #require(bench.refusals.last(for: UnicodeName(acme + #"\v"#)))
    #expect(refusal.reason == .sigma && refusal.notification.detector == nil)
    #expect(refusal.description.contains("rule:      d (Sigma rule: Title of d)"))
    #expect(refusal.description.contains("/rules/d.yml:1\n"))
    let told = bench.told
    #expect(told.count == 1 && told[0].denied && !told[0].audited && told[0].notifyClass == .preSetValueKey)
    #expect(told[0].ruleIDs == ["d"] && told[0].ruleSource?.hasSuffix("/rules/d.yml:1") == true)
    // The one that decided first, each once.
    #expect(told[0].detections.map(\.id) == ["d", "watching"])
    let line = String(decoding: EventEncoder().line(for: .registry(told[0])), as: UTF8.self)
    #expect(line.contains(#""rule":{"id":["d","watching"],"name":["Title of d","Title of watching"]}"#))
    #expect(line.contains(#"/rules/d.yml:1): Sigma: Title of d, Title of watching""#))
  }

  @Test func auditOnlySaysSoAndOffSaysNothing() throws {
    let bench = Bench(try rules(Self.acmeKey, "mode: audit"))
    #expect(bench.run(set(acme, "v", "x")) == .success)
    let told = bench.told
    #expect(told.map(\.audited) == [true] && told[0].denied && told[0].ruleIDs == ["d"])
    for scope in EventScope.allCases {
      let off = Bench(try rules(Self.acmeKey, "mode: off"), scope: scope)
      #expect(off.run(set(acme, "v", "x")) == .success)
      #expect(off.told.map { $0.detections.count } == (scope == .writes ? [0] : []))
    }
  }

  @Test func whoIsExemptFromDeniedBitsIsExemptHere() throws {
    let entries = "processes: [{id: e, when: {uid: 7}, flags: [Friendly]}, {id: m, when: {uid: 8}, flags: [MsMpEng]}]"
    let rules = try rules(Self.acmeKey, entries)
    func decide(_ uid: UInt32) -> Decision { rules.decide(set(acme, "v", "x")) { process(uid: uid) } }
    #expect(decide(7).verdict == .allow && decide(7).isExempt && decide(7).reason == .sigma)
    // As for Denied bits: this one changes hardened keys, and no others that are denied.
    #expect(decide(8).verdict == .deny)
    #expect(decide(1000).verdict == .deny && rules.decide(set(acme, "v", "x")) { nil }.verdict == .deny)
  }

  @Test func theHardenedKeyAndTheDeniedBitComeFirst() throws {
    let own = "monitored: [{id: own, key: HKLM\\SOFTWARE\\Acme, rules: [SetValueDenied]}]"
    #expect(try rules(Self.acmeKey, own).decide(set(acme, "v", "x")) { process() }.ruleIDs.first == "own")
    #expect(try rules(Self.acmeKey, "hardened: [{key: HKLM\\SOFTWARE\\Acme}]").decide(set(acme, "v", "x")) { process() }.reason == .hardened)
    // What would only be said gives way to what refuses.
    let audited = own.replacing("own,", with: "own, mode: audit,")
    #expect(try rules(Self.acmeKey, audited).decide(set(acme, "v", "x")) { process() }.reason == .sigma)
  }

  /// The mapped executable is what rules see; what nobody can say is no exception.
  @Test func theCallerIsWhoTheActorSays() throws {
    let byEditor = #"selection: { TargetObject|contains: Acme, Image: 'C:\Windows\regedit.exe' }"# + "\ncondition: selection"
    let actor = #"{ /usr/bin/sed: 'C:\Windows\regedit.exe', '/opt/*/bin/*': 'C:\Windows\regedit.exe' }"#
    let rules = try rules(byEditor, actor: actor)
    func isRefused(_ rules: RuleSet, _ path: String?) -> Bool { rules.decide(set(acme, "v", "x")) { process(path) }.verdict == .deny }
    #expect(isRefused(rules, "/usr/bin/sed") && isRefused(rules, "/opt/a/bin/b") && !isRefused(rules, "/usr/bin/awk") && !isRefused(rules, nil))
    for filter in ["Image: null", "Image|exists: false", "User|exists: false", "Image: '*'"] {
      let others = try self.rules("selection: { TargetObject|contains: Acme }\nfilter: { \(filter) }\ncondition: selection and not filter", actor: actor)
      #expect(isRefused(others, nil) || filter.hasPrefix("User"), "\(filter)")
      #expect(others.decide(set(acme, "v", "x")) { nil }.verdict == .deny, "\(filter)")
    }
    let hidden = try self.rules("selection: { TargetObject|contains: Acme, User: 1000 }\ncondition: selection")
    #expect(isRefused(hidden, "/usr/bin/sed") && hidden.decide(set(acme, "v", "x")) { nil }.verdict == .allow)
  }

  /// An open is judged by what holds of any data; the data when it is set.
  @Test func theDataIsJudgedWhenItIsThere() throws {
    let bad = "selection: { TargetObject|endswith: '\\v', Details|contains: evil }\ncondition: selection"
    let good = "selection: { TargetObject|endswith: '\\v' }\ngood: { Details: [fine, null] }\ncondition: selection and not good"
    for (detection, fine, evil) in [(bad, "fine", "evil"), (good, "fine", "evil")] {
      let rules = try rules(detection)
      func verdict(_ text: String?) -> Decision.Verdict { rules.decide(set(acme, "v", text)) { process() }.verdict }
      #expect(verdict(nil) == .allow && verdict(fine) == .allow && verdict(evil) == .deny, "\(detection)")
    }
    // What does not ask for the data refuses the open.
    #expect(try rules(Self.acmeKey).decide(set(acme, "v", nil)) { process() }.verdict == .deny)
    let steps = try rules(bad).explain(set(acme, "v", nil), process: process()).description
    #expect(steps.contains("sigma:") && steps.contains("fires or not by the data"))
    #expect(try rules(bad).explain(set(acme, "v", "evil"), process: process()).description.contains("(deny: sigma, rule 'd'") == false)
    #expect(try rules(bad).explain(set(acme, "v", "evil"), process: process()).decision.summary.hasPrefix("deny: sigma, rule 'd' ("))
    #expect(try rules(bad).explain(set(acme, "v", "x"), process: process()).description.contains("no rule that denies fires"))
  }

  /// What is set by the leave of its open is judged then, for who opened it.
  @Test(arguments: ["enforce", "audit"]) func whatIsSetByTheLeaveOfItsOpenIsJudgedByItsData(mode: String) throws {
    let bench = Bench(try rules("selection: { TargetObject|endswith: '\\v', Details|contains: evil }\ncondition: selection", "mode: \(mode)"))
    func run(_ text: String) -> NTStatus {
      var call = RegistryCall(caller: Caller(threadID: 0, userID: 0, groupID: 0), registry: NoRegistry())
      #expect(bench.filter.preOperation(set(acme, "v", nil), &call).isSuccess)
      let status = bench.filter.admittedOperation(set(acme, "v", text), &call)
      if status.isSuccess { _ = bench.filter.postOperation(set(acme, "v", text), status: .success, &call) }
      return status
    }
    #expect(run("fine") == .success)
    #expect(run("evil") == (mode == "enforce" ? .accessDenied : .success))
    let told = bench.told.map { "\($0.denied) \($0.audited) \($0.ruleIDs)" }
    #expect(told == ["true \(mode == "audit") [\"d\"]"])
    #expect((bench.refusals.last(for: UnicodeName(acme + #"\v"#)) != nil) == (mode == "enforce"))
  }

  @Test func theControlSetInUseIsCalledByItsLink() throws {
    let rules = try rules(#"selection: { TargetObject|contains: '\CurrentControlSet\Services' }"# + "\ncondition: selection", category: "registry_add")
    let name = UnicodeName(#"\REGISTRY\MACHINE\SYSTEM\ControlSet001\Services\New"#)
    let make = RegistryOperation.createKey(completeName: name, parent: key(""), options: [])
    #expect(rules.decide(make, currentControlSet: 1) { process() }.verdict == .deny)
    #expect(rules.decide(make, currentControlSet: 2) { process() }.verdict == .allow)
    #expect(Bench(rules).run(make) == .accessDenied)
  }

  @Test(arguments: [
    ("registry_add", [true, false, false, false, false]), ("registry_delete", [false, true, true, false, false]),
    ("registry_set", [false, false, false, true, false]), ("registry_rename", [false, false, false, false, true]),
    ("registry_event", [true, true, true, true, true]),
  ])
  func eachCategoryHasItsOperations(category: String, refused: [Bool]) throws {
    let rules = try rules("selection: { EventID: [12, 13, 14] }\ncondition: selection", category: category)
    let operations: [RegistryOperation] = [
      .createKey(completeName: UnicodeName(acme), parent: key(""), options: []), .deleteKey(key: key(acme)),
      .deleteValueKey(key: key(acme), valueName: "v"), set(acme, "v", "x"), .renameKey(key: key(acme), newName: "n"),
    ]
    #expect(operations.map { operation in rules.decide(operation) { process() }.verdict == .deny } == refused)
    // What Sysmon has no event for, no rule is asked about.
    let restore = RegistryOperation.restoreKey(key: key(acme), sourceFile: "f", flags: 0)
    #expect(rules.decide(restore) { process() }.verdict == .allow)
  }

  /// To find out who asks costs more than the rest.
  @Test func nobodyIsAskedForWhereNoRuleCouldFire() throws {
    let detection = "selection: { TargetObject|contains: Acme, User: 7 }\nfilter: { Image|endswith: sed }\ncondition: selection and not filter"
    let rules = try rules(detection)
    func asks(_ operation: RegistryOperation) -> Bool {
      var isAsked = false
      _ = rules.decide(operation) {
        isAsked = true
        return process()
      }
      return isAsked
    }
    #expect(asks(set(acme, "v", "x")) && asks(set(acme, "v", nil)))
    #expect(!asks(set(run, "v", "x")) && !asks(.deleteValueKey(key: key(acme), valueName: "v")))
    #expect(rules.decide(set(acme, "v", "x")) { process(uid: 7) }.verdict == .deny)
    #expect(rules.decide(set(acme, "v", "x")) { process("/usr/bin/sed", uid: 7) }.verdict == .allow)
  }

  @Test func hitsAreCountedAndListed() throws {
    let rules = try rules(Self.acmeKey)
    for _ in 0..<3 { _ = rules.decide(set(acme, "v", "x")) { process() } }
    _ = rules.explain(set(acme, "v", "x"), process: process())
    let listing = try #require(rules.listings.last)
    #expect(listing.kind == .sigma && listing.id == "d" && listing.hits == 3 && listing.source.file.hasSuffix("/rules/d.yml") && listing.source.line == 1)
    #expect(rules.listings.count { $0.kind == .sigma } == 1)
    #expect(rules.listings.first { $0.kind == .query }?.hits == 0)
  }
}
