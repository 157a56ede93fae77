internal import Executive
internal import Synchronization

/// The bounded queue between those who judge and those who write down, with a thread of its own that serves the sinks.
///
/// `enqueue` never waits for a sink: a full queue drops its oldest and counts it, and the sequence numbers, given at
/// enqueue from 1 up, show the gap. At any moment `enqueued` = `delivered` + `dropped` + those waiting or in a sink's hands.
/// The sinks share the thread: a slow one delays the others, nobody else.
package final class NotificationQueue: Sendable {
  private struct State: Sendable {
    var ring: EventRing
    var enqueued: UInt64 = 0
    var delivered: UInt64 = 0
    var dropped: UInt64 = 0
    /// The thread sleeps, or is about to: the next `enqueue` must wake it.
    var isIdle = false
    /// Deliver what waits, take nothing new, then end.
    var isStopping = false
  }

  private enum Step {
    case deliver(Event)
    case sleep
    case stop
  }

  private let state: Mutex<State>
  private let sinks: [any NotificationSink]
  private let wake = KernelEvent()
  private let finished = KernelEvent()
  private let thread = Mutex<SystemThread?>(nil)

  /// Starts the thread, which holds the queue until `shutdown`. Where the system has no thread to give, notifications wait
  /// (and the oldest are dropped) until `shutdown` delivers them itself.
  package init(capacity: Int = 16384, sinks: [any NotificationSink]) {
    state = Mutex(State(ring: EventRing(capacity: capacity)))
    self.sinks = sinks
    let started = SystemThread(name: "notifications") { self.drain() }
    thread.withLock { $0 = started }
  }

  /// Totals since the start.
  package var counters: (enqueued: UInt64, delivered: UInt64, dropped: UInt64) {
    state.withLock { ($0.enqueued, $0.delivered, $0.dropped) }
  }

  package func enqueue(_ notification: consuming Notification) { enqueue(.registry(notification)) }

  /// Gives `event` its sequence number and queues it, in constant time. After `shutdown` it is dropped and counted. What happens to
  /// processes takes half of the room at most: anybody can start as many as he likes, and must not push out what was refused to him.
  package func enqueue(_ event: consuming Event) {
    var queued: Event? = consume event
    // What gives way is freed after the lock.
    let (displaced, mustWake) = state.withLock { state -> (Event?, Bool) in
      guard var event = queued.take() else { return (nil, false) }
      state.enqueued += 1
      event.sequence = state.enqueued
      guard !state.isStopping, !event.isPlentiful || state.ring.count < state.ring.capacity / 2 else {
        state.dropped += 1
        return (event, false)
      }
      let displaced = state.ring.push(event)
      if displaced != nil { state.dropped += 1 }
      defer { state.isIdle = false }
      return (displaced, state.isIdle)
    }
    _ = displaced
    if mustWake { wake.signal() }
  }

  /// Delivers what is queued, for `milliseconds` at most, then ends the thread; what still waits then is dropped and
  /// counted. A thread that a sink holds on to is left behind. Later calls do nothing.
  package func shutdown(milliseconds: Int) {
    let wasStopping = state.withLock { state in
      defer { state.isStopping = true }
      return state.isStopping
    }
    guard !wasStopping else { return }
    guard let thread = thread.withLock({ $0.take() }) else { return drain() }
    wake.signal()
    if finished.wait(milliseconds: max(0, milliseconds)) {
      thread.join()
    } else {
      thread.detach()
      // The ring is emptied one by one, so that the thread, should it come back, finds nothing and ends.
      while let abandoned = state.withLock({ state -> Event? in
        let oldest = state.ring.pop()
        if oldest != nil { state.dropped += 1 }
        return oldest
      }) {
        _ = abandoned
      }
    }
  }

  /// The thread's body.
  private func drain() {
    var lastSequence: UInt64 = 0
    while true {
      switch nextStep() {
      case .deliver(let event):
        // Only the oldest are dropped, so what is missing before this one is exactly what the queue dropped.
        let dropped = event.sequence - lastSequence - 1
        lastSequence = event.sequence
        for sink in sinks { sink.deliver(event, dropped: dropped) }
        state.withLock { $0.delivered += 1 }
      case .sleep:
        for sink in sinks { sink.flush() }
        wake.wait()
      case .stop:
        for sink in sinks { sink.flush() }
        finished.signal()
        return
      }
    }
  }

  private func nextStep() -> Step {
    state.withLock { state in
      if let oldest = state.ring.pop() { return .deliver(oldest) }
      if state.isStopping { return .stop }
      state.isIdle = true
      return .sleep
    }
  }
}
