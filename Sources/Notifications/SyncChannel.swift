package import Executive
internal import Glibc
internal import Synchronization

/// A process as long as it lives: its id and start.
package struct SyncProcess: Hashable, Sendable {
  package let processID: Int32
  /// Clock ticks since boot.
  package let startTicks: UInt64

  package init(processID: Int32, startTicks: UInt64) {
    self.processID = processID
    self.startTicks = startTicks
  }
}

/// The program that is asked before operations go on, one for a mount.
package struct SyncClient: Sendable {
  package let processID: Int32
  /// Its answers hold; another's only say that it has seen the event.
  package let isDeciding: Bool
  /// Brings it a message, without waiting; an errno, 0 when it went out. Called on threads of requests.
  package let send: @Sendable ([UInt8]) -> Int32

  package init(processID: Int32, isDeciding: Bool, send: @escaping @Sendable ([UInt8]) -> Int32) {
    self.processID = processID
    self.isDeciding = isDeciding
    self.send = send
  }
}

/// Asks the sync client about an operation and waits for its answer, with a bound (RegistryEventSync).
///
/// 1. Nobody waits longer than `SyncConfiguration.timeout`, and no lock is held meanwhile.
/// 2. The rule is one-shot: who was answered for correctly is not asked about again, as long as it lives and is remembered.
/// 3. Silence never means more than `SyncConfiguration.onTimeout`: where that is *deny*, a starved client lets nothing pass.
/// 4. A client that goes away wakes those who wait for it.
/// 5. At most `mostWaiting` operations wait at once, so that the mount keeps threads for everybody else.
package final class SyncChannel: Sendable {
  /// Totals of one type of message.
  package struct Counters: Hashable, Sendable {
    package var sent: UInt64 = 0
    package var received: UInt64 = 0
    package var denied: UInt64 = 0
    package var errors: UInt64 = 0
    /// The errno of the last error; 0 for none.
    package var lastError: Int32 = 0
    package var timeouts: UInt64 = 0
    package var mismatches: UInt64 = 0
    /// Operations that were not asked about: after too many time-outs, without a client, and with too many waiting.
    package var passedThrough: UInt64 = 0
    package var unattended: UInt64 = 0
    package var crowded: UInt64 = 0
    /// Nanoseconds that operations have waited.
    package var totalWait: UInt64 = 0

    package init() {}
  }

  /// What a client says about a message.
  package struct Reply: Hashable, Sendable {
    package let type: Int
    package let sequence: UInt64
    package let verdict: SyncVerdict?

    package init(type: Int, sequence: UInt64, verdict: SyncVerdict?) {
      self.type = type
      self.sequence = sequence
      self.verdict = verdict
    }
  }

  /// How time passes here; tests bring their own.
  package struct Clock: Sendable {
    /// Nanoseconds.
    let now: @Sendable () -> UInt64
    /// False when the milliseconds have passed without a signal.
    let wait: @Sendable (KernelEvent, Int) -> Bool

    package init(now: @escaping @Sendable () -> UInt64, wait: @escaping @Sendable (KernelEvent, Int) -> Bool) {
      self.now = now
      self.wait = wait
    }

    package static let system = Clock(now: { MonotonicClock.nanoseconds() }, wait: { $0.wait(milliseconds: $1) })
  }

  private enum End {
    case answered(SyncVerdict)
    case clientGone
  }

  private struct Waiter {
    let type: SyncMessageType
    let clientID: UInt64
    let event: KernelEvent
    var end: End?
  }

  private struct State {
    var configuration = SyncConfiguration()
    var client: SyncClient?
    /// Of the client now; each registration has its own.
    var clientID: UInt64 = 0
    var waiters: [UInt64: Waiter] = [:]
    var sequence: UInt64 = 0
    var timeoutsInARow = 0
    /// Nobody is asked before this moment.
    var retryAt: UInt64 = 0
    var answered: Set<SyncProcess> = []
    /// Those in `answered`, oldest first from `next` on.
    var ring: [SyncProcess] = []
    var next = 0
    var counters: [SyncMessageType: Counters] = [:]

    mutating func remember(_ process: SyncProcess) {
      guard answered.insert(process).inserted else { return }
      if ring.count < SyncChannel.mostRemembered {
        ring.append(process)
      } else {
        answered.remove(ring[next])
        ring[next] = process
        next = (next + 1) % ring.count
      }
    }
  }

  /// Of the ten threads that serve a mount.
  package static let mostWaiting = 6
  /// Processes that were answered for. One that is forgotten is asked about once more, no worse.
  package static let mostRemembered = 1024
  /// Bytes; longer messages lose what is long in them, for a packet has a limit.
  package static let longestMessage = 60_000

  private let state = Mutex(State())
  private let encoder: EventEncoder
  private let clock: Clock

  package init(encoder: EventEncoder, clock: Clock = .system) {
    self.encoder = encoder
    self.clock = clock
  }

  // MARK: The requests' side

  /// Tells the client of an operation of `process` that has not happened yet, and waits for its answer.
  package func ask(
    _ notification: consuming Notification, by process: SyncProcess, type: SyncMessageType = .registryEventSync
  ) -> SyncOutcome {
    let event = KernelEvent()
    let begin = clock.now()
    let question = state.withLock { state -> Result<(UInt64, SyncClient, SyncConfiguration), Unasked> in
      func unasked(_ outcome: SyncOutcome, _ counter: WritableKeyPath<Counters, UInt64>) -> Unasked {
        state.counters[type, default: Counters()][keyPath: counter] += 1
        return Unasked(outcome: outcome)
      }
      let silence = state.configuration.onTimeout
      if state.answered.contains(process) { return .failure(Unasked(outcome: .notAsked)) }
      guard let client = state.client else { return .failure(unasked(.unattended(silence), \.unattended)) }
      // It would wait for itself.
      if client.processID == process.processID { return .failure(Unasked(outcome: .notAsked)) }
      guard begin >= state.retryAt else { return .failure(unasked(.passedThrough(silence), \.passedThrough)) }
      guard state.waiters.count < Self.mostWaiting else { return .failure(unasked(.crowded(silence), \.crowded)) }
      state.sequence += 1
      state.waiters[state.sequence] = Waiter(type: type, clientID: state.clientID, event: event)
      state.counters[type, default: Counters()].sent += 1
      return .success((state.sequence, client, state.configuration))
    }
    let (sequence, client, configuration): (UInt64, SyncClient, SyncConfiguration)
    switch question {
    case .failure(let unasked): return unasked.outcome
    case .success(let asked): (sequence, client, configuration) = asked
    }

    let message = message(notification, type, sequence, client)
    let failure = message.count <= Self.longestMessage ? client.send(message) : EMSGSIZE
    if failure == 0 { wait(event, milliseconds: configuration.timeout, since: begin) }
    let now = clock.now()
    return state.withLock { state in
      let waiter = state.waiters.removeValue(forKey: sequence)
      var counters = state.counters[type, default: Counters()]
      defer { state.counters[type] = counters }
      counters.totalWait &+= now &- begin
      switch waiter?.end {
      case .answered(let verdict):
        state.timeoutsInARow = 0
        state.remember(process)
        if verdict == .deny { counters.denied += 1 }
        return .answered(verdict)
      case .clientGone:
        return .unattended(configuration.onTimeout)
      case nil where failure != 0:
        counters.errors += 1
        counters.lastError = failure
        return .unattended(configuration.onTimeout)
      case nil:
        counters.timeouts += 1
        state.timeoutsInARow += 1
        if state.timeoutsInARow >= state.configuration.timeoutsUntilPassThrough {
          state.timeoutsInARow = 0
          state.retryAt = now &+ UInt64(state.configuration.retryAfter) &* 1_000_000
        }
        return .timedOut(configuration.onTimeout)
      }
    }
  }

  private struct Unasked: Error { let outcome: SyncOutcome }

  private func wait(_ event: KernelEvent, milliseconds: Int, since begin: UInt64) {
    let passed = Int(clamping: (clock.now() &- begin) / 1_000_000)
    _ = clock.wait(event, max(1, milliseconds - passed))
  }

  private func message(
    _ notification: consuming Notification, _ type: SyncMessageType, _ sequence: UInt64, _ client: SyncClient
  ) -> [UInt8] {
    var notification = notification
    notification.sequence = sequence
    notification.isSynchronous = true
    let head = #"{"message":"\#(type.name)","type":\#(type.rawValue),"sequence":\#(sequence),"#
      + #""deciding":\#(client.isDeciding),"event":"#
    func bytes(_ event: Event) -> [UInt8] { Array(head.utf8) + encoder.line(for: event).dropLast() + [0x7D] }
    let event = Event.registry(notification)
    let whole = bytes(event)
    return whole.count > Self.longestMessage ? bytes(event.shortened) : whole
  }

  // MARK: The client's side

  /// Makes `client` the one that is asked; its number for `receive` and `detach`. Nil while another one is.
  package func attach(_ client: SyncClient) -> UInt64? {
    state.withLock { state in
      guard state.client == nil else { return nil }
      state.client = client
      state.clientID += 1
      // A new client has timed out on nobody.
      state.timeoutsInARow = 0
      state.retryAt = 0
      return state.clientID
    }
  }

  /// The client is gone; those who wait for it go on by `onTimeout`.
  package func detach(_ clientID: UInt64, errno: Int32) {
    let events = state.withLock { state -> [KernelEvent] in
      guard state.client != nil, state.clientID == clientID else { return [] }
      state.client = nil
      var events: [KernelEvent] = []
      for (sequence, waiter) in state.waiters where waiter.end == nil {
        state.waiters[sequence]?.end = .clientGone
        state.counters[waiter.type, default: Counters()].errors += 1
        state.counters[waiter.type, default: Counters()].lastError = errno
        events.append(waiter.event)
      }
      return events
    }
    for event in events { event.signal() }
  }

  /// Takes a client's answer. False when nothing waits for just this: another type, a sequence that was never sent, has its answer
  /// or has timed out, or no verdict from a client that decides.
  package func receive(_ reply: Reply, from clientID: UInt64) -> Bool {
    let event = state.withLock { state -> KernelEvent? in
      guard state.clientID == clientID, let client = state.client, let waiter = state.waiters[reply.sequence],
        waiter.clientID == clientID, waiter.end == nil, waiter.type.rawValue == reply.type,
        !client.isDeciding || reply.verdict != nil
      else {
        let type = SyncMessageType(rawValue: reply.type) ?? .registryEventSync
        state.counters[type, default: Counters()].mismatches += 1
        return nil
      }
      state.counters[waiter.type, default: Counters()].received += 1
      state.waiters[reply.sequence]?.end = .answered(client.isDeciding ? reply.verdict ?? .deny : .allow)
      return waiter.event
    }
    event?.signal()
    return event != nil
  }

  // MARK: Settings and totals

  /// Holds for the next question; those who wait already wait as they began.
  package var configuration: SyncConfiguration {
    get { state.withLock { $0.configuration } }
    set { state.withLock { $0.configuration = newValue } }
  }

  /// New rules give every process its bit again.
  package func rearm() {
    state.withLock { state in
      state.answered = []
      state.ring = []
      state.next = 0
    }
  }

  package func counters(of type: SyncMessageType) -> Counters { state.withLock { $0.counters[type] ?? Counters() } }

  /// The client now: its process and whether it decides; and how many operations wait.
  package var standing: (client: (processID: Int32, isDeciding: Bool)?, waiting: Int) {
    state.withLock { ($0.client.map { ($0.processID, $0.isDeciding) }, $0.waiters.count) }
  }
}
