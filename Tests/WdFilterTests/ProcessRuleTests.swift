import ConfigurationManager
import ProcessTable
import Testing
import WdFilter

@Suite("Process entries and exclusions (policy.md, wdfilter.md 3.2)")
struct ProcessRuleTests {
  /// What comes of a create that is refused to everybody who is not exempt.
  private func create(
    by caller: ProcessContext?, _ processes: [ProcessRule] = [], excluded: [String] = []
  ) throws -> Decision {
    let exclusions = excluded.compactMap { text in
      ExecutablePattern(text).map { ExcludedExecutable(pattern: $0, source: RuleSource(file: "test.yaml", line: 8)) }
    }
    let rules = RuleSet(
      monitored: [try rule(#"HKLM\SOFTWARE\Acme"#, .createDenied)], processes: processes, exclusions: exclusions)
    return rules.decide(WdFilterTests.create(acme)) { caller }
  }

  @Test func everythingNamedMustHold() throws {
    let both = [entry(exe: "/usr/bin/agent", uid: 1000, gid: 1000, flags: .friendly)]
    #expect(try create(by: process(), both).isExempt)
    #expect(try !create(by: process("/usr/bin/agent2"), both).isExempt)
    #expect(try !create(by: process(uid: 0), both).isExempt)
    #expect(try !create(by: process(gid: 0), both).isExempt)
  }

  @Test func theFirstEntryOfEachKindCounts() throws {
    let entries = [
      entry("rules", uid: 1000, rules: []), entry("flags", uid: 1000, flags: .msSeces),
      entry("late", uid: 1000, flags: .friendly, rules: .allowAllRegistryOperations),
    ]
    #expect(try !create(by: process(), entries).isExempt)
    #expect(try create(by: process(), [entries[0], entries[2]]).isExempt)
  }

  @Test(arguments: [
    (0, 0o755, true), (0, 0o775, false), (0, 0o757, false), (1000, 0o755, false), (5, 0o755, false),
  ] as [(UInt32, UInt32, Bool)])
  func anExecutableAloneMustBeRoots(owner: UInt32, mode: UInt32, counts: Bool) throws {
    let caller = process(uid: 0, owner: owner, mode: mode)
    let decision = try create(by: caller, [entry(exe: "/usr/bin/agent", flags: .friendly)])
    #expect(decision.isExempt == counts)
    if !counts { #expect(decision.explanation.contains("can be changed by others than root")) }
    #expect(try create(by: caller, excluded: ["/usr/bin/*"]).isExempt == counts)
    // A uid is something that the caller cannot choose either.
    #expect(try create(by: caller, [entry(exe: "/usr/bin/agent", uid: 0, flags: .friendly)]).isExempt)
  }

  @Test func anExecutableAloneSaysNothingOfAUserWhoIsNotRoot() throws {
    let caller = process(uid: 7)
    for decision in [
      try create(by: caller, [entry(exe: "/usr/bin/agent", flags: .friendly)]),
      try create(by: caller, excluded: ["/usr/bin/*"]),
    ] {
      #expect(!decision.isExempt)
      #expect(decision.explanation.contains("it runs as uid 7, and the entry names neither uid nor gid"))
    }
    #expect(try create(by: caller, [entry(exe: "/usr/bin/agent", uid: 7, flags: .friendly)]).isExempt)
  }

  @Test(arguments: ExemptionDoubt.allCases)
  func aDoubtTakesEveryPrivilege(doubt: ExemptionDoubt) throws {
    let caller = process(doubts: [doubt])
    for processes in [
      [entry(uid: 1000, flags: .friendly)], [entry(uid: 1000, rules: .allowAllRegistryOperations)],
    ] {
      let decision = try create(by: caller, processes)
      #expect(decision.verdict == .deny)
      #expect(decision.explanation.contains(doubt.rawValue))
      #expect(decision.explanation.contains("test.yaml:3"))
    }
    #expect(try create(by: caller, excluded: ["/usr/bin/agent"]).verdict == .deny)
  }

  @Test(arguments: [
    ("/usr/bin/*", "/usr/bin/a", true), ("/usr/bin/*", "/usr/bin/a/b", false), ("/usr/**", "/usr/bin/a/b", true),
    ("/usr/*/a", "/usr/bin/a", true), ("/usr/bin/a?", "/usr/bin/ab", true), ("/usr/bin/a?", "/usr/bin/a/", false),
    ("/usr/bin/a", "/usr/bin/A", false), ("/usr/bin/a", "/usr/bin/ab", false), ("/a*b*c", "/aXbYbZc", true),
  ])
  func patternsOfExecutables(pattern: String, path: String, matches: Bool) throws {
    #expect(try create(by: process(path, uid: 0), excluded: [pattern]).isExempt == matches)
  }

  @Test func withoutAnEntryTheExplanationSaysSo() throws {
    let explanation = try create(by: process("/bin/sh", uid: 42)).explanation
    #expect(explanation == "no process entry of the policy matches /bin/sh, uid 42")
  }
}
