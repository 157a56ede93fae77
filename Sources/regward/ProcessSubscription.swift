internal import Executive
internal import Notifications
internal import ProcessTable
internal import Synchronization

/// A client of the control socket as a subscriber of the process callback: what it has not read yet waits here, bounded.
///
/// Who tells never waits. When the bound is reached the oldest give way; the client is told how many with the next that it reads,
/// and their numbers show the gap.
final class ProcessSubscription: ControlFeed {
  static let messageName = "ProcessNotification"
  /// Characters of a command line; with every one escaped a packet still has room. The log has the whole.
  private static let longestCommandLine = 4096

  private struct State: Sendable {
    var waiting: EventRing<Event>
    var sequence: UInt64 = 0
    /// Of what was read last.
    var lastRead: UInt64 = 0
  }

  private let state: Mutex<State>
  private let wake: @Sendable () -> Void
  private let processes: ProcessTable
  private let registration = Mutex<CallbackObject<ProcessNotification>.Registration?>(nil)

  /// `wake` is called when something waits after nothing did.
  init(_ processes: ProcessTable, capacity: Int = 4096, wake: @escaping @Sendable () -> Void) {
    state = Mutex(State(waiting: EventRing(capacity: capacity)))
    self.wake = wake
    self.processes = processes
  }

  /// Begins. False when the callback object takes nobody any more.
  func start() -> Bool {
    let made = processes.subscribe { [weak self] _, notification in
      if let notification { self?.note(notification) }
    }
    registration.withLock { $0 = made }
    return made != nil
  }

  /// Nothing is noted after it has returned.
  func stop() {
    if let registration = registration.withLock({ $0.take() }) { processes.processCallback.unregister(registration) }
  }

  private func note(_ notification: ProcessNotification) {
    var event = Event.process(ProcessEvent(notification, at: .now()))
    let wakes = state.withLock { state in
      state.sequence += 1
      event.sequence = state.sequence
      let wasEmpty = state.waiting.count == 0
      _ = state.waiting.push(event)
      return wasEmpty
    }
    if wakes { wake() }
  }

  private static func shortened(_ event: Event) -> Event {
    guard case .process(var told) = event, let text = told.process.commandLine, text.utf8.count > longestCommandLine
    else { return event }
    told.process.commandLine = String(String.UnicodeScalarView(text.unicodeScalars.prefix(longestCommandLine)))
    return .process(told)
  }

  var hasMessages: Bool { state.withLock { $0.waiting.count > 0 } }

  /// `{"message":"ProcessNotification","sequence":N,"event":{…}}`, the event as it stands in the log, its loss included.
  func next() -> [UInt8]? {
    guard
      let (event, lost) = state.withLock({ state -> (Event, UInt64)? in
        guard let event = state.waiting.pop().map(Self.shortened) else { return nil }
        defer { state.lastRead = event.sequence }
        return (event, event.sequence - state.lastRead - 1)
      })
    else { return nil }
    let head = #"{"message":"\#(Self.messageName)","sequence":\#(event.sequence),"event":"#
    return Array(head.utf8) + EventEncoder().line(for: event, loss: .init(dropped: lost)).dropLast() + [0x7D]
  }
}
