internal import Executive
internal import Sigma
internal import Synchronization

/// Between those who judge and those who write down: hands every event to the feed of each sink and of each subscriber.
///
/// `enqueue` never waits for a reader: it takes constant time, under one lock, for each feed. Sequence numbers are given from 1 up.
/// A feed tells urgent events first, so numbers may come late; one that never comes was dropped, and counted.
package final class NotificationQueue: Sendable {
  private struct State: Sendable {
    var enqueued: UInt64 = 0
    var subscribers: [EventFeed] = []
    /// Where events wait for Sigma rules to be asked; from the first that wants it on, all of them, so that they stay in order.
    var detection: SinkLane?
    var isStopping = false
  }

  /// Subscribers at a time: each costs every event a little.
  package static let mostSubscribers = 32

  private let state = Mutex(State())
  private let lanes: [SinkLane]
  private let capacity: Int
  private let starvationLimit: Int
  private let scope: EventScope
  private let currentControlSet: UInt32?

  /// Starts a thread for each sink, which holds it until `shutdown`. `capacity` is that of a feed's list; `currentControlSet` as for
  /// `EventEncoder`.
  package init(
    capacity: Int = 16384, starvationLimit: Int = 8, scope: EventScope = .matched, currentControlSet: UInt32? = nil,
    sinks: [any NotificationSink]
  ) {
    self.currentControlSet = currentControlSet
    self.capacity = capacity
    self.starvationLimit = starvationLimit
    self.scope = scope
    lanes = sinks.map { SinkLane($0, feed: EventFeed(capacity: capacity, starvationLimit: starvationLimit)) }
  }

  /// Totals since the start: events that were given a number, and, of all sinks together, what they got and what gave way.
  package var counters: (enqueued: UInt64, delivered: UInt64, dropped: UInt64) {
    let feeds = lanes.map(\.feed.counters)
    return (
      state.withLock { $0.enqueued }, feeds.reduce(0) { $0 + $1.delivered }, feeds.reduce(0) { $0 + $1.dropped }
    )
  }

  /// Of each sink: what its feed has counted, and what it has itself.
  package var sinks: [(name: String, feed: EventFeed.Counters, sink: SinkCounters)] {
    lanes.map { ($0.sink.name, $0.feed.counters, $0.sink.counters) }
  }

  package func enqueue(_ notification: consuming Notification) { enqueue(.registry(notification)) }

  /// Gives `event` its sequence number and hands it to every feed, after the Sigma rules that it brings were asked on a thread of their
  /// own; one that is not asked for is nothing.
  package func enqueue(_ event: consuming Event) {
    guard scope.admits(event) else { return }
    var event: Event? = consume event
    // Freed after the lock.
    var displaced: [QueuedEvent] = []
    state.withLock { state in
      guard let event = event.take() else { return }
      if let detection = detection(for: event, &state) {
        displaced = detection.feed.offer(QueuedEvent(event))
      } else if !event.isOnlyForDetection {
        displaced = number(event, lost: 0, &state)
      }
    }
    _ = consume displaced
  }

  /// Behind the Sigma rules.
  private func pass(_ event: consuming Event, lost: UInt64) {
    var event: Event? = consume event
    var displaced: [QueuedEvent] = []
    state.withLock { state in
      guard let event = event.take() else { return }
      displaced = number(event, lost: lost, &state)
    }
    _ = consume displaced
  }

  /// What had to give way is freed by the caller, after the lock; under it every feed has the events in the order of their numbers.
  private func number(_ event: consuming Event, lost: UInt64, _ state: inout State) -> [QueuedEvent] {
    var numbered = event
    state.enqueued += 1
    numbered.sequence = state.enqueued
    guard !lanes.isEmpty || !state.subscribers.isEmpty else { return [] }
    let queued = QueuedEvent(numbered)
    var displaced: [QueuedEvent] = []
    for lane in lanes { displaced += lane.feed.offer(queued, lost: lost) }
    for feed in state.subscribers { displaced += feed.offer(queued, lost: lost) }
    return displaced
  }

  /// Where the event waits for Sigma rules; nil when it needs none, or nobody would read what they say.
  private func detection(for event: borrowing Event, _ state: inout State) -> SinkLane? {
    if let detection = state.detection { return detection }
    guard event.detector != nil, !state.isStopping, !lanes.isEmpty || !state.subscribers.isEmpty else { return nil }
    let detection = SinkLane(
      SigmaDetector(currentControlSet: currentControlSet) { [weak self] in self?.pass($0, lost: $1) },
      feed: EventFeed(capacity: capacity, starvationLimit: starvationLimit))
    state.detection = detection
    return detection
  }

  /// A reader from now on; nil when there are too many, or after `shutdown`. `onArrival`: see `EventFeed`.
  package func subscribe(capacity: Int = 4096, onArrival: @escaping @Sendable () -> Void = {}) -> EventFeed? {
    state.withLock { state in
      state.subscribers.removeAll(where: \.isClosed)
      guard !state.isStopping, state.subscribers.count < Self.mostSubscribers else { return nil }
      let feed = EventFeed(
        capacity: min(capacity, self.capacity), starvationLimit: starvationLimit, onArrival: onArrival)
      state.subscribers.append(feed)
      return feed
    }
  }

  /// Ends a subscription.
  package func unsubscribe(_ feed: EventFeed) {
    state.withLock { $0.subscribers.removeAll { $0 === feed } }
    feed.close()
  }

  /// Takes nothing new, and delivers to all sinks at once what is queued, for `milliseconds` at most; how many were left over then,
  /// dropped and counted. A thread that a sink holds on to is left behind. Later calls do nothing.
  @discardableResult
  package func shutdown(milliseconds: Int) -> UInt64 {
    let detection = state.withLock { state -> SinkLane?? in
      guard !state.isStopping else { return nil }
      state.isStopping = true
      return state.detection
    }
    guard let detection else { return 0 }
    let begin = MonotonicClock.nanoseconds()
    func left() -> Int { milliseconds - Int(clamping: (MonotonicClock.nanoseconds() &- begin) / 1_000_000) }
    detection?.feed.close()
    let undetected = detection?.finish(milliseconds: left()) ?? 0
    let subscribers = state.withLock { state in
      defer { state.subscribers = [] }
      return state.subscribers
    }
    for feed in subscribers + lanes.map(\.feed) { feed.close() }
    return lanes.reduce(undetected) { $0 + $1.finish(milliseconds: left()) }
  }
}
