internal import Notifications

/// A client of the control socket as a reader of the mount's events: what it has not read yet waits in a feed of its own.
final class EventSubscription: ControlFeed {
  static let messageName = "EventNotification"

  private let queue: NotificationQueue
  private let feed: EventFeed
  private let encoder: EventEncoder

  /// Nil when there are too many readers. `wake` is called when something waits after nothing did.
  init?(_ queue: NotificationQueue, _ encoder: EventEncoder, wake: @escaping @Sendable () -> Void) {
    guard let feed = queue.subscribe(onArrival: wake) else { return nil }
    self.queue = queue
    self.encoder = encoder
    self.feed = feed
  }

  func stop() { queue.unsubscribe(feed) }

  var hasMessages: Bool { feed.hasEvents }

  /// `{"message":"EventNotification","event":{…}}`, the event as it stands in a log; one too long for a packet without its data.
  func next() -> [UInt8]? {
    guard let (queued, dropped) = feed.next() else { return nil }
    func packet(_ event: Event) -> [UInt8] {
      let line = encoder.line(for: event, loss: .init(dropped: dropped)).dropLast()
      return Array(#"{"message":"\#(Self.messageName)","event":"#.utf8) + line + [0x7D]
    }
    let whole = packet(queued.event)
    return whole.count <= SequencedSocket.longestPacket ? whole : packet(queued.event.shortened)
  }
}
