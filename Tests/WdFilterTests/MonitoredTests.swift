import ConfigurationManager
import Executive
import ProcessTable
import Testing
import WdFilter

@Suite("Monitored keys (wdfilter.md 3, 3.1, 3.3)")
struct MonitoredTests {
  private func decide(
    _ operation: RegistryOperation, _ monitored: [MonitoredRule], by caller: ProcessContext? = process(),
    subtree: SubtreeMode = .strict, mode: RuleMode = .enforce, processes: [ProcessRule] = []
  ) -> Decision {
    RuleSet(mode: mode, subtree: subtree, monitored: monitored, processes: processes).decide(operation) { caller }
  }

  private static let acmeKey = #"HKLM\SOFTWARE\Acme"#

  /// Each operation with its Operation bit, its Denied bit, and where they stand.
  private static let rows: [(RegistryOperation, RuleBits, RuleBits, ofValue: Bool)] = [
    (create(acme), .createKeyOperation, .createDenied, false),
    (rename(acme, "x"), .renameKeyOperation, .renameDenied, false),
    (delete(acme), .deleteKeyOperation, .deleteDenied, false),
    (set(acme, "v"), .setValueKeyOperation, .setValueDenied, true),
    (deleteValue(acme, "v"), .deleteValueKeyOperation, .deleteDenied, true),
  ]

  private func monitored(_ bits: RuleBits, ofValue: Bool) throws -> [MonitoredRule] {
    ofValue
      ? [try rule(Self.acmeKey, [], values: [ValueRule(name: "v", rules: bits)])]
      : [try rule(Self.acmeKey, bits)]
  }

  @Test(arguments: 0..<5)
  func theOperationBitWatches(row: Int) throws {
    let (operation, watch, _, ofValue) = Self.rows[row]
    let decision = decide(operation, try monitored(watch, ofValue: ofValue))
    #expect(decision.verdict == .allow)
    #expect(decision.reason == .watched)
    #expect(decision.finalKeyRules == watch)
  }

  @Test(arguments: 0..<5)
  func theDeniedBitRefusesOnlyItsOwnOperation(row: Int) throws {
    let (operation, watch, denied, ofValue) = Self.rows[row]
    let rules = try monitored([watch, denied, .setValueRetrieveKeyValueInfo], ofValue: ofValue)
    let decision = decide(operation, rules, subtree: .faithful)
    #expect(decision.verdict == .deny)
    #expect(decision.reason == .denied)
    #expect(decision.finalKeyRules == [watch, denied])
    #expect(decision.matchedRules.contains(.setValueRetrieveKeyValueInfo))
    for (index, other) in Self.rows.enumerated() where index != row {
      let expected = other.2 == denied && other.ofValue == ofValue
      #expect((decide(other.0, rules, subtree: .faithful).verdict == .deny) == expected, "\(other.0)")
    }
  }

  @Test("One bit, two permissions: DeleteDenied in a key's list is about the key, in a value's list about the value")
  func deleteDeniedOfKeyAndOfValue() throws {
    let ofKey = [try rule(Self.acmeKey, .deleteDenied)]
    #expect(decide(deleteValue(acme, "v"), ofKey).reason == .untouched)
    #expect(decide(delete(acme), ofKey).reason == .denied)
    let ofValue = [try rule(Self.acmeKey, [], values: [ValueRule(name: "v", rules: .deleteDenied)])]
    #expect(decide(deleteValue(acme, "v"), ofValue).reason == .denied)
    #expect(decide(delete(acme), ofValue, subtree: .faithful).reason == .untouched)
    // Strict: a key's delete takes the value with it.
    #expect(decide(delete(acme), ofValue).reason == .deniedBelow)
  }

