import ConfigurationManager
import Executive
import Glibc
import Notifications
import ProcessTable
import Synchronization
import Testing
import WdFilter

/// A filter with a sync client that answers at once, on the thread that asks.
private final class SyncBench: Sendable {
  let filter: RegistryFilter
  let channel = SyncChannel(encoder: EventEncoder())
  let refusals = RefusalLog()
  private let said = Mutex<[Notification]>([])
  private let asked = Mutex(0)
  private let box = Box()

  private final class Box: Sendable { let bench = Mutex<SyncBench?>(nil) }

  init(_ rules: RuleSet, verdict: SyncVerdict?) {
    let box = self.box
    filter = RegistryFilter(
      rules: rules, processes: ProcessTable(),
      notify: { notification in
        let copy = notification
        box.bench.withLock { $0 }?.said.withLock { $0.append(copy) }
      }, refusals: refusals, sync: channel)
    box.bench.withLock { $0 = self }
    channel.configuration.timeout = 1
    let channel = self.channel
    // Not our own process, which is the caller here.
    let client = SyncClient(processID: 1, isDeciding: true) { _ in
      guard let bench = box.bench.withLock({ $0 }) else { return EPIPE }
      let sequence = bench.asked.withLock { count in
        count += 1
        return count
      }
      if let verdict { _ = channel.receive(.init(type: 2, sequence: UInt64(sequence), verdict: verdict), from: 1) }
      return 0
    }
    #expect(channel.attach(client) == 1)
  }

  func end() { box.bench.withLock { $0 = nil } }

  var notifications: [Notification] { said.withLock { $0 } }
  var questions: Int { asked.withLock { $0 } }

  @discardableResult
  func run(_ operation: RegistryOperation, by caller: Caller) -> NTStatus {
    var call = RegistryCall(caller: caller, registry: FixedValue())
    let status = filter.preOperation(operation, &call)
    if status.isSuccess { _ = filter.postOperation(operation, status: .success, &call) }
    return status
  }
}

