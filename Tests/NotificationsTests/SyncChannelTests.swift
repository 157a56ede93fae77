import Executive
import Glibc
import Synchronization
import Testing

@testable import Notifications

/// A channel whose time passes only when somebody waits, and a client that answers as it is told, on the asking thread.
private final class Bench: Sendable {
  private let time = Box<UInt64>(1)
  let messages = Box<[[UInt8]]>([])
  let channel: SyncChannel

  final class Box<Value: Sendable>: Sendable {
    private let value: Mutex<Value>
    init(_ value: sending Value) { self.value = Mutex(value) }
    func change(_ body: (inout Value) -> Void) { value.withLock { body(&$0) } }
    var now: Value { value.withLock { $0 } }
  }

  init() {
    let time = self.time
    channel = SyncChannel(
      encoder: EventEncoder(),
      clock: SyncChannel.Clock(
        now: { time.now },
        wait: { event, milliseconds in
          if event.wait(milliseconds: 0) { return true }
          time.change { $0 += UInt64(milliseconds) * 1_000_000 }
          return event.wait(milliseconds: 0)
        }))
  }

  func pass(milliseconds: UInt64) { time.change { $0 += milliseconds * 1_000_000 } }

  /// Registers a client that answers each question with `replies(sequence)`.
  @discardableResult
  func attach(
    processID: Int32 = 1, isDeciding: Bool = true, failure: Int32 = 0,
    _ replies: @escaping @Sendable (UInt64) -> [SyncChannel.Reply] = { _ in [] }
  ) throws -> UInt64 {
    let (channel, messages) = (self.channel, self.messages)
    let id = Box<UInt64>(0)
    let attached = channel.attach(
      SyncClient(processID: processID, isDeciding: isDeciding) { message in
        if failure != 0 { return failure }
        messages.change { $0.append(message) }
        for reply in replies(UInt64(messages.now.count)) { _ = channel.receive(reply, from: id.now) }
        return 0
      })
    let number = try #require(attached)
    id.change { $0 = number }
    return number
  }

