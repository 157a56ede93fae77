import ConfigurationManager
import Executive
import ProcessTable
import Testing
import WdFilter

@Suite("Hardening list (wdfilter.md 3.4)")
struct HardeningTests {
  private func decide(
    _ operation: RegistryOperation, _ rules: RuleSet = RuleSet(), by caller: ProcessContext? = process()
  ) -> Decision {
    rules.decide(operation) { caller }
  }

  private func hardened(_ name: String, _ match: HardenedKey.Match = .component) throws -> HardenedKey {
    HardenedKey(pattern: try KeyPattern(name), match: match, source: RuleSource(file: "test.yaml", line: 5))
  }

  @Test(arguments: ["WdNisDrv", "WdNisSvc", "WdBoot", "WinDefend", "WdFilter", "MpHardCodedBlockHive"])
  func eachServiceIsThereWithoutAnyPolicy(service: String) {
    let name = system + #"\ControlSet001\Services\"# + service
    for operation in [
      create(name), delete(name), rename(name, "x"), touch(name), set(name, "Start"), set(name, "Start", nil),
      set(name, ""), deleteValue(name, "Start"), create(name + #"\Parameters"#), set(name + #"\Parameters\Deep"#, "x"),
    ] {
      let decision = decide(operation)
      #expect(decision.verdict == .deny, "\(operation)")
      #expect(decision.ruleIDs == ["hardened: \(service)"])
      #expect(decision.source == .builtIn)
    }
    #expect(decide(open(name)).verdict == .allow)
  }

  @Test(arguments: [
    "ControlSet001", "ControlSet002", "ControlSet999", "ControlSet1000", "CurrentControlSet", "CONTROLSET001",
    "controlset002", "currentcontrolset",
  ])
  func everyControlSetIsCovered(set name: String) {
    #expect(decide(set(system + "\\" + name + #"\Services\WinDefend"#, "Start")).reason == .hardened)
  }

  @Test(arguments: [
    "ControlSet", "ControlSet01", "ControlSet00x", "ControlSet001x", "XControlSet001", "CurrentControlSet1", "Selected",
  ])
  func whatIsNoControlSetIsNotCovered(set name: String) {
    #expect(decide(set(system + "\\" + name + #"\Services\WinDefend"#, "Start")).reason == .untouched)
  }

  @Test func theComponentIsTheBoundary() {
    let services = system + #"\ControlSet001\Services\"#
    for name in ["WdFilterX", "XWdFilter", "WdFilte", "WdFilter ", "WdFilter.", #"Acme\WdFilter"#] {
      #expect(decide(set(services + name, "Start")).reason == .untouched, "\(name)")
      #expect(decide(create(services + name)).reason == .untouched, "\(name)")
      #expect(decide(delete(services + name)).reason == .untouched, "\(name)")
    }
    #expect(decide(set(#"\REGISTRY\MACHINE\SOFTWARE\ControlSet001\Services\WdFilter"#, "x")).reason == .untouched)
  }

  @Test func caseMakesNoDifference() {
    for name in [winDefend.lowercased(), winDefend.uppercased(), winDefend] {
      #expect(decide(set(name, "Start")).reason == .hardened)
      #expect(decide(create(name)).reason == .hardened)
    }
  }

  @Test func aStringPrefixCoversWhatBeginsSo() throws {
    let rules = RuleSet(hardened: [try hardened(#"HKLM\SOFTWARE\Acme"#, .stringPrefix)])
    for name in [acme, acme + "X", acme.lowercased() + #"ME\Deep"#, acme + #"\Deep\Deeper"#] {
      #expect(decide(set(name, "v"), rules).reason == .hardened, "\(name)")
    }
    #expect(decide(set(#"\REGISTRY\MACHINE\SOFTWARE\Acm"#, "v"), rules).reason == .untouched)
    #expect(decide(set(#"\REGISTRY\MACHINE\SOFTWARE\XAcme"#, "v"), rules).reason == .untouched)
    #expect(decide(rename(#"\REGISTRY\MACHINE\SOFTWARE"#, "S2"), rules).reason == .hardenedBelow)

    let byComponent = RuleSet(hardened: [try hardened(#"HKLM\SOFTWARE\Acme"#)])
    #expect(decide(set(acme + "X", "v"), byComponent).reason == .untouched)
  }

  @Test func renameIsJudgedByEitherName() {
    let services = system + #"\ControlSet001\Services"#
    #expect(decide(rename(winDefend, "Harmless")).reason == .hardened)
    #expect(decide(rename(services + #"\Harmless"#, "windefend")).reason == .hardened)
    #expect(decide(rename(services + #"\Harmless"#, "WinDefendX")).reason == .untouched)
    #expect(decide(rename(winDefend + #"\Parameters"#, "P")).reason == .hardened)
  }

  @Test("4 row 1: an ancestor is renamed or deleted, or something is renamed onto an ancestor's name")
  func ancestorsAreCoveredInAStrictSubtree() {
    let controlSet = system + #"\ControlSet001"#
    for operation in [
      rename(controlSet + #"\Services"#, "Old"), rename(controlSet, "ControlSetOld"), delete(controlSet),
      delete(controlSet + #"\SERVICES"#), rename(controlSet + #"\Evil"#, "Services"),
      rename(system + #"\Evil"#, "ControlSet002"), rename(#"\REGISTRY\MACHINE\SYSTEM"#, "S"),
    ] {
      #expect(decide(operation).reason == .hardenedBelow, "\(operation)")
      #expect(decide(operation).verdict == .deny)
      #expect(decide(operation, RuleSet(subtree: .faithful)).reason == .untouched, "\(operation)")
    }
    // Beside the way, and changes of an ancestor that leave its name alone.
    for operation in [
      rename(controlSet + #"\Control"#, "C"), delete(controlSet + #"\Control"#), set(controlSet + #"\Services"#, "v"),
      create(controlSet + #"\Services\New"#), touch(controlSet + #"\Services"#), rename(system + #"\Setup"#, "S"),
    ] {
      #expect(decide(operation).reason == .untouched, "\(operation)")
    }
  }

  @Test func aPolicysKeyIsHardenedBesideTheList() throws {
    let rules = RuleSet(hardened: [try hardened(#"HKLM\SYSTEM\Select"#)])
    let decision = decide(set(system + #"\Select"#, "Current"), rules)
    #expect(decision.reason == .hardened)
    #expect(decision.ruleIDs == [#"hardened: HKLM\SYSTEM\Select"#])
    #expect(decision.source?.description == "test.yaml:5")
    #expect(decide(set(winDefend, "Start"), rules).reason == .hardened)
  }

  @Test("The policy's line is named where the policy repeats the list")
  func thePolicysEntryComesFirst() throws {
    let own = HardenedKey(
      pattern: try #require(KeyPattern(service: "WinDefend")), source: RuleSource(file: "test.yaml", line: 9))
    #expect(decide(set(winDefend, "Start"), RuleSet(hardened: [own])).source?.description == "test.yaml:9")
  }

  @Test(arguments: [
    (ProcessFlags.msMpEng, true), (.friendly, true), (.mpServiceSid, true), (.excluded, false), (.trusted, false),
    (.msSeces, false), (.svchost, false),
  ])
  func exemptFromHardening(flags: ProcessFlags, isExempt: Bool) {
    let rules = RuleSet(processes: [entry(uid: 1000, flags: flags)])
    for operation in [set(winDefend, "Start"), rename(system + #"\ControlSet001"#, "x")] {
      let decision = decide(operation, rules)
      #expect(decision.verdict == (isExempt ? .allow : .deny))
      #expect(decision.isExempt == isExempt)
    }
  }

  @Test func allowAllRegistryOperationsDoesNotReachTheHardeningList() {
    let rules = RuleSet(processes: [entry(uid: 1000, rules: .allowAllRegistryOperations)])
    #expect(decide(set(winDefend, "Start"), rules).verdict == .deny)
  }

  @Test func anUnknownCallerIsNeverExempt() {
    let rules = RuleSet(processes: [entry(uid: 0xFFFF_FFFF, flags: .friendly), entry(exe: "/**", flags: .friendly)])
    let decision = decide(set(winDefend, "Start"), rules, by: nil)
    #expect(decision.verdict == .deny)
    #expect(decision.explanation.contains("not known"))
  }

  @Test(arguments: [RuleMode.enforce, .audit, .off], [SubtreeMode.strict, .faithful])
  func theCanaryIsRefusedToEverybodyInEveryMode(mode: RuleMode, subtree: SubtreeMode) throws {
    let name = system + #"\ControlSet001\Services\MpHardCodedBlockHive"#
    let covering = try hardened(#"HKLM\SYSTEM\CurrentControlSet\Services"#)
    let rules = RuleSet(
      mode: mode, subtree: subtree, hardened: [covering], processes: [entry(uid: 1000, flags: .friendly)])
    #expect(decide(create(name), rules).verdict == .deny)
    #expect(decide(create(name), rules).reason == .canary)
  }

  @Test func auditRefusesNothingAndSaysSo() {
    let decision = decide(set(winDefend, "Start"), RuleSet(mode: .audit))
    #expect(decision.verdict == .allow)
    #expect(decision.isAudited)
    #expect(decision.reason == .hardened)
  }

  @Test func offAsksNobody() {
    let rules = RuleSet(mode: .off)
    #expect(decide(set(winDefend, "Start"), rules).reason == .untouched)
    #expect(decide(rename(system + #"\ControlSet001"#, "x"), rules).reason == .untouched)
  }

  @Test func theProcessIsLookedUpOnlyWhenARuleMatches() {
    var questions = 0
    let ask: () -> ProcessContext? = {
      questions += 1
      return nil
    }
    _ = RuleSet().decide(set(acme, "v"), process: ask)
    _ = RuleSet().decide(create(acme), process: ask)
    #expect(questions == 0)
    _ = RuleSet().decide(set(winDefend, "v"), process: ask)
    #expect(questions == 1)
  }
}