@Suite("Synchronous mode, counters and versions (wdfilter.md 5)")
struct SyncAndCounterTests {
  private var caller: Caller {
    get throws { Caller(threadID: try #require(ownThreadID()), userID: getuid(), groupID: getgid()) }
  }

  private func rules(
    mode: RuleMode = .enforce, process: ProcessRules = .notifyRegistryOperationSync, version: UInt64 = 1
  ) throws -> RuleSet {
    RuleSet(
      mode: mode,
      monitored: [
        try rule("watched", acme, [.createKeyOperation, .deleteKeyOperation, .renameDenied]),
        try rule("quiet", acme + #"\Quiet"#, [], values: [ValueRule(name: "v", rules: .setValueKeyOperation)]),
      ],
      processes: [entry("synced", uid: getuid(), rules: process)], version: version)
  }

  @Test func aMatchingOperationOfAProcessWithTheBitIsAskedAbout() throws {
    let bench = SyncBench(try rules(), verdict: .allow)
    defer { bench.end() }
    #expect(bench.run(delete(acme), by: try caller).isSuccess)
    #expect(bench.questions == 1)
    // Told as ever, once it was done.
    #expect(bench.notifications.map(\.notifyClass) == [.postDeleteKey])
    #expect(bench.notifications.first?.decidedBy == nil)
    // One-shot.
    #expect(bench.run(create(acme), by: try caller).isSuccess)
    #expect(bench.questions == 1)
  }

  @Test func theClientsRefusalIsTheCallersAndSaysWhoDecided() throws {
    let bench = SyncBench(try rules(), verdict: .deny)
    defer { bench.end() }
    #expect(bench.run(delete(acme), by: try caller) == .accessDenied)
    let told = try #require(bench.notifications.first)
    #expect(bench.notifications.count == 1)
    #expect(told.denied)
    #expect(told.notifyClass == .preDeleteKey)
    #expect(told.decidedBy == "sync client")
    #expect(told.ruleIDs == ["watched"])
    let line = String(decoding: EventEncoder().line(for: told), as: UTF8.self)
    #expect(line.contains(#""decided_by":"sync client""#))
    #expect(line.contains(#""rules_version":1"#))
    #expect(bench.refusals.last(for: UnicodeName(acme))?.description.contains("watched (sync client)") == true)
    #expect(bench.filter.counters.count(of: .preDeleteKey, .refusedBySyncClient) == 1)
  }

  @Test(arguments: SyncVerdict.allCases)
  func silenceMeansWhatOnTimeoutSays(verdict: SyncVerdict) throws {
    let bench = SyncBench(try rules(), verdict: nil)
    defer { bench.end() }
    bench.channel.configuration.onTimeout = verdict
    #expect(bench.run(delete(acme), by: try caller).isSuccess == (verdict == .allow))
    #expect(bench.channel.counters(of: .registryEventSync).timeouts == 1)
    #expect(bench.notifications.first?.decidedBy == (verdict == .deny ? "sync client: no answer in time" : nil))
  }

  @Test func nobodyIsAskedWithoutTheBitOrAMatch() throws {
    let without = SyncBench(try rules(process: .notifyProcessCmdLine), verdict: .deny)
    defer { without.end() }
    #expect(without.run(delete(acme), by: try caller).isSuccess)
    #expect(without.questions == 0)

    let bench = SyncBench(try rules(), verdict: .deny)
    defer { bench.end() }
    #expect(bench.run(delete(acme + #"\Other"#), by: try caller).isSuccess)
    // An unknown caller has no bits.
    #expect(bench.run(delete(acme), by: .unknown).isSuccess)
    #expect(bench.questions == 0)
  }

  @Test func whatARuleRefusesIsNotAskedAbout() throws {
    let bench = SyncBench(try rules(), verdict: .allow)
    defer { bench.end() }
    #expect(bench.run(rename(acme, "x"), by: try caller) == .accessDenied)
    #expect(bench.questions == 0)
    #expect(bench.notifications.first?.decidedBy == nil)
  }

  @Test func aValueIsAskedAboutAtItsOpen() throws {
    let bench = SyncBench(try rules(), verdict: .deny)
    defer { bench.end() }
    #expect(bench.run(set(acme + #"\Quiet"#, "v", nil), by: try caller) == .accessDenied)
    #expect(bench.questions == 1)
  }

  @Test func auditRefusesNothingWhateverTheClientSays() throws {
    let bench = SyncBench(try rules(mode: .audit), verdict: .deny)
    defer { bench.end() }
    #expect(bench.run(delete(acme), by: try caller).isSuccess)
    let told = try #require(bench.notifications.first)
    #expect(told.audited)
    #expect(told.decidedBy == "sync client")
    #expect(bench.filter.counters.count(of: .preDeleteKey, .audited) == 1)
  }

  @Test func decisionsAreCountedByClassAndOutcome() throws {
    let bench = Bench(try rules())
    let caller = try caller
    bench.run(delete(acme), by: caller)
    bench.run(delete(acme + #"\Other"#), by: caller)
    bench.run(delete(acme + #"\Other"#), by: caller)
    bench.run(rename(acme, "x"), by: caller)
    bench.run(delete(winDefend), by: caller)
    let counters = bench.filter.counters
    #expect(counters.count(of: .preDeleteKey, .watched) == 1)
    #expect(counters.count(of: .preDeleteKey, .untouched) == 2)
    #expect(counters.count(of: .preDeleteKey, .refused) == 1)
    #expect(counters.count(of: .preRenameKey, .refused) == 1)
    #expect(counters.count(of: .refused) == 2)
    // There is a place for every class and outcome.
    for outcome in DecisionOutcome.allCases { _ = counters.count(of: outcome) }
    #expect(counters.count(of: .refusedBySyncClient) == 0)
    #expect(counters.count(of: .exempt) == 0)
    #expect(counters.lookupTime.snapshot.count == 3)

    let exempt = Bench(try rules(process: .allowAllRegistryOperations))
    // The exemption holds only for a process that nothing is said against, which a test under a debugger may not be.
    let status = exempt.run(rename(acme, "x"), by: caller)
    #expect(exempt.filter.counters.count(of: .preRenameKey, status.isSuccess ? .exempt : .refused) == 1)

    let audited = Bench(try rules(mode: .audit))
    audited.run(rename(acme, "x"), by: caller)
    #expect(audited.filter.counters.count(of: .preRenameKey, .audited) == 1)
  }

  @Test func oneDecisionInSoManyIsTimed() throws {
    let bench = Bench(try rules())
    for _ in 0..<3 * FilterCounters.timedShare { bench.run(delete(acme + #"\Other"#), by: .unknown) }
    #expect(bench.filter.counters.matchTime.snapshot.count == 3)
  }

  @Test func everyEventNamesTheVersionThatDecided() throws {
    let bench = Bench(try rules(version: 1))
    var call = RegistryCall(caller: .unknown, registry: FixedValue())
    #expect(bench.filter.preOperation(delete(acme), &call).isSuccess)
    bench.filter.replaceRules(try rules(version: 2))
    // Decided by the first, told after the second came into force.
    _ = bench.filter.postOperation(delete(acme), status: .success, &call)
    bench.run(delete(acme), by: .unknown)
    bench.run(rename(acme, "x"), by: .unknown)
    #expect(bench.notifications.map(\.rulesVersion) == [1, 2, 2])
    #expect(bench.filter.rulesInForce.version == 2)
  }
}
