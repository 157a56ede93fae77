import ConfigurationManager
import Executive
import Notifications
import ProcessTable
import Synchronization
import Testing
import WdFilter

@Suite("Query hardening (wdfilter.md 3.5)")
struct QueryHardeningTests {
  @Test("LoadAppInit_DLLs is not read by MsSeces and MpServiceSid, in any spelling and under any key", arguments: [
    (ProcessFlags.msSeces, true), (.mpServiceSid, true), (.friendly, false), (.msMpEng, false), (.excluded, false),
  ])
  func theDriversOwnEntry(flags: ProcessFlags, isRefused: Bool) {
    let rules = RuleSet(processes: [entry(uid: 1000, flags: flags)])
    for name in ["LoadAppInit_DLLs", "loadappinit_dlls"] {
      #expect((rules.decideQuery(of: UnicodeName(name)) { process() }.verdict == .deny) == isRefused)
    }
    for name in ["LoadAppInit_DLL", "AppInit_DLLs", ""] {
      #expect(rules.decideQuery(of: UnicodeName(name)) { process() }.reason == .untouched)
    }
    // What is saved is read.
    #expect((rules.decideSave { process() }.verdict == .deny) == isRefused)
    #expect(rules.decideSave { nil }.verdict == .allow)
    #expect(
      rules.queryInterests == (isRefused ? NotifyClass.preQueryValueKey.bit | NotifyClass.preSaveKey.bit : 0))
  }

  @Test func aProcessThatIsNotKnownOrCarriesNoFlagReads() {
    let rules = RuleSet(processes: [entry(uid: 1000, flags: .msSeces)])
    #expect(rules.decideQuery(of: "LoadAppInit_DLLs") { nil }.verdict == .allow)
    #expect(rules.decideQuery(of: "LoadAppInit_DLLs") { process(uid: 5) }.verdict == .allow)
    var questions = 0
    _ = rules.decideQuery(of: "Start") {
      questions += 1
      return nil
    }
    #expect(questions == 0)
  }

  @Test func aListOfOnesOwnReplacesTheDrivers() {
    let own = [
      QueryDeniedValue(valueName: "Secret", flags: .friendly, source: .builtIn),
      QueryDeniedValue(valueName: "secret", flags: .msSeces, source: RuleSource(file: "p", line: 4)),
    ]
    let rules = RuleSet(processes: [entry(uid: 1000, flags: .msSeces)], queryDenied: own)
    #expect(rules.decideQuery(of: "LoadAppInit_DLLs") { process() }.verdict == .allow)
    let decision = rules.decideQuery(of: "SECRET") { process() }
    #expect(decision.verdict == .deny)
    #expect(decision.source?.line == 4)
    #expect(rules.listings.filter { $0.kind == .query }.map(\.hits) == [0, 1])
    #expect(RuleSet(processes: [entry(uid: 1000, flags: .msSeces)], queryDenied: []).queryInterests == 0)
  }

  @Test func auditLetsReadAndOffAsksNobody() {
    let processes = [entry(uid: 1000, flags: .msSeces)]
    let audited = RuleSet(mode: .audit, processes: processes).decideQuery(of: "LoadAppInit_DLLs") { process() }
    #expect(audited.verdict == .allow && audited.isAudited)
    let off = RuleSet(mode: .off, processes: processes)
    #expect(off.decideQuery(of: "LoadAppInit_DLLs") { process() }.reason == .untouched)
    #expect(off.queryInterests == 0)
  }

  @Test func theCallbackRefusesRecordsAndTells() throws {
    let thread = try #require(ownThreadID())
    let said = Said()
    let refusals = RefusalLog()
    let callback = QueryHardening(
      rules: RuleSet(processes: [entry(uid: 77, flags: .msSeces)]), processes: ProcessTable(),
      notify: { notification in
        let copy = notification
        said.list.withLock { $0.append(copy) }
      }, refusals: refusals)
    func ask(_ operation: RegistryOperation, uid: UInt32) -> NTStatus {
      var call = RegistryCall(caller: Caller(threadID: thread, userID: uid, groupID: 0), registry: FixedValue())
      return callback.preOperation(operation, &call)
    }
    #expect(ask(query(acme, "LoadAppInit_DLLs"), uid: 77) == .accessDenied)
    #expect(ask(query(acme, "LoadAppInit_DLLs"), uid: 78) == .success)
    #expect(ask(query(acme, "Start"), uid: 77) == .success)
    #expect(ask(set(acme, "LoadAppInit_DLLs"), uid: 77) == .success)
    let told = said.list.withLock { $0 }
    #expect(told.map(\.notifyClass) == [.preQueryValueKey])
    #expect(told.first?.valueName == "LoadAppInit_DLLs")
    #expect(told.first?.ruleIDs == ["query_denied: LoadAppInit_DLLs"])
    #expect(refusals.last(for: UnicodeName(acme))?.reason == .queryDenied)
    callback.replaceRules(RuleSet())
    #expect(callback.interests == 0)
    #expect(ask(query(acme, "LoadAppInit_DLLs"), uid: 77) == .success)
  }

  private final class Said: Sendable {
    let list = Mutex<[Notification]>([])
  }

  @Test func itStandsAtAnAltitudeOfItsOwn() throws {
    let own = try #require(Altitude(QueryHardening.altitude))
    #expect(own != Altitude(RegistryFilter.altitude))
  }
}
