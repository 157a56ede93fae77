import ConfigurationManager
import Executive
import Glibc
import Notifications
import ProcessTable
import Testing
import WdFilter

@Suite("Registry filter: verdicts, notifications, refusals (wdfilter.md 3)")
struct RegistryFilterTests {
  private let stranger = Caller(threadID: 0, userID: 0, groupID: 0)

  private func watching() throws -> RuleSet {
    RuleSet(
      monitored: [
        try rule(
          "acme", #"HKLM\SOFTWARE\Acme"#, [.createKeyOperation, .renameKeyOperation, .deleteKeyOperation],
          values: [
            ValueRule(name: "old", rules: RuleBits(rawValue: 0x2D00)),
            ValueRule(name: "plain", rules: .setValueKeyOperation),
            ValueRule(name: "shut", rules: RuleBits(rawValue: 0xC2D00)),
          ])
      ])
  }

  @Test func itsAltitudeIsTheDrivers() { #expect(RegistryFilter.altitude == "328010") }

  @Test func aRefusalIsToldAtOnceWithItsRule() throws {
    let bench = Bench(try watching())
    let thread = try #require(ownThreadID())
    let caller = Caller(threadID: thread, userID: getuid(), groupID: getgid())
    let registry = FixedValue()
    #expect(bench.run(set(acme, "shut", [1]), by: caller, registry: registry) == .accessDenied)
    let told = try #require(bench.notifications.first)
    #expect(bench.notifications.count == 1)
    #expect(told.notifyClass == .preSetValueKey)
    #expect(told.status == .accessDenied)
    #expect(told.denied)
    #expect(!told.audited)
    #expect(told.keyName == UnicodeName(acme))
    #expect(told.valueName == "shut")
    #expect(told.newValue == RegistryValue(type: .dword, data: [1]))
    #expect(told.finalKeyRules == 0x80100)
    #expect(told.ruleNames == ["SetValueKeyOperation", "SetValueDenied"])
    #expect(told.ruleIDs == ["acme"])
    #expect(told.ruleSource == "test.yaml:7")
    #expect(told.matchHashes.map(\.count) == [32])
    #expect(told.process.processID == getpid())
    #expect(told.process.threadID == thread)
    #expect(told.process.executable != nil)
    #expect(registry.questions == 0)
  }

  @Test func denialsAndEventsAreCountedForTheirProcess() throws {
    let bench = Bench(try watching())
    let caller = Caller(threadID: try #require(ownThreadID()), userID: getuid(), groupID: getgid())
    let registry = FixedValue()
    let record = try #require(bench.processes.context(forThread: caller.threadID, uid: getuid(), gid: getgid())?.record)
    for _ in 0..<2 { _ = bench.run(set(acme, "shut", [1]), by: caller, registry: registry) }
    #expect(record.operationsDenied == 2 && record.notificationsSent == 2)
    _ = bench.run(set(acme, "plain", [1]), by: caller, registry: registry)
    #expect(record.operationsDenied == 2 && record.notificationsSent == 3)
    // What no rule speaks of is nobody's event.
    _ = bench.run(set(acme, "other", [1]), by: caller, registry: registry)
    #expect(record.operationsDenied == 2 && record.notificationsSent == 3)
  }

  @Test func aWatchedChangeIsToldAfterItSucceeded() throws {
    let bench = Bench(try watching())
    let before = RegistryValue(type: .sz, data: [0x41, 0])
    let registry = FixedValue(before)
    #expect(bench.run(set(acme, "old", [2]), by: stranger, registry: registry).isSuccess)
    #expect(bench.run(deleteValue(acme, "old"), by: stranger, registry: registry).isSuccess)
    #expect(bench.run(set(acme, "plain", [2]), by: stranger, registry: registry).isSuccess)
    let told = bench.notifications
    #expect(told.map(\.notifyClass) == [.postSetValueKey, .postDeleteValueKey, .postSetValueKey])
    #expect(told.map(\.oldValue) == [before, before, nil])
    #expect(registry.questions == 2)
    #expect(told.allSatisfy { !$0.denied && $0.status == .success })
    #expect(told.map(\.finalKeyRules) == [0x100, 0x800, 0x100])
    #expect(told[0].process.processID == 0)
  }

  @Test func createDeleteAndRenameAreToldWithTheirNames() throws {
    let bench = Bench(RuleSet(monitored: [
      try rule("w", #"HKLM\SOFTWARE\Acme"#, [.createKeyOperation, .renameKeyOperation, .deleteKeyOperation])
    ]))
    for operation in [create(acme), rename(acme, "Neu"), delete(acme)] { bench.run(operation, by: stranger) }
    #expect(bench.notifications.map(\.notifyClass) == [.postCreateKeyEx, .postRenameKey, .postDeleteKey])
    #expect(bench.notifications.map(\.newKeyName) == [nil, UnicodeName(#"\REGISTRY\MACHINE\SOFTWARE\Neu"#), nil])
    #expect(bench.notifications.allSatisfy { $0.keyName == UnicodeName(acme) })
  }

  @Test(arguments: [NTStatus.cancelled, .accessDenied, .objectNameNotFound, .diskFull])
  func whatFailedOrWasNotDoneIsNotTold(outcome: NTStatus) throws {
    let bench = Bench(try watching())
    bench.run(set(acme, "old"), by: stranger, outcome: outcome)
    #expect(bench.notifications.isEmpty)
  }

  @Test("The judgement at open for writing refuses and tells, but a permission tells nothing")
  func setWithoutAValueIsOnlyJudged() throws {
    let bench = Bench(try watching())
    #expect(bench.run(set(acme, "old", nil), by: stranger, outcome: .cancelled).isSuccess)
    #expect(bench.notifications.isEmpty)
    #expect(bench.run(set(acme, "shut", nil), by: stranger) == .accessDenied)
    #expect(bench.notifications.map(\.denied) == [true])
    #expect(bench.notifications[0].newValue == nil)
  }

  /// SEMANTICS 6.2: it has no other judgement.
  @Test func aValueThatIsOnlyEmptiedIsTold() throws {
    let bench = Bench(try watching())
    var call = RegistryCall(caller: stranger, registry: FixedValue())
    #expect(bench.filter.preOperation(set(acme, "old", nil), &call).isSuccess)
    _ = bench.filter.postOperation(set(acme, "old", []), status: .success, &call)
    #expect(bench.notifications.map(\.newValue?.data) == [[]])
    #expect(bench.notifications.map(\.notifyClass) == [.postSetValueKey])
  }

  @Test func whatNoRuleTouchesIsNotTold() throws {
    let bench = Bench(try watching())
    for operation in [set(acme + "2", "old"), create(acme + "2"), open(acme), touch(acme), set(acme, "other")] {
      #expect(bench.run(operation, by: stranger).isSuccess)
    }
    #expect(bench.notifications.isEmpty)
  }

  @Test("An exempt process may do what a rule refuses, and that is told where it is watched")
  func anExemptProcessIsLogged() throws {
    let child = try Child("/bin/sleep", ["60"])
    let caller = Caller(threadID: child.id, userID: 0, groupID: 0)
    let path = try #require(ProcessTable().context(forThread: child.id, uid: 0, gid: 0)?.executable)
    let monitored = [
      try rule("shut", #"HKLM\SOFTWARE\Acme"#, [.createDenied, .createKeyOperation]),
      try rule("quiet", #"HKLM\SOFTWARE\Other"#, .createDenied),
    ]
    let bench = Bench(RuleSet(monitored: monitored, processes: [entry(exe: path, flags: .friendly)]))
    #expect(bench.run(create(acme), by: caller).isSuccess)
    #expect(bench.run(create(#"\REGISTRY\MACHINE\SOFTWARE\Other"#), by: caller).isSuccess)
    #expect(bench.run(set(winDefend, "Start"), by: caller).isSuccess)
    #expect(bench.notifications.map(\.ruleIDs) == [["shut"]])
    #expect(bench.notifications.allSatisfy { !$0.denied && $0.status == .success })
    #expect(bench.notifications.map(\.notifyClass) == [.postCreateKeyEx])
    #expect(bench.notifications.allSatisfy { $0.process.executable == path })
    #expect(bench.refusals.count == 0)

    // The same process by a number that names nobody.
    #expect(bench.run(create(acme), by: .unknown) == .accessDenied)
    #expect(bench.run(set(winDefend, "Start"), by: Caller(threadID: 0, userID: 0, groupID: 0)) == .accessDenied)

    // The same program with foreign code in it.
    let preloaded = try Child("/bin/sleep", ["60"], environment: ["LD_PRELOAD="])
    let doubtful = Caller(threadID: preloaded.id, userID: 0, groupID: 0)
    #expect(bench.run(set(winDefend, "Start"), by: doubtful) == .accessDenied)
  }

  @Test func auditLetsItPassAndSaysWhatWouldHaveBeen() throws {
    let bench = Bench(RuleSet(mode: .audit))
    #expect(bench.run(set(winDefend, "Start"), by: stranger).isSuccess)
    let told = try #require(bench.notifications.first)
    #expect(told.denied)
    #expect(told.audited)
    #expect(told.status == .success)
    #expect(bench.refusals.count == 0)
  }

  @Test func newRulesAreInForceAtOnceAndWhole() throws {
    let bench = Bench(RuleSet())
    #expect(bench.run(create(acme), by: stranger).isSuccess)
    bench.filter.replaceRules(RuleSet(monitored: [try rule(#"HKLM\SOFTWARE\Acme"#, .createDenied)]))
    #expect(bench.run(create(acme), by: stranger) == .accessDenied)
    #expect(bench.run(set(winDefend, "Start"), by: stranger) == .accessDenied)
    bench.filter.replaceRules(RuleSet())
    #expect(bench.run(create(acme), by: stranger).isSuccess)
    #expect(bench.filter.interests == RuleSet().interests)
  }

  // MARK: Refusal log

  @Test func theLastRefusalIsFoundByKeyAndByValueWithoutRegardToCase() throws {
    let bench = Bench(RuleSet())
    bench.run(set(winDefend, "Start"), by: stranger)
    bench.run(delete(winDefend), by: stranger)
    let name = UnicodeName(winDefend.lowercased())
    #expect(bench.refusals.last(for: name)?.notification.notifyClass == .preDeleteKey)
    #expect(bench.refusals.last(for: name.appending("sTaRt"))?.notification.notifyClass == .preSetValueKey)
    #expect(bench.refusals.last(for: name.appending("Type")) == nil)
    #expect(bench.refusals.last(for: UnicodeName(system)) == nil)
    bench.run(rename(system + #"\ControlSet001\Evil"#, "Services"), by: stranger)
    #expect(bench.refusals.last(for: UnicodeName(system + #"\CONTROLSET001\SERVICES"#))?.reason == .hardenedBelow)
    #expect(bench.refusals.last(for: UnicodeName(system + #"\ControlSet001\evil"#)) != nil)
  }

  @Test func aRefusalSaysEverythingAPersonAsks() throws {
    let child = try Child("/bin/sleep", ["60"])
    let bench = Bench(RuleSet(monitored: [
      try rule("acme", #"HKLM\SOFTWARE\Acme"#, [], values: [ValueRule(name: nil, rules: .setValueDenied)], line: 12)
    ]))
    bench.run(set(acme, "v\u{1B}[2J"), by: Caller(threadID: child.id, userID: 1234, groupID: 5))
    let text = try #require(bench.refusals.last(for: UnicodeName(acme))).description
    let path = try #require(bench.notifications.first?.process.executable)
    for part in [
      "RegNtPreSetValueKey", acme, "acme", "test.yaml:12", "SetValueDenied", "\(child.id), \(path), uid 1234",
      "no process entry of the policy matches \(path), uid 1234",
    ] {
      #expect(text.contains(part), "\(part) in \(text)")
    }
    #expect(!text.contains("\u{1B}"))
  }

  @Test func theTimeIsWrittenAsACalendarSaysIt() {
    func text(_ seconds: Int64) -> String {
      let log = RefusalLog()
      let process = ProcessDescription(processID: 0, threadID: 0, userID: 0, groupID: 0)
      log.record(
        Notification(
          time: FileTime(seconds: seconds, nanoseconds: 0), notifyClass: .preDeleteKey, status: .accessDenied,
          denied: true, process: process, keyName: "k"), reason: .hardened)
      return log.last(for: "K")?.description ?? ""
    }
    #expect(text(0).contains("1970-01-01T00:00:00Z"))
    #expect(text(951_827_696).contains("2000-02-29T12:34:56Z"))
    #expect(text(4_107_542_399).contains("2100-02-28T23:59:59Z"))
    #expect(text(-1).contains("1969-12-31T23:59:59Z"))
  }

  @Test func theLogIsBounded() {
    let log = RefusalLog(capacity: 4)
    let process = ProcessDescription(processID: 0, threadID: 0, userID: 0, groupID: 0)
    for index in 0..<10 {
      for _ in 0..<3 {
        log.record(
          Notification(
            time: .now(), notifyClass: .preDeleteKey, status: .accessDenied, denied: true, process: process,
            keyName: UnicodeName("k\(index)")), reason: .hardened)
      }
    }
    #expect(log.count == 4)
    #expect(log.last(for: "k5") == nil)
    #expect((6..<10).allSatisfy { log.last(for: UnicodeName("k\($0)")) != nil })
  }
}
