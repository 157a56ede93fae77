/// What a sink has counted. Those that its feed dropped are not among them.
package struct SinkCounters: Hashable, Sendable {
  /// Events that are where they should be.
  package var accepted: UInt64 = 0
  /// Events that the sink could not take.
  package var lost: UInt64 = 0
  /// System calls that failed.
  package var errors: UInt64 = 0

  package init(accepted: UInt64 = 0, lost: UInt64 = 0, errors: UInt64 = 0) {
    self.accepted = accepted
    self.lost = lost
    self.errors = errors
  }
}

/// Where events end: a file, a journal, a socket. `deliver` and `flush` are called on the sink's own thread, never together; it may
/// wait there, and who makes the events does not.
///
/// A sink that cannot take an event loses it, counts it and says so with the next one it can take; it throws
/// nothing, because nobody who could act on it is listening.
package protocol NotificationSink: AnyObject, Sendable {
  /// For people, as it was asked for.
  var name: String { get }
  var counters: SinkCounters { get }
  /// Takes one event. `dropped` is how many its feed dropped between the one delivered before and this one.
  func deliver(_ event: borrowing Event, dropped: UInt64)
  /// Nothing more is queued for now: what was kept back goes out.
  func flush()
  /// Goes over to a new file of the same name, where there is one (logrotate's USR2). Returns at once, on any thread.
  func reopen()
}

extension NotificationSink {
  package func reopen() {}
}
