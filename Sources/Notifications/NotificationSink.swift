/// Where events end: a file, a journal, a socket. Both methods are called on the queue's own thread, never together.
///
/// A sink that cannot take an event loses it, counts it and says so with the next one it can take; it throws
/// nothing, because nobody who could act on it is listening.
package protocol NotificationSink: AnyObject, Sendable {
  /// Takes one event. `dropped` is how many the queue dropped between the one delivered before and this one.
  func deliver(_ event: borrowing Event, dropped: UInt64)
  /// Nothing more is queued for now: what was kept back goes out.
  func flush()
}
