import ConfigurationManager
import Executive
import ProcessTable
import Testing
import WdFilter

/// The rows that can be decided without a mount; each shows the way open in the driver's own check where it is.
@Suite("Ways round the driver (wdfilter.md 4)")
struct WaysRoundTests {
  private static let software = #"\REGISTRY\MACHINE\SOFTWARE"#
  private static let services = system + #"\ControlSet001\Services"#

  private func decide(
    _ operation: RegistryOperation, _ monitored: [MonitoredRule] = [], subtree: SubtreeMode = .strict,
    mode: RuleMode = .enforce, processes: [ProcessRule] = [], by caller: ProcessContext? = process()
  ) -> Decision {
    RuleSet(mode: mode, subtree: subtree, monitored: monitored, processes: processes).decide(operation) { caller }
  }

  private static let everyDenied: [RuleBits] = [
    .createDenied, .renameDenied, .deleteDenied, .setValueDenied, .replaceDenied, .restoreDenied,
    .tamperProtectionActive,
  ]

  // MARK: Rows 1 to 3

  @Test("4 row 1: rename of an ancestor, rename onto a protected name and onto an ancestor's name")
  func row1() {
    for operation in [
      rename(Self.services, "Old"), rename(system + #"\ControlSet001"#, "x"),
      rename(system + #"\Evil"#, "ControlSet001"),
    ] {
      #expect(decide(operation).reason == .hardenedBelow, "\(operation)")
      #expect(decide(operation, subtree: .faithful).reason == .untouched, "\(operation)")
    }
    let onto = rename(Self.services + #"\Evil"#, "WinDefend")
    for subtree in SubtreeMode.allCases { #expect(decide(onto, subtree: subtree).reason == .hardened) }
  }

  @Test("4 row 2: restore over a hardened key is refused by the driver too, over its ancestor only here")
  func row2HardenedBelow() {
    for subtree in SubtreeMode.allCases {
      #expect(decide(restore(winDefend), subtree: subtree).reason == .hardened)
      #expect(decide(restore(winDefend + #"\Parameters"#), subtree: subtree).reason == .hardened)
    }
    for name in [Self.services, system + #"\ControlSet001"#, system] {
      #expect(decide(restore(name)).reason == .hardenedBelow, "\(name)")
      #expect(decide(restore(name), subtree: .faithful).reason == .untouched, "\(name)")
    }
    #expect(decide(restore(Self.software)).reason == .untouched)
  }

  @Test("4 row 2: restore meets every Denied bit at and below the key, of keys and of values", arguments: everyDenied)
  func row2EveryBit(bit: RuleBits) throws {
    let key = #"HKLM\SOFTWARE\Acme"#
    let ofKey = [try rule(key, bit)]
    let ofValue = [try rule(key, [], values: [ValueRule(name: "v", rules: bit)])]
    for rules in [ofKey, ofValue] {
      #expect(decide(restore(Self.software), rules).reason == .deniedBelow)
      #expect(decide(restore(Self.software), rules, subtree: .faithful).reason == .untouched)
      #expect(decide(restore(acme), rules).verdict == .deny)
      #expect(decide(restore(acme + #"\Sub"#), rules).reason == .untouched)
      #expect(decide(restore(acme + "X"), rules).reason == .untouched)
    }
    let refusesInDriver = bit == .restoreDenied || bit == .tamperProtectionActive
    #expect((decide(restore(acme), ofKey, subtree: .faithful).verdict == .deny) == refusesInDriver)
    #expect(decide(restore(acme), ofValue, subtree: .faithful).verdict == .allow)
  }

  @Test("4 row 2: a ** may put a protected key below what is restored")
  func row2Floating() throws {
    let rules = [try rule(#"HKLM\SOFTWARE\**\Run"#, .setValueDenied)]
    #expect(decide(restore(acme), rules).reason == .deniedBelow)
    #expect(decide(restore(acme), rules, subtree: .faithful).reason == .untouched)
  }

  @Test("4 row 3: replace is judged at the hive's root: an unprotected sibling does not help", arguments: everyDenied)
  func row3(bit: RuleBits) throws {
    #expect(decide(replace(system)).reason == .hardenedBelow)
    #expect(decide(replace(system), subtree: .faithful).reason == .untouched)
    let rules = [try rule(#"HKLM\SOFTWARE\Acme\Deep"#, [], values: [ValueRule(name: nil, rules: bit)])]
    #expect(decide(replace(Self.software), rules).reason == .deniedBelow)
    #expect(decide(replace(Self.software), rules, subtree: .faithful).reason == .untouched)
    let atRoot = [try rule(#"HKLM\SOFTWARE"#, bit)]
    #expect(decide(replace(Self.software), atRoot).verdict == .deny)
    let refusesInDriver = bit == .replaceDenied || bit == .tamperProtectionActive
    #expect((decide(replace(Self.software), atRoot, subtree: .faithful).verdict == .deny) == refusesInDriver)
  }

  // MARK: Row 4

  @Test("4 row 4: a hive is loaded where a rule lives, or above one")
  func row4Load() throws {
    #expect(decide(load(system)).reason == .hardenedBelow)
    #expect(decide(load(winDefend)).reason == .hardened)
    #expect(decide(load(#"\REGISTRY\MACHINE\Free"#)).reason == .untouched)
    // Only rows 1 to 3 are narrower in a faithful subtree: the driver has no check here that could be restored.
    #expect(decide(load(system), subtree: .faithful).reason == .hardenedBelow)
    #expect(decide(load(winDefend), subtree: .faithful).reason == .hardened)
    for bit in Self.everyDenied {
      let at = [try rule(#"HKLM\SOFTWARE"#, bit)]
      let counts = [.createDenied, .setValueDenied, .tamperProtectionActive].contains(bit)
      #expect((decide(load(Self.software), at).verdict == .deny) == counts, "\(bit.names)")
      let below = [try rule(#"HKLM\SOFTWARE\Acme"#, bit)]
      #expect(decide(load(Self.software), below).reason == .deniedBelow, "\(bit.names)")
      #expect(decide(load(Self.software), below, subtree: .faithful).reason == .deniedBelow)
    }
  }

  @Test("4 row 4: unload takes the rules' keys away like a delete")
  func row4Unload() throws {
    #expect(decide(unload(system)).reason == .hardenedBelow)
    #expect(decide(unload(#"\REGISTRY\MACHINE\Free"#)).reason == .untouched)
    #expect(decide(unload(system), subtree: .faithful).reason == .hardenedBelow)
    for bit in Self.everyDenied {
      let at = [try rule(#"HKLM\SOFTWARE"#, bit)]
      // In a key's list SetValueDenied speaks of its values, and they go too.
      let counts = [.deleteDenied, .setValueDenied, .tamperProtectionActive].contains(bit)
      #expect((decide(unload(Self.software), at).verdict == .deny) == counts, "\(bit.names)")
      #expect(decide(unload(Self.software), [try rule(#"HKLM\SOFTWARE\Acme"#, bit)]).reason == .deniedBelow)
    }
  }

  // MARK: Row 5

  @Test("4 row 5: a link is put where a protected key will be, or an ancestor of one")
  func row5LinkAbove() throws {
    #expect(decide(createLink(winDefend)).reason == .hardened)
    #expect(decide(createLink(Self.services)).reason == .hardenedBelow)
    #expect(decide(createLink(system + #"\ControlSet002"#)).reason == .hardenedBelow)
    #expect(decide(create(Self.services)).reason == .untouched)
    #expect(decide(createLink(Self.services), subtree: .faithful).reason == .hardenedBelow)
    #expect(decide(createLink(system + #"\Setup"#)).reason == .untouched)
    let rules = [try rule(#"HKLM\SOFTWARE\Acme\Deep"#, [], values: [ValueRule(name: "v", rules: .setValueDenied)])]
    #expect(decide(createLink(acme), rules).reason == .deniedBelow)
    #expect(decide(createLink(acme + #"\Deep"#), rules).reason == .deniedBelow)
    #expect(decide(create(acme), rules).reason == .untouched)
  }

  @Test("4 row 5: a link's target is a value of the link, and moves what is protected below its name")
  func row5LinkTarget() throws {
    for operation in [
      set(Self.services, "SymbolicLinkValue"), set(Self.services, "symboliclinkvalue", nil),
      deleteValue(Self.services, "SymbolicLinkValue"),
    ] {
      #expect(decide(operation).reason == .hardenedBelow, "\(operation)")
      #expect(decide(operation, subtree: .faithful).reason == .hardenedBelow)
    }
    #expect(decide(set(Self.services, "SymbolicLinkValu")).reason == .untouched)
    #expect(decide(set(Self.services, "SymbolicLinkValueX")).reason == .untouched)
    #expect(decide(set(Self.services + #"\Tcpip"#, "SymbolicLinkValue")).reason == .untouched)
    #expect(decide(set(winDefend, "SymbolicLinkValue")).reason == .hardened)
    let rules = [try rule(acmeKey, [], values: [ValueRule(name: "SymbolicLinkValue", rules: .setValueDenied)])]
    #expect(decide(set(acme, "SymbolicLinkValue"), rules, subtree: .faithful).reason == .denied)
  }

  private let acmeKey = #"HKLM\SOFTWARE\Acme"#

  // MARK: Rows 6 to 13

  @Test("4 row 6: Select of every SYSTEM hive is hardened, every control set is one", arguments: [
    "ControlSet001", "ControlSet002", "CurrentControlSet",
  ])
  func row6(controlSet: String) {
    let select = system + #"\Select"#
    for operation in [
      set(select, "Current"), set(select, "Default"), deleteValue(select, "LastKnownGood"), delete(select),
      rename(select, "x"), rename(system + #"\Evil"#, "select"), secure(select), restore(select), createLink(select),
    ] {
      let decision = decide(operation)
      #expect(decision.verdict == .deny, "\(operation)")
      #expect(decision.ruleIDs == [#"hardened: HKLM\SYSTEM\Select"#])
    }
    #expect(decide(set(select, "Current"), subtree: .faithful).reason == .hardened)
    for subtree in SubtreeMode.allCases {
      let name = system + "\\\(controlSet)\\Services\\WinDefend"
      #expect(decide(set(name, "Start"), subtree: subtree).reason == .hardened)
    }
  }

  @Test("4 row 8: security first, then edit: judged as SetValueDenied or DeleteDenied", arguments: everyDenied)
  func row8(bit: RuleBits) throws {
    for subtree in SubtreeMode.allCases {
      #expect(decide(secure(winDefend), subtree: subtree).reason == .hardened)
      #expect(decide(secure(winDefend + #"\Parameters"#), subtree: subtree).reason == .hardened)
      #expect(decide(secure(Self.services), subtree: subtree).reason == .untouched)
      let ofKey = [try rule(acmeKey, bit)]
      let keyCounts = [.setValueDenied, .deleteDenied, .tamperProtectionActive].contains(bit)
      #expect((decide(secure(acme), ofKey, subtree: subtree).verdict == .deny) == keyCounts, "\(bit.names)")
      #expect(decide(secure(acme + #"\Sub"#), ofKey, subtree: subtree).reason == .untouched)
      for name in ["v", nil] {
        let ofValue = [try rule(acmeKey, [], values: [ValueRule(name: name, rules: bit)])]
        let valueCounts = [.setValueDenied, .tamperProtectionActive].contains(bit)
        #expect((decide(secure(acme), ofValue, subtree: subtree).verdict == .deny) == valueCounts, "\(bit.names)")
      }
    }
  }

  @Test("4 row 8: of a value's entry only the bits that are asked for reach the key")
  func row8OnlyTheBitsAskedFor() throws {
    let both = [
      try rule("value", acmeKey, [], values: [ValueRule(name: "v", rules: [.setValueDenied, .deleteDenied])]),
      try rule("other", #"HKLM\SOFTWARE\Other"#, [], values: [ValueRule(name: "v", rules: .deleteDenied)]),
    ]
    #expect(decide(secure(acme), both).matchedRules == .setValueDenied)
    #expect(decide(secure(#"\REGISTRY\MACHINE\SOFTWARE\Other"#), both).reason == .untouched)
  }

  @Test("4 row 9: case, embedded NUL, trailing dots and blanks make other names or the same one")
  func row9() throws {
    let rules = [try rule(acmeKey, .createDenied)]
    #expect(decide(create(acme.lowercased()), rules).verdict == .deny)
    for odd in ["\0", ".", " ", "\u{200B}"] { #expect(decide(create(acme + odd), rules).reason == .untouched) }
  }

  @Test("4 row 10: the component is the boundary for every class")
  func row10() {
    for operation in [
      set(winDefend + "X", "v"), create(winDefend + "X"), restore(winDefend + "X"), secure(winDefend + "X"),
      load(winDefend + "X"), delete(winDefend + "X"), rename(winDefend + "X", "WinDefendY"),
    ] {
      #expect(decide(operation).reason == .untouched, "\(operation)")
    }
    #expect(decide(open(winDefend)).reason == .untouched)
  }

  @Test("4 row 11: no exemption without a known process, in any class")
  func row11() {
    let processes = [entry(uid: 1000, flags: .friendly), entry(exe: "/**", flags: .friendly)]
    for operation in [
      set(winDefend, "v"), create(winDefend), delete(winDefend), rename(Self.services, "x"), restore(system),
      replace(system), load(system), unload(system), secure(winDefend), touch(winDefend), createLink(Self.services),
    ] {
      #expect(decide(operation, processes: processes, by: nil).verdict == .deny, "\(operation)")
      #expect(decide(operation, processes: processes).isExempt, "\(operation)")
      #expect(decide(operation, mode: .audit).isAudited, "\(operation)")
      #expect(decide(operation, mode: .off).reason != .denied)
    }
  }

  @Test("4 row 13: hardening and rules are a union: a policy cannot shorten the list")
  func row13() throws {
    #expect(decide(set(winDefend, "v"), [try rule(#"HKLM\**"#, .createKeyOperation)]).reason == .hardened)
    #expect(RuleSet(hardened: []).hardened.count == 7)
    #expect(RuleSet(subtree: .faithful).hardened.count == 7)
  }
}

@Suite("Rule bits and process words, row by row (wdfilter.md 3.1, 3.2, 3.3)")
struct RuleTableTests {
  private static let key = #"HKLM\SOFTWARE\Acme"#

  private typealias Row = (name: String, operation: RegistryOperation, watch: RuleBits, denied: RuleBits)

  private static let keyOperations: [Row] = [
    ("create", create(acme), .createKeyOperation, .createDenied),
    ("rename", rename(acme, "x"), .renameKeyOperation, .renameDenied),
    ("delete key", delete(acme), .deleteKeyOperation, .deleteDenied),
    ("restore", restore(acme), .restoreKeyOperation, .restoreDenied),
    ("replace", replace(acme), .replaceKeyOperation, .replaceDenied),
  ]

  private func decide(_ operation: RegistryOperation, _ rules: [MonitoredRule], _ subtree: SubtreeMode = .faithful)
    -> Decision
  { RuleSet(subtree: subtree, monitored: rules).decide(operation) { process() } }

  @Test("3.1: restore and replace are watched and denied by their own bits", arguments: 0..<5)
  func ownBits(row: Int) throws {
    let (name, operation, watch, denied) = Self.keyOperations[row]
    let watched = decide(operation, [try rule(Self.key, watch)])
    #expect(watched.reason == .watched && watched.finalKeyRules == watch, "\(name)")
    let refused = decide(operation, [try rule(Self.key, [watch, denied])])
    #expect(refused.reason == .denied && refused.finalKeyRules == [watch, denied], "\(name)")
    for (index, other) in Self.keyOperations.enumerated() where index != row {
      #expect(decide(other.operation, [try rule(Self.key, denied)]).reason == .untouched, "\(name) \(other.name)")
    }
  }

  @Test("3.1: 0x37C015 on a key watches and denies create, rename, delete, restore and replace", arguments: 0..<5)
  func word37C015(row: Int) throws {
    let decision = decide(Self.keyOperations[row].operation, [try rule(Self.key, RuleBits(rawValue: 0x37C015))])
    #expect(decision.reason == .denied)
    #expect(decision.finalKeyRules == [Self.keyOperations[row].watch, Self.keyOperations[row].denied])
    #expect(decision.matchedRules.rawValue == 0x37C015)
    #expect(decide(set(acme, "v"), [try rule(Self.key, RuleBits(rawValue: 0x37C015))]).reason == .untouched)
  }

  @Test("3.1: 0xC2D00 on a value watches and denies set and delete, with the old data")
  func wordC2D00() throws {
    let rules = [try rule(Self.key, [], values: [ValueRule(name: "v", rules: RuleBits(rawValue: 0xC2D00))])]
    let flags: [(RegistryOperation, UInt32)] = [(set(acme, "v"), 0x80100), (deleteValue(acme, "v"), 0x40800)]
    for (operation, flag) in flags {
      let decision = decide(operation, rules)
      #expect(decision.reason == .denied)
      #expect(decision.finalKeyRules.rawValue == flag)
      #expect(decision.retrievesOldValue)
    }
    #expect(decide(set(acme, "w"), rules).reason == .untouched)
  }

  @Test("3.1: 0x2D00 on any value watches with the old data and denies nothing")
  func word2D00() throws {
    let rules = [try rule(Self.key, [], values: [ValueRule(name: nil, rules: RuleBits(rawValue: 0x2D00))])]
    for operation in [set(acme, "v"), set(acme, ""), deleteValue(acme, "v")] {
      let decision = decide(operation, rules, .strict)
      #expect(decision.reason == .watched && decision.retrievesOldValue)
    }
  }

  @Test("3.1: TamperProtectionActive denies every process without exception and gives its hash back")
  func tamperProtectionActive() throws {
    let hash = try #require(RuleHash(hexadecimal: "000102030405060708090a0b0c0d0e0f"))
    let rules = RuleSet(
      monitored: [
        MonitoredRule(
          id: "t", key: try KeyPattern(Self.key), rules: .tamperProtectionActive, hash: hash, source: .builtIn)
      ],
      processes: [
        entry(uid: 1000, flags: [.friendly, .msMpEng, .mpServiceSid, .excluded], rules: .allowAllRegistryOperations)
      ])
    for operation in [
      create(acme), createLink(acme), rename(acme, "x"), rename(acme + "2", "Acme"), delete(acme), set(acme, "v"),
      deleteValue(acme, "v"), restore(acme), replace(acme), load(acme), unload(acme), secure(acme), touch(acme),
    ] {
      let decision = rules.decide(operation) { process() }
      #expect(decision.verdict == .deny && decision.reason == .tamperProtection, "\(operation)")
      #expect(decision.hashes == [hash])
    }
  }

  @Test("3.1: unknown bits are kept as read, without effect", arguments: [
    0x80_0000, 0x100_0000, 0x180_0000,
  ] as [UInt32])
  func unknownBits(word: UInt32) throws {
    let bits = RuleBits(rawValue: word)
    let rules = [try rule(Self.key, bits, values: [ValueRule(name: nil, rules: bits)])]
    for operation in [create(acme), set(acme, "v"), delete(acme), restore(acme), rename(acme, "x"), secure(acme)] {
      #expect(decide(operation, rules, .strict).reason == .untouched)
    }
    let mixed = decide(create(acme), [try rule(Self.key, [bits, .createKeyOperation])])
    #expect(mixed.matchedRules == [bits, .createKeyOperation])
    #expect(mixed.finalKeyRules == .createKeyOperation)
  }

  @Test("3.2: flags and rules against the hardening list and the Denied bits", arguments: [
    ("Excluded", 0x1, 0, false, true), ("MsMpEng", 0x8, 0, true, false), ("MpServiceSid", 0x10, 0, true, true),
    ("Friendly", 0x20, 0, true, true), ("Trusted", 0x40, 0, false, false), ("MsSeces", 0x80, 0, false, false),
    ("Svchost", 0x100, 0, false, false), ("ImageWow64cpuLoaded", 0x200, 0, false, false),
    ("ThreadNotifyRoutineExSet", 0x400, 0, false, false), ("ProcessExplorer", 0x800, 0, false, false),
    ("AllowAllRegistryOperations", 0, 0x400, false, true), ("NotifyRegistryOperationSync", 0, 0x200000, false, false),
    ("NotifyProcessCmdLine", 0, 0x2000_0000, false, false), ("unknown bits", 0x8000_0000, 0x8000_0000, false, false),
  ] as [(String, UInt32, UInt32, Bool, Bool)])
  func processWords(name: String, flags: UInt32, rules: UInt32, fromHardening: Bool, fromDenied: Bool) throws {
    let set = RuleSet(
      monitored: [try rule(Self.key, .anyDenied.subtracting(.tamperProtectionActive))],
      processes: [entry(uid: 1000, flags: ProcessFlags(rawValue: flags), rules: ProcessRules(rawValue: rules))])
    for operation in [WdFilterTests.set(winDefend, "v"), restore(winDefend), secure(winDefend), load(system)] {
      #expect((set.decide(operation) { process() }.verdict == .allow) == fromHardening, "\(name) \(operation)")
    }
    for operation in [create(acme), delete(acme), restore(acme), replace(acme), load(acme), secure(acme)] {
      #expect((set.decide(operation) { process() }.verdict == .allow) == fromDenied, "\(name) \(operation)")
    }
  }

  @Test("3.3: KeysToSkip 3 is three components, no more and no fewer")
  func skipThree() throws {
    let rules = [try rule(#"HKU\*\*\*\Run"#, .createDenied)]
    let user = #"\REGISTRY\USER"#
    #expect(decide(create(user + #"\a\b\c\Run"#), rules).verdict == .deny)
    for name in [#"\a\b\Run"#, #"\a\b\c\d\Run"#, #"\Run"#, #"\a\b\c\Run\x"#] {
      #expect(decide(create(user + name), rules).reason == .untouched, "\(name)")
    }
  }
}