  func ask(_ processID: Int32 = 100, bytes: Int = 0) -> SyncOutcome {
    var notification = Notification(
      time: FileTime(rawValue: 0), notifyClass: .preSetValueKey, status: .success, denied: false,
      process: ProcessDescription(processID: processID, threadID: processID, userID: 0, groupID: 0),
      keyName: UnicodeName(#"\REGISTRY\MACHINE\SOFTWARE\Acme"#))
    if bytes > 0 { notification.newValue = RegistryValue(type: .binary, data: Array(repeating: 7, count: bytes)) }
    return channel.ask(notification, by: SyncProcess(processID: processID, startTicks: UInt64(processID)))
  }

  var counters: SyncChannel.Counters { channel.counters(of: .registryEventSync) }
}

private func allow(_ sequence: UInt64) -> SyncChannel.Reply { .init(type: 2, sequence: sequence, verdict: .allow) }
private func deny(_ sequence: UInt64) -> SyncChannel.Reply { .init(type: 2, sequence: sequence, verdict: .deny) }

@Suite("The sync channel (wdfilter.md 5)")
struct SyncChannelTests {
  @Test func theDefaultsAreTheDrivers() {
    let configuration = SyncConfiguration()
    #expect(configuration.timeout == 5000)
    #expect(configuration.timeoutsUntilPassThrough == 4)
    #expect(configuration.retryAfter == 60_000)
    #expect(configuration.onTimeout == .allow)
    #expect(SyncMessageType.registryEventSync.rawValue == 2)
  }

  @Test func aDecidingClientsVerdictHolds() throws {
    let bench = Bench()
    try bench.attach { [$0 == 1 ? deny($0) : allow($0)] }
    #expect(bench.ask(100) == .answered(.deny))
    #expect(bench.ask(101) == .answered(.allow))
    #expect(bench.counters.sent == 2)
    #expect(bench.counters.received == 2)
    #expect(bench.counters.denied == 1)
    let message = String(decoding: try #require(bench.messages.now.first), as: UTF8.self)
    #expect(message.hasPrefix(#"{"message":"RegistryEventSync","type":2,"sequence":1,"deciding":true,"event":{"@timestamp""#))
    #expect(message.hasSuffix("}}"))
    #expect(message.contains("RegNtPreSetValueKey"))
  }

  @Test func aClientThatDoesNotDecideCannotDeny() throws {
    let bench = Bench()
    try bench.attach(isDeciding: false) { [deny($0)] }
    #expect(bench.ask() == .answered(.allow))
  }

  @Test func aDecidingClientsAnswerWithoutVerdictIsAMismatch() throws {
    let bench = Bench()
    try bench.attach { [.init(type: 2, sequence: $0, verdict: nil)] }
    #expect(bench.ask() == .timedOut(.allow))
    #expect(bench.counters.mismatches == 1)
  }

  @Test func aCorrectReplyClearsTheBitOfThatProcessOnly() throws {
    let bench = Bench()
    try bench.attach { [allow($0)] }
    #expect(bench.ask(100) == .answered(.allow))
    #expect(bench.ask(100) == .notAsked)
    #expect(bench.ask(101) == .answered(.allow))
    bench.channel.rearm()
    #expect(bench.ask(100) == .answered(.allow))
    #expect(bench.counters.sent == 3)
  }

  @Test func aTimeOutDoesNotClearTheBit() throws {
    let bench = Bench()
    try bench.attach { $0 == 1 ? [] : [allow($0)] }
    #expect(bench.ask() == .timedOut(.allow))
    #expect(bench.ask() == .answered(.allow))
  }

  @Test func whoWasAnsweredForIsRememberedWithABound() throws {
    let bench = Bench()
    try bench.attach { [allow($0)] }
    for process in 0...SyncChannel.mostRemembered { _ = bench.ask(Int32(1000 + process)) }
    #expect(bench.ask(1001) == .notAsked)
    #expect(bench.ask(1000) == .answered(.allow))
  }

  @Test(arguments: SyncVerdict.allCases)
  func silenceMeansWhatOnTimeoutSays(verdict: SyncVerdict) throws {
    let bench = Bench()
    bench.channel.configuration.onTimeout = verdict
    #expect(bench.ask() == .unattended(verdict))
    let client = try bench.attach()
    for _ in 0..<4 { #expect(bench.ask() == .timedOut(verdict)) }
    #expect(bench.ask() == .passedThrough(verdict))
    bench.channel.detach(client, errno: EPIPE)
    #expect(bench.ask() == .unattended(verdict))
    #expect(bench.counters.unattended == 2)
  }

  @Test func afterFourTimeoutsInARowNobodyIsAskedForAMinuteAndThenAgain() throws {
    let bench = Bench()
    try bench.attach { $0 == 4 ? [allow($0)] : [] }
    for process in 0..<3 { #expect(bench.ask(Int32(100 + process)) == .timedOut(.allow)) }
    // An answer between them: not in a row.
    #expect(bench.ask(200) == .answered(.allow))
    for process in 0..<4 { #expect(bench.ask(Int32(300 + process)) == .timedOut(.allow)) }
    #expect(bench.counters.totalWait == 7 * 5_000_000_000)
    #expect(bench.ask(400) == .passedThrough(.allow))
    bench.pass(milliseconds: 59_999)
    #expect(bench.ask(400) == .passedThrough(.allow))
    bench.pass(milliseconds: 1)
    #expect(bench.ask(400) == .timedOut(.allow))
    #expect(bench.counters.timeouts == 8)
    #expect(bench.counters.passedThrough == 2)
    #expect(bench.counters.sent == 9)
  }

  @Test func theSettingsHoldForTheNextQuestion() throws {
    let bench = Bench()
    bench.channel.configuration.timeout = 20
    bench.channel.configuration.timeoutsUntilPassThrough = 1
    bench.channel.configuration.retryAfter = 30
    try bench.attach()
    #expect(bench.ask() == .timedOut(.allow))
    #expect(bench.counters.totalWait == 20_000_000)
    bench.pass(milliseconds: 29)
    #expect(bench.ask() == .passedThrough(.allow))
    bench.pass(milliseconds: 1)
    #expect(bench.ask() == .timedOut(.allow))
  }

  @Test func aReplyMustEchoTypeAndSequence() throws {
    let bench = Bench()
    let client = try bench.attach { sequence in
      [.init(type: 1, sequence: sequence, verdict: .deny), deny(sequence + 1), allow(sequence), deny(sequence)]
    }
    #expect(bench.ask() == .answered(.allow))
    #expect(bench.counters.mismatches == 3)
    #expect(!bench.channel.receive(deny(1), from: client))
    #expect(!bench.channel.receive(deny(1), from: client + 1))
    #expect(bench.counters.received == 1)
  }

  @Test func aLateReplyIsAMismatch() throws {
    let bench = Bench()
    let client = try bench.attach()
    #expect(bench.ask() == .timedOut(.allow))
    #expect(!bench.channel.receive(allow(1), from: client))
    #expect(bench.counters.mismatches == 1)
    #expect(bench.counters.timeouts == 1)
  }

  @Test func aClientThatCannotBeToldIsAnError() throws {
    let bench = Bench()
    bench.channel.configuration.onTimeout = .deny
    try bench.attach(failure: EAGAIN)
    #expect(bench.ask() == .unattended(.deny))
    #expect(bench.counters.errors == 1)
    #expect(bench.counters.lastError == EAGAIN)
    #expect(bench.counters.timeouts == 0)
  }

  @Test func thereIsOneClient() throws {
    let bench = Bench()
    let first = try bench.attach(processID: 1)
    #expect(bench.channel.attach(SyncClient(processID: 2, isDeciding: true) { _ in 0 }) == nil)
    bench.channel.detach(first &+ 1, errno: 0)
    #expect(bench.channel.standing.client?.processID == 1)
    bench.channel.detach(first, errno: 0)
    #expect(bench.channel.standing.client == nil)
    try bench.attach(processID: 2)
  }

  @Test func theClientsOwnOperationsAreNotAskedAbout() throws {
    let bench = Bench()
    try bench.attach(processID: 100) { [deny($0)] }
    #expect(bench.ask(100) == .notAsked)
    #expect(bench.ask(101) == .answered(.deny))
  }

  @Test func aMessageTooLongForAPacketLosesItsData() throws {
    let bench = Bench()
    try bench.attach { [allow($0)] }
    #expect(bench.ask(100, bytes: 1000) == .answered(.allow))
    #expect(bench.ask(101, bytes: 64 * 1024) == .answered(.allow))
    let sizes = bench.messages.now.map(\.count)
    #expect(sizes[0] > 1000)
    #expect(sizes[1] < 1500)
  }

  /// With the real clock and real threads: the client goes, and who waits goes on long before the time is up. As many wait as may.
  @Test func aClientThatDiesWakesTheWaiters() throws {
    let channel = SyncChannel(encoder: EventEncoder())
    channel.configuration.timeout = 60_000
    channel.configuration.onTimeout = .deny
    let id = try #require(channel.attach(SyncClient(processID: 1, isDeciding: true) { _ in 0 }))
    let outcomes = Bench.Box<[SyncOutcome]>([])
    let threads = try (0..<SyncChannel.mostWaiting).map { number in
      try #require(
        SystemThread(name: "waiter") {
          let notification = Notification(
            time: .now(), notifyClass: .preDeleteKey, status: .success, denied: false,
            process: ProcessDescription(processID: 9, threadID: 9, userID: 0, groupID: 0), keyName: "x")
          let outcome = channel.ask(notification, by: SyncProcess(processID: Int32(100 + number), startTicks: 1))
          outcomes.change { $0.append(outcome) }
        })
    }
    while channel.standing.waiting < SyncChannel.mostWaiting { usleep(1000) }
    let notification = Notification(
      time: .now(), notifyClass: .preDeleteKey, status: .success, denied: false,
      process: ProcessDescription(processID: 9, threadID: 9, userID: 0, groupID: 0), keyName: "x")
    #expect(channel.ask(notification, by: SyncProcess(processID: 9, startTicks: 1)) == .crowded(.deny))
    channel.detach(id, errno: ECONNRESET)
    for thread in threads { thread.join() }
    #expect(outcomes.now == Array(repeating: .unattended(.deny), count: SyncChannel.mostWaiting))
    #expect(channel.counters(of: .registryEventSync).errors == UInt64(SyncChannel.mostWaiting))
    #expect(channel.counters(of: .registryEventSync).lastError == ECONNRESET)
    #expect(channel.standing.waiting == 0)
  }
}