  @Test func aValueEntryWithoutANameMeansAnyValueAlsoTheDefault() throws {
    let rules = [try rule(Self.acmeKey, [], values: [ValueRule(name: nil, rules: RuleBits(rawValue: 0x2D00))])]
    for name in ["v", "", "anything"] { #expect(decide(set(acme, name), rules).reason == .watched) }
    #expect(decide(set(acme, "v"), rules).retrievesOldValue)
    #expect(decide(deleteValue(acme, "v"), rules).retrievesOldValue)
    #expect(decide(set(acme + #"\Sub"#, "v"), rules).reason == .untouched)
  }

  @Test func aNamedValueMatchesWithoutRegardToCaseAndNothingElse() throws {
    let rules = [try rule(Self.acmeKey, [], values: [ValueRule(name: "Start", rules: .setValueDenied)])]
    #expect(decide(set(acme, "sTART"), rules).verdict == .deny)
    #expect(decide(set(acme, "Star"), rules).reason == .untouched)
    #expect(decide(set(acme, "Start2"), rules).reason == .untouched)
    #expect(decide(set(acme, ""), rules).reason == .untouched)
    let ofDefault = [try rule(Self.acmeKey, [], values: [ValueRule(name: "", rules: .setValueDenied)])]
    #expect(decide(set(acme, ""), ofDefault).verdict == .deny)
    #expect(decide(set(acme, "x"), ofDefault).reason == .untouched)
  }

  @Test("A key's own list may hold the bits about values: they mean any value")
  func valueBitsInAKeysListMeanAnyValue() throws {
    let rules = [try rule(Self.acmeKey, [.setValueKeyOperation, .setValueDenied])]
    #expect(decide(set(acme, "v"), rules).reason == .denied)
    #expect(decide(deleteValue(acme, "v"), rules).reason == .untouched)
  }

  @Test func allMatchingEntriesCount() throws {
    let rules = [
      try rule("a", #"HKLM\SOFTWARE\*"#, .createKeyOperation), try rule("b", #"HKLM\**"#, .createDenied),
      try rule("c", Self.acmeKey, .createKeyOperation), try rule("d", #"HKLM\SOFTWARE\Other"#, .createKeyOperation),
    ]
    let decision = decide(create(acme), rules)
    #expect(decision.matchedRules == [.createKeyOperation, .createDenied])
    #expect(decision.ruleIDs.first == "b")
    #expect(Set(decision.ruleIDs) == ["a", "b", "c"])
    #expect(decision.hashes.count == 3)
  }

  @Test func onlyTheWholeNameMatches() throws {
    let rules = [try rule(#"HKU\*\Software\Run"#, .createDenied)]
    let user = #"\REGISTRY\USER\S-1-5-21"#
    #expect(decide(create(user + #"\Software\Run"#), rules).verdict == .deny)
    for name in [
      user + #"\Software"#, user + #"\Software\Run\Sub"#, #"\REGISTRY\USER\Software\Run"#,
      user + #"\X\Software\Run"#,
    ] {
      #expect(decide(create(name), rules).reason == .untouched, "\(name)")
    }
  }

  @Test func anyNumberIsAlsoNone() throws {
    let rules = [try rule(#"HKLM\SOFTWARE\Acme\**"#, .createDenied)]
    #expect(decide(create(acme), rules).verdict == .deny)
    #expect(decide(create(acme + #"\A\B\C"#), rules).verdict == .deny)
    #expect(decide(create(acme + "X"), rules).reason == .untouched)
  }

  @Test func currentControlSetMeansEveryOne() throws {
    let rules = [try rule(#"HKLM\System\CurrentControlSet\Control\Lsa"#, .createDenied)]
    for name in ["ControlSet001", "controlset002", "CurrentControlSet"] {
      #expect(decide(create(system + "\\\(name)\\Control\\LSA"), rules).verdict == .deny)
    }
    #expect(decide(create(system + #"\Other\Control\Lsa"#), rules).reason == .untouched)
  }

  @Test func hkcrIsSoftwareClasses() throws {
    let rules = [try rule(#"HKCR\exefile"#, .createDenied)]
    #expect(decide(create(#"\REGISTRY\MACHINE\SOFTWARE\Classes\ExeFile"#), rules).verdict == .deny)
  }

  @Test("Rename denies when either name matches, and ORs the rules")
  func renameMatchesEitherName() throws {
    let rules = [try rule("a", Self.acmeKey, .renameDenied), try rule("b", Self.acmeKey + "2", .renameKeyOperation)]
    for subtree in SubtreeMode.allCases {
      let away = decide(rename(acme, "Acme2"), rules, subtree: subtree)
      #expect(away.verdict == .deny)
      #expect(away.finalKeyRules == [.renameDenied, .renameKeyOperation])
      #expect(decide(rename(acme + "2", "ACME"), rules, subtree: subtree).verdict == .deny)
      #expect(decide(rename(acme + "2", "Acme3"), rules, subtree: subtree).reason == .watched)
      #expect(decide(rename(acme + "3", "Acme4"), rules, subtree: subtree).reason == .untouched)
    }
  }

  @Test("4 row 1: rename is a delete of the old name and a create of the new one")
  func renameGoesRoundNeitherDeleteNorCreate() throws {
    let ofDelete = [try rule(Self.acmeKey, .deleteDenied)]
    #expect(decide(rename(acme, "x"), ofDelete).reason == .denied)
    #expect(decide(rename(acme + "2", "Acme"), ofDelete).reason != .denied)
    let ofCreate = [try rule(Self.acmeKey, .createDenied)]
    #expect(decide(rename(acme + "2", "Acme"), ofCreate).reason == .denied)
    let named = [try rule("own", Self.acmeKey, [.createDenied, .renameKeyOperation])]
    #expect(decide(rename(acme, "x"), named).reason == .watched)
    for rules in [ofDelete, ofCreate] {
      #expect(decide(rename(acme, "x"), rules, subtree: .faithful).reason == .untouched)
    }
  }

  @Test("A refused rename names the rule that refuses, not one whose bit is about the other name")
  func renameNamesWhoRefuses() throws {
    let rules = [
      try rule("old", Self.acmeKey, [.createDenied, .renameKeyOperation]), try rule("new", Self.acmeKey + "2", .createDenied),
    ]
    let decision = decide(rename(acme, "Acme2"), rules)
    #expect(decision.reason == .denied)
    #expect(decision.ruleIDs == ["new", "old"])
  }

  @Test("4 row 1: a denied key or value below")
  func ancestorsOfDeniedKeysAreCovered() throws {
    let rules = [try rule(Self.acmeKey + #"\A\B"#, [], values: [ValueRule(name: "v", rules: .setValueDenied)])]
    for operation in [
      rename(acme, "x"), rename(acme + #"\A"#, "x"), rename(acme + #"\A\B"#, "x"), delete(acme + #"\A"#),
      rename(#"\REGISTRY\MACHINE\SOFTWARE\Evil"#, "acme"),
    ] {
      #expect(decide(operation, rules).reason == .deniedBelow, "\(operation)")
      #expect(decide(operation, rules, subtree: .faithful).reason == .untouched)
    }
    #expect(decide(rename(acme + #"\A\C"#, "x"), rules).reason == .untouched)
    let watched = [try rule(Self.acmeKey + #"\A"#, [.deleteKeyOperation, .renameKeyOperation])]
    #expect(decide(rename(acme, "x"), watched).reason == .untouched)
  }

  @Test("A ** may put a rule below any key: a rename is refused, the delete of an empty key is not")
  func floatingRulesBelow() throws {
    let rules = [try rule(#"HKLM\SOFTWARE\**\Run"#, .createDenied)]
    #expect(decide(rename(acme, "x"), rules).reason == .deniedBelow)
    #expect(decide(delete(acme), rules).reason == .untouched)
    #expect(decide(delete(#"\REGISTRY\MACHINE\SOFTWARE"#), rules).reason == .deniedBelow)
  }

  @Test("A ** at the end goes on below every key that it matches")
  func aLastAnyNumberIsBelowItself() throws {
    let rules = [try rule(#"HKLM\SOFTWARE\**"#, .deleteDenied)]
    for name in [#"\REGISTRY\MACHINE\SOFTWARE"#, acme, acme + #"\A\B"#] {
      #expect(decide(createLink(name), rules).reason == .deniedBelow, "\(name)")
      #expect(decide(load(name), rules).reason == .deniedBelow, "\(name)")
      #expect(decide(create(name), rules).reason == .untouched, "\(name)")
    }
    // Only keys that a rule names keep an empty key from being deleted.
    #expect(decide(delete(acme), [try rule(#"HKLM\SOFTWARE\**"#, .createDenied)]).reason == .untouched)
  }

  @Test(arguments: [
    (ProcessFlags.excluded, true), (.friendly, true), (.mpServiceSid, true), (.msMpEng, false), (.trusted, false),
  ])
  func exemptFromDeniedBits(flags: ProcessFlags, isExempt: Bool) throws {
    let rules = [try rule(Self.acmeKey, .createDenied)]
    let decision = decide(create(acme), rules, processes: [entry(uid: 1000, flags: flags)])
    #expect((decision.verdict == .allow) == isExempt)
    #expect(decision.isExempt == isExempt)
    #expect(decision.reason == .denied)
  }

  @Test func allowAllRegistryOperationsExempts() throws {
    let rules = [try rule(Self.acmeKey, .createDenied)]
    let processes = [entry(uid: 1000, rules: .allowAllRegistryOperations)]
    #expect(decide(create(acme), rules, processes: processes).isExempt)
    #expect(decide(create(acme), rules, by: nil, processes: processes).verdict == .deny)
  }

  @Test func tamperProtectionActiveRefusesEverybody() throws {
    let rules = [try rule(Self.acmeKey, .tamperProtectionActive)]
    let processes = [entry(uid: 1000, flags: .friendly, rules: .allowAllRegistryOperations)]
    for operation in [create(acme), delete(acme), rename(acme, "x"), set(acme, "v"), deleteValue(acme, "v")] {
      #expect(decide(operation, rules, processes: processes).reason == .tamperProtection, "\(operation)")
      #expect(decide(operation, rules, processes: processes).verdict == .deny)
    }
    #expect(decide(open(acme), rules).reason == .untouched)
  }

  @Test("An exempt process may move an ancestor too, but not one of a key with TamperProtectionActive")
  func exemptionsReachTheAncestors() throws {
    let processes = [entry(uid: 1000, flags: .friendly)]
    let denied = [try rule(Self.acmeKey, .createDenied)]
    let software = #"\REGISTRY\MACHINE\SOFTWARE"#
    #expect(decide(rename(software, "x"), denied, processes: processes).isExempt)
    #expect(decide(rename(software, "x"), denied).verdict == .deny)
    #expect(decide(rename(software, "x"), denied, mode: .audit).isAudited)
    let tamper = [try rule(Self.acmeKey, .tamperProtectionActive)]
    #expect(decide(rename(software, "x"), tamper, processes: processes).verdict == .deny)
    // Nor where a rule that it is exempt from comes first.
    for mode in [RuleMode.enforce, .audit] {
      let both = decide(rename(software, "x"), denied + tamper, mode: mode, processes: processes)
      #expect(!both.isExempt && both.isAudited == (mode == .audit))
    }
  }

  @Test func aRuleMayBeInAuditModeAlone() throws {
    let rules = [
      try rule("audited", Self.acmeKey, .createDenied, mode: .audit),
      try rule("off", Self.acmeKey, .deleteDenied, mode: .off),
    ]
    let decision = decide(create(acme), rules)
    #expect(decision.verdict == .allow)
    #expect(decision.isAudited)
    #expect(decide(delete(acme), rules).reason != .denied)
    let both = rules + [try rule("enforced", Self.acmeKey, .createDenied)]
    #expect(decide(create(acme), both).verdict == .deny)
    #expect(decide(create(acme), both).ruleIDs.first == "enforced")
    // Audit for all is stronger than a rule's own mode: nothing is refused.
    #expect(decide(create(acme), both, mode: .audit).verdict == .allow)
  }

  @Test func everyHashComesBack() throws {
    let own = try #require(RuleHash(hexadecimal: "6f1ed002ab5595859014ebf0951522d9"))
    #expect(own.hexadecimal == "6f1ed002ab5595859014ebf0951522d9")
    #expect(RuleHash(hexadecimal: "6f1ed002ab5595859014ebf0951522d") == nil)
    #expect(RuleHash(hexadecimal: "zz1ed002ab5595859014ebf0951522d9") == nil)
    let named = MonitoredRule(
      id: "r", key: try KeyPattern(Self.acmeKey), rules: .createDenied, hash: own, source: .builtIn)
    #expect(decide(create(acme), [named]).hashes == [own])
    let derived = decide(create(acme), [try rule("r", Self.acmeKey, .createDenied)]).hashes
    #expect(derived == decide(create(acme), [try rule("r", Self.acmeKey, .createDenied, line: 99)]).hashes)
    #expect(derived != decide(create(acme), [try rule("r2", Self.acmeKey, .createDenied)]).hashes)
  }

  @Test func interestsFollowTheRules() throws {
    let hardening = FilteredClass.interestMask & ~(NotifyClass.preRestoreKey.bit | NotifyClass.postRestoreKey.bit
      | NotifyClass.preReplaceKey.bit | NotifyClass.postReplaceKey.bit)
    #expect(RuleSet().interests & hardening == hardening)
    #expect(RuleSet().interests & NotifyClass.preOpenKeyEx.bit == 0)
    #expect(RuleSet().interests & NotifyClass.preQueryValueKey.bit == 0)
    let ofHives = NotifyClass.preLoadKey.bit | NotifyClass.preUnLoadKey.bit
    #expect(RuleSet().interests & ofHives == ofHives)
    #expect(RuleSet(subtree: .faithful).interests & ofHives == ofHives)
    #expect(RuleSet(subtree: .faithful).interests & NotifyClass.preSetKeySecurity.bit != 0)
  }
}
