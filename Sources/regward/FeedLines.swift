internal import Notifications
internal import RegistryFileSystem

/// The events of a mount as lines, as a log in the default format has them, for one reader of `/%ctl/events`.
final class FeedLines: EventStream {
  private let feed: EventFeed
  private let queue: NotificationQueue
  private let encoder: EventEncoder

  init(_ feed: EventFeed, _ queue: NotificationQueue, _ encoder: EventEncoder) {
    self.encoder = encoder
    self.feed = feed
    self.queue = queue
  }

  func nextLine() -> [UInt8]? {
    guard let (queued, dropped) = feed.next() else { return nil }
    return Array(encoder.line(for: queued.event, loss: .init(dropped: dropped)))
  }

  var isEnded: Bool { feed.isClosed }

  func close() { queue.unsubscribe(feed) }
}
