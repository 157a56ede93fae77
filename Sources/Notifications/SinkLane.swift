internal import Executive
internal import Synchronization

/// A sink with its feed and the thread that serves it, which no other sink shares.
final class SinkLane: Sendable {
  let sink: any NotificationSink
  let feed: EventFeed
  private let finished = KernelEvent()
  private let thread = Mutex<SystemThread?>(nil)

  init(_ sink: any NotificationSink, feed: EventFeed) {
    self.sink = sink
    self.feed = feed
    let started = SystemThread(name: "notifications") { self.drain() }
    thread.withLock { $0 = started }
  }

  /// The thread's body: until the feed is closed and empty.
  private func drain() {
    while true {
      while let (queued, dropped) = feed.next() { sink.deliver(queued.event, dropped: dropped) }
      sink.flush()
      // Closed first, then looked: nothing is taken after that.
      if feed.isClosed, !feed.hasEvents { break }
      feed.wait()
    }
    finished.signal()
  }

  /// Once the feed is closed: waits for what is left, `milliseconds` at most. A thread that the sink holds on to is left behind, and
  /// what waited for it is dropped; how many. Where the system had no thread to give, the caller delivers.
  func finish(milliseconds: Int) -> UInt64 {
    guard let thread = thread.withLock({ $0.take() }) else {
      drain()
      return 0
    }
    if finished.wait(milliseconds: max(0, milliseconds)) {
      thread.join()
      return 0
    }
    thread.detach()
    return feed.abandon()
  }
}
