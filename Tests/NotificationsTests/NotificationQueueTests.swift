import Executive
import Glibc
import Notifications
import Synchronization
import Testing

/// Remembers what it is given; while `gate` is there and closed, it holds the queue's thread.
final class RecordingSink: NotificationSink {
  struct Record: Sendable {
    let sequence: UInt64
    let dropped: UInt64
  }
  let records = Mutex<[Record]>([])
  let flushes = Atomic(0)
  let entered = KernelEvent()
  let name = "recording"
  var counters: SinkCounters { SinkCounters(accepted: UInt64(records.withLock { $0.count })) }
  let gate: KernelEvent?

  init(gate: KernelEvent? = nil) { self.gate = gate }

  func deliver(_ event: borrowing Event, dropped: UInt64) {
    let record = Record(sequence: event.sequence, dropped: dropped)
    let isFirst = records.withLock { records in
      records.append(record)
      return records.count == 1
    }
    if isFirst, let gate {
      entered.signal()
      gate.wait()
    }
  }

  func flush() { flushes.add(1, ordering: .relaxed) }
}

@Suite(.timeLimit(.minutes(1))) struct NotificationQueueTests {
  private func enqueue(_ count: Int, to queue: NotificationQueue) {
    for _ in 0..<count { queue.enqueue(Samples.notification(.postSetValueKey, key: "k", value: "v")) }
  }

  @Test func deliversEverythingInOrderToEverySink() {
    let sinks = [RecordingSink(), RecordingSink()]
    let queue = NotificationQueue(capacity: 1000, sinks: sinks)
    enqueue(500, to: queue)
    queue.shutdown(milliseconds: 30_000)
    for sink in sinks {
      let records = sink.records.withLock { $0 }
      #expect(records.map(\.sequence) == Array(1...500))
      #expect(records.allSatisfy { $0.dropped == 0 })
      #expect(sink.flushes.load(ordering: .relaxed) > 0)
    }
    #expect(queue.counters == (500, 1000, 0))
  }

  /// A storm of processes leaves room for what is refused meanwhile.
  @Test func processesTakeHalfOfTheRoomAtMost() {
    let gate = KernelEvent()
    let sink = RecordingSink(gate: gate)
    let queue = NotificationQueue(capacity: 16, sinks: [sink])
    enqueue(1, to: queue)
    sink.entered.wait()
    let process = ProcessEvent(
      time: Samples.time, kind: .created, operationType: 1, process: Samples.process(), isTrusted: false)
    for _ in 0..<100 { queue.enqueue(.process(process)) }
    enqueue(8, to: queue)
    gate.signal()
    queue.shutdown(milliseconds: 5000)
    // The first, eight of the storm, and all that came after it; what was dropped meanwhile is told with the next.
    #expect(sink.records.withLock { $0 }.map(\.sequence) == [1] + Array(2...9) + Array(102...109))
    #expect(sink.records.withLock { $0 }.map(\.dropped) == [0, 92] + Array(repeating: 0, count: 15))
    #expect(queue.counters.dropped == 92)
  }

  @Test func deliversWithoutShutdown() {
    let sink = RecordingSink(gate: KernelEvent())
    let queue = NotificationQueue(sinks: [sink])
    enqueue(1, to: queue)
    #expect(sink.entered.wait(milliseconds: 30_000))
    sink.gate?.signal()
    queue.shutdown(milliseconds: 30_000)
  }

  @Test func aBlockedSinkHoldsNobodyUpAndTheGapIsTold() {
    let gate = KernelEvent()
    let sink = RecordingSink(gate: gate)
    let queue = NotificationQueue(capacity: 16, sinks: [sink])
    enqueue(1, to: queue)
    #expect(sink.entered.wait(milliseconds: 30_000))
    // The sink holds number 1. If enqueue waited for it, this would not come back: the gate is still closed.
    enqueue(100, to: queue)
    #expect(queue.counters == (101, 1, 84))
    gate.signal()
    queue.shutdown(milliseconds: 30_000)
    let records = sink.records.withLock { $0 }
    // The newest 16 survive, and the first of them tells of the 84 before it.
    #expect(records.map(\.sequence) == [1] + Array(86...101))
    #expect(records.map(\.dropped) == [0, 84] + Array(repeating: 0, count: 15))
    #expect(queue.counters == (101, 17, 84))
  }

  @Test func manyProducersLoseNothingUncounted() {
    let sink = RecordingSink()
    let queue = NotificationQueue(capacity: 32, sinks: [sink])
    let threads = (0..<4).compactMap { index in
      SystemThread(name: "producer \(index)") {
        for _ in 0..<5000 { queue.enqueue(Samples.notification(.postDeleteKey, key: "k")) }
      }
    }
    for thread in threads { thread.join() }
    queue.shutdown(milliseconds: 30_000)
    let counters = queue.counters
    let records = sink.records.withLock { $0 }
    #expect(counters.enqueued == 20_000)
    #expect(counters.delivered + counters.dropped == counters.enqueued)
    #expect(records.count == Int(counters.delivered))
    #expect(records.reduce(0) { $0 + $1.dropped } == counters.dropped)
    #expect(zip(records, records.dropFirst()).allSatisfy { $0.sequence < $1.sequence })
  }

  @Test func shutdownIsBounded() {
    let gate = KernelEvent()
    let sink = RecordingSink(gate: gate)
    let queue = NotificationQueue(capacity: 16, sinks: [sink])
    enqueue(1, to: queue)
    #expect(sink.entered.wait(milliseconds: 30_000))
    enqueue(5, to: queue)
    // Comes back although the sink never does; what waited is counted.
    queue.shutdown(milliseconds: 50)
    #expect(queue.counters == (6, 1, 5))
    gate.signal()
  }

  @Test func afterShutdownEverythingIsDropped() {
    let sink = RecordingSink()
    let queue = NotificationQueue(sinks: [sink])
    queue.shutdown(milliseconds: 30_000)
    enqueue(3, to: queue)
    queue.shutdown(milliseconds: 30_000)
    #expect(queue.counters == (3, 0, 3))
    #expect(sink.records.withLock { $0.isEmpty })
  }

  /// A sink that never comes back costs the others nothing: neither events nor time at the end.
  @Test func aSinkThatHangsHoldsNoOtherUp() {
    let gate = KernelEvent()
    let hanging = RecordingSink(gate: gate)
    let working = RecordingSink()
    let queue = NotificationQueue(capacity: 16, sinks: [hanging, working])
    enqueue(1, to: queue)
    #expect(hanging.entered.wait(milliseconds: 30_000))
    for _ in 0..<100 {
      enqueue(1, to: queue)
      while queue.sinks[1].feed.delivered < queue.counters.enqueued { sched_yield() }
    }
    #expect(queue.sinks.map(\.feed.dropped) == [84, 0])
    #expect(queue.shutdown(milliseconds: 50) == 16)
    #expect(working.records.withLock { $0.map(\.sequence) } == Array(1...101))
    #expect(queue.sinks.map(\.feed.dropped) == [100, 0])
    gate.signal()
  }

  /// 6.10: what was refused is told before what was only watched.
  @Test func refusalsAreToldFirst() {
    let gate = KernelEvent()
    let sink = RecordingSink(gate: gate)
    let queue = NotificationQueue(capacity: 16, starvationLimit: 2, sinks: [sink])
    enqueue(1, to: queue)
    #expect(sink.entered.wait(milliseconds: 30_000))
    enqueue(2, to: queue)
    for _ in 0..<4 { queue.enqueue(Samples.notification(.preSetValueKey, key: "k", value: "v", denied: true)) }
    gate.signal()
    queue.shutdown(milliseconds: 30_000)
    #expect(sink.records.withLock { $0.map(\.sequence) } == [1, 4, 5, 2, 6, 7, 3])
    #expect(sink.records.withLock { $0.allSatisfy { $0.dropped == 0 } })
  }

  @Test(arguments: EventScope.allCases)
  func theScopeSaysWhatBecomesAnEvent(scope: EventScope) {
    let sink = RecordingSink()
    let queue = NotificationQueue(scope: scope, sinks: [sink])
    enqueue(1, to: queue)
    queue.enqueue(Samples.notification(.preSetValueKey, key: "k", value: "v", denied: true))
    queue.enqueue(
      .process(
        ProcessEvent(time: Samples.time, kind: .created, operationType: 1, process: Samples.process(), isTrusted: false)))
    queue.shutdown(milliseconds: 30_000)
    #expect(sink.records.withLock { $0.count } == (scope == .denied ? 2 : 3))
    #expect(queue.counters.enqueued == (scope == .denied ? 2 : 3))
  }
}
