import Executive
import Synchronization
import Testing

@testable import Notifications

@Suite(.timeLimit(.minutes(1))) struct EventFeedTests {
  private func enqueue(_ count: Int, to queue: NotificationQueue, urgent: Bool = false) {
    for _ in 0..<count {
      queue.enqueue(Samples.notification(.postSetValueKey, key: "k", value: "v", denied: urgent))
    }
  }

  private func numbers(_ feed: EventFeed) -> [UInt64] {
    var numbers: [UInt64] = []
    while let next = feed.next() { numbers.append(next.event.event.sequence) }
    return numbers
  }

  /// Each reads at its own pace, and from when it came.
  @Test func subscribersHavePositionsOfTheirOwn() throws {
    let queue = NotificationQueue(sinks: [])
    let first = try #require(queue.subscribe())
    enqueue(3, to: queue)
    let second = try #require(queue.subscribe())
    #expect(first.next()?.event.event.sequence == 1)
    enqueue(2, to: queue)
    #expect(numbers(second) == [4, 5])
    #expect(numbers(first) == [2, 3, 4, 5])
    queue.unsubscribe(second)
    enqueue(1, to: queue)
    #expect(numbers(second) == [])
    #expect(numbers(first) == [6])
  }

  @Test func whoDoesNotReadLosesTheOldestAndIsToldHowMany() throws {
    let queue = NotificationQueue(sinks: [])
    let feed = try #require(queue.subscribe(capacity: 4))
    enqueue(10, to: queue)
    enqueue(3, to: queue, urgent: true)
    let next = try #require(feed.next())
    #expect(next.event.event.sequence == 11 && next.dropped == 6)
    #expect(feed.next()?.dropped == 0)
    #expect(feed.counters == EventFeed.Counters(enqueued: 13, delivered: 2, dropped: 6))
    #expect(numbers(feed) == [13, 7, 8, 9, 10])
  }

  @Test func aReaderIsWokenOnceForWhatCameWhileItSlept() throws {
    let wakes = Atomic(0)
    let queue = NotificationQueue(sinks: [])
    let feed = try #require(queue.subscribe { wakes.add(1, ordering: .relaxed) })
    enqueue(5, to: queue)
    #expect(wakes.load(ordering: .relaxed) == 1)
    _ = numbers(feed)
    enqueue(1, to: queue)
    #expect(wakes.load(ordering: .relaxed) == 2)
  }

  @Test func waitingEndsWithAnEventAndWithTheEnd() throws {
    let queue = NotificationQueue(sinks: [])
    let feed = try #require(queue.subscribe())
    let seen = Mutex<[UInt64]>([])
    let thread = try #require(
      SystemThread(name: "reader") {
        while !feed.isClosed || feed.hasEvents {
          while let next = feed.next() { seen.withLock { $0.append(next.event.event.sequence) } }
          feed.wait()
        }
      })
    enqueue(100, to: queue)
    queue.shutdown(milliseconds: 1000)
    thread.join()
    #expect(seen.withLock { $0 } == Array(1...100))
  }

  @Test func aClosedFeedIsNotWaitedFor() throws {
    let queue = NotificationQueue(sinks: [])
    let feed = try #require(queue.subscribe())
    enqueue(1, to: queue)
    feed.close()
    // The one signal there was.
    feed.wait(milliseconds: 10_000)
    feed.wait()
    feed.wait()
    #expect(numbers(feed) == [1])
  }

  @Test func subscribersAreBounded() {
    let queue = NotificationQueue(sinks: [])
    let feeds = (0..<NotificationQueue.mostSubscribers).compactMap { _ in queue.subscribe() }
    #expect(feeds.count == NotificationQueue.mostSubscribers)
    #expect(queue.subscribe() == nil)
    queue.unsubscribe(feeds[0])
    #expect(queue.subscribe() != nil)
    queue.shutdown(milliseconds: 0)
    #expect(queue.subscribe() == nil)
  }
}
