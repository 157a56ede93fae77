internal import Executive
internal import Synchronization

/// One reader of the queue, at a pace of its own: what it has not read yet waits here, bounded.
///
/// Who enqueues never waits for it. When a list is full its oldest give way, and the reader is told how many with the next event
/// that it gets. At any moment `enqueued` = `delivered` + `dropped` + those that wait.
package final class EventFeed: Sendable {
  package struct Counters: Hashable, Sendable {
    package var enqueued: UInt64 = 0
    package var delivered: UInt64 = 0
    package var dropped: UInt64 = 0
  }

  private struct State {
    var lists: EventLists
    var counters = Counters()
    /// Dropped since the last event that was read.
    var untold: UInt64 = 0
    /// The reader found nothing: the next event must wake it.
    var isIdle = true
    /// Nothing new is taken.
    var isClosed = false
  }

  private let state: Mutex<State>
  private let arrival = KernelEvent()
  private let onArrival: @Sendable () -> Void

  /// `onArrival` is called when something waits after the reader found nothing, on the thread of who enqueued: it must not wait.
  init(capacity: Int, starvationLimit: Int, onArrival: @escaping @Sendable () -> Void = {}) {
    state = Mutex(State(lists: EventLists(capacity: capacity, starvationLimit: starvationLimit)))
    self.onArrival = onArrival
  }

  package var counters: Counters { state.withLock { $0.counters } }

  package var hasEvents: Bool { state.withLock { $0.lists.count > 0 } }

  /// Takes an event in constant time; after `close` it is dropped and counted. What had to give way is the caller's to free. `lost`
  /// events were dropped on their way to all feeds.
  func offer(_ event: QueuedEvent, lost: UInt64 = 0) -> [QueuedEvent] {
    let (displaced, wakes) = state.withLock { state -> ([QueuedEvent], Bool) in
      state.counters.enqueued += 1 + lost
      state.counters.dropped += lost
      state.untold += lost
      guard !state.isClosed else {
        state.counters.dropped += 1
        return ([], false)
      }
      let displaced = state.lists.push(event)
      state.counters.dropped += UInt64(displaced.count)
      state.untold += UInt64(displaced.count)
      defer { if state.lists.count > 0 { state.isIdle = false } }
      return (displaced, state.isIdle && state.lists.count > 0)
    }
    if wakes { wake() }
    return displaced
  }

  /// The next event, and how many were dropped since the one before; nil when none waits. Does not wait.
  package func next() -> (event: QueuedEvent, dropped: UInt64)? {
    state.withLock { state in
      guard let event = state.lists.pop() else {
        state.isIdle = true
        return nil
      }
      defer { state.untold = 0 }
      state.counters.delivered += 1
      return (event, state.untold)
    }
  }

  /// Waits until something may be there or the feed is closed, at most `milliseconds` (nil: without bound); a closed one is not waited
  /// for. For one reader thread, after `next` found nothing.
  package func wait(milliseconds: Int? = nil) {
    // The signal of the end may have been used up while there was still something to read.
    if !isClosed { arrival.wait(milliseconds: milliseconds) }
  }

  /// Nothing new is taken from now on; what waits can still be read. The queue forgets the feed.
  package func close() {
    state.withLock { $0.isClosed = true }
    wake()
  }

  package var isClosed: Bool { state.withLock { $0.isClosed } }

  /// Drops all that waits; how many.
  @discardableResult
  func abandon() -> UInt64 {
    var count: UInt64 = 0
    // One by one: freeing them takes time, and nobody should wait for it under the lock.
    while let abandoned = state.withLock({ state -> QueuedEvent? in
      let event = state.lists.pop()
      if event != nil { state.counters.dropped += 1 }
      return event
    }) {
      _ = abandoned
      count += 1
    }
    return count
  }

  private func wake() {
    arrival.signal()
    onArrival()
  }
}
