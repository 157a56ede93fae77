internal import Executive
internal import Sigma
internal import Synchronization

/// Asks Sigma rules about events, on a thread of its own, and passes on what is to be told.
final class SigmaDetector: NotificationSink {
  let name = "sigma"
  private let currentControlSet: UInt32?
  private let pass: @Sendable (consuming Event, _ lost: UInt64) -> Void
  private struct State {
    var counters = SinkCounters()
    /// Dropped before an event that nobody was told of.
    var untold: UInt64 = 0
  }
  private let state = Mutex(State())

  init(currentControlSet: UInt32?, pass: @escaping @Sendable (consuming Event, _ lost: UInt64) -> Void) {
    self.currentControlSet = currentControlSet
    self.pass = pass
  }

  var counters: SinkCounters { state.withLock { $0.counters } }

  func deliver(_ event: borrowing Event, dropped: UInt64) {
    guard let told = detected(copy event) else {
      state.withLock { $0.untold += dropped }
      return
    }
    let lost = state.withLock { state in
      defer { state.untold = 0 }
      state.counters.accepted += 1
      return state.untold + dropped
    }
    pass(told, lost)
  }

  func flush() {}

  /// The event with the rules that fire; nil when none does and nobody else asks for it.
  private func detected(_ event: Event) -> Event? {
    guard case .registry(var event) = event, let rules = event.detector else { return event }
    event.detector = nil
    if let seen = SigmaEvent(event, currentControlSet: currentControlSet) {
      let fired = rules.matches(seen)
      event.detections += fired.filter { rule in !event.detections.contains { $0 === rule } }
    }
    return event.isOnlyForDetection && event.detections.isEmpty ? nil : .registry(event)
  }
}
