import Executive
import Glibc
import Synchronization
import Testing

/// What was called, in order.
private final class Calls: Sendable {
  private let list = Mutex<[String]>([])
  func note(_ call: String) { list.withLock { $0.append(call) } }
  var all: [String] { list.withLock { $0 } }
}

/// The macros take no closures that capture.
private func register(
  on object: CallbackObject<String>, _ callback: @escaping CallbackObject<String>.Callback
) throws -> CallbackObject<String>.Registration {
  let registration = object.register(callback)
  return try #require(registration)
}

private func start(_ body: @escaping @Sendable () -> Void) throws -> SystemThread {
  let thread = SystemThread(name: "callback-test", body)
  return try #require(thread)
}

@Suite("Callback object (wdfilter.md 6.1)")
struct CallbackObjectTests {
  private let object = CallbackObject<String>(name: "test", allowsSeveral: true)
  private let calls = Calls()

  private func register(_ name: String) throws -> CallbackObject<String>.Registration {
    try ExecutiveTests.register(on: object) { [calls] first, second in calls.note("\(name) \(first) \(second ?? "-")") }
  }

  @Test func aNameIsMadeOnceAndFoundAfterwards() throws {
    let directory = CallbackDirectory<String>()
    #expect(refusal(directory, "A", create: false) == .objectNameNotFound)
    let made = try directory.open("A", create: true, allowsSeveral: false)
    #expect(try directory.open("A", create: false) === made)
    // Who comes second does not change what is there.
    #expect(try directory.open("A", create: true, allowsSeveral: true) === made)
    #expect(!made.allowsSeveral)
    #expect(try directory.open("B", create: true) !== made)
    #expect(refusal(directory, "", create: true) == .objectNameInvalid)
  }

  private func refusal(_ directory: CallbackDirectory<String>, _ name: String, create: Bool) -> NTStatus? {
    do throws(NTStatus) {
      _ = try directory.open(name, create: create)
      return nil
    } catch { return error }
  }

  @Test func allAreCalledInTheOrderOfRegistrationWithBothArguments() throws {
    _ = try register("a")
    let second = try register("b")
    _ = try register("c")
    object.notify(7, "x")
    object.unregister(second)
    _ = try register("b")
    object.notify(0, nil)
    #expect(calls.all == ["a 7 x", "b 7 x", "c 7 x", "a 0 -", "c 0 -", "b 0 -"])
  }

  @Test func anObjectForOneGivesTheSecondNone() throws {
    let one = CallbackObject<String>(name: "one", allowsSeveral: false)
    let first = try ExecutiveTests.register(on: one) { _, _ in }
    let second = one.register { _, _ in }
    #expect(second == nil)
    one.unregister(first)
    _ = try ExecutiveTests.register(on: one) { _, _ in }
  }

  @Test func unregisteringTwiceOrElsewhereDoesNothing() throws {
    let a = try register("a")
    let other = CallbackObject<String>(name: "other", allowsSeveral: true)
    other.unregister(a)
    object.notify(1, nil)
    object.unregister(a)
    object.unregister(a)
    #expect(!object.hasRegistrations)
    object.notify(2, nil)
    #expect(calls.all == ["a 1 -"])
  }

  @Test func whoRegistersDuringANotificationIsCalledByTheNext() throws {
    let once = Atomic<Bool>(false)
    _ = try ExecutiveTests.register(on: object) { [object, calls] _, _ in
        if !once.exchange(true, ordering: .relaxed) { _ = object.register { first, _ in calls.note("late \(first)") } }
      }
    object.notify(1, nil)
    #expect(calls.all == [])
    object.notify(2, nil)
    #expect(calls.all == ["late 2"])
  }

  @Test func unregisteringWaitsForTheCallInFlight() throws {
    let entered = KernelEvent()
    let mayLeave = KernelEvent()
    let left = Atomic<Bool>(false)
    let slow = try ExecutiveTests.register(on: object) { _, _ in
        entered.signal()
        mayLeave.wait(milliseconds: 10_000)
        left.store(true, ordering: .releasing)
      }
    let notifier = try start { [object] in object.notify(1, nil) }
    try #require(entered.wait(milliseconds: 10_000))
    let leftAtReturn = Atomic<Bool>(false)
    let returned = KernelEvent()
    let remover = try start { [object] in
        object.unregister(slow)
        leftAtReturn.store(left.load(ordering: .acquiring), ordering: .releasing)
        returned.signal()
      }
    #expect(!returned.wait(milliseconds: 100))
    mayLeave.signal()
    #expect(returned.wait(milliseconds: 10_000))
    let hadLeft = leftAtReturn.load(ordering: .acquiring)
    #expect(hadLeft)
    notifier.join()
    remover.join()
  }

  @Test func aCallbackMayTakeItselfAndThoseAfterItAway() throws {
    let registrations = Mutex<[CallbackObject<String>.Registration]>([])
    let first = try ExecutiveTests.register(on: object) { [object, calls] _, _ in
        calls.note("first")
        for registration in registrations.withLock({ $0 }) { object.unregister(registration) }
      }
    let second = try register("second")
    registrations.withLock { $0 = [first, second] }
    object.notify(1, nil)
    object.notify(2, nil)
    #expect(calls.all == ["first"])
  }

  /// Without the rule for calls from inside, the two would wait for each other's call to end.
  @Test func twoCallbacksMayTakeEachOtherAwayAtTheSameTime() throws {
    let others = Mutex<[CallbackObject<String>.Registration?]>([nil, nil])
    let inside = Atomic<Int>(0)
    let objects = [object, CallbackObject<String>(name: "other", allowsSeveral: true)]
    for index in 0..<2 {
      let registration = try ExecutiveTests.register(on: objects[index]) { _, _ in
          inside.add(1, ordering: .acquiringAndReleasing)
          while inside.load(ordering: .acquiring) < 2 { sched_yield() }
          if let other = others.withLock({ $0[1 - index] }) { objects[1 - index].unregister(other) }
        }
      others.withLock { $0[index] = registration }
    }
    let done = [KernelEvent(), KernelEvent()]
    let threads = try (0..<2).map { index in
      try start {
          objects[index].notify(1, nil)
          done[index].signal()
        }
    }
    let finished = done.map { $0.wait(milliseconds: 10_000) }
    #expect(finished == [true, true])
    if finished == [true, true] { threads.forEach { $0.join() } }
    #expect(objects.allSatisfy { !$0.hasRegistrations })
  }

  @Test func noCallComesAfterUnregisteringWhileOthersNotify() throws {
    let stop = Atomic<Bool>(false)
    let threads = try (0..<2).map { _ in
      try start { [object] in
          while !stop.load(ordering: .relaxed) { object.notify(1, nil) }
        }
    }
    let late = Atomic<Int>(0)
    for _ in 0..<300 {
      let isGone = FlagBox()
      let registration = try ExecutiveTests.register(on: object) { _, _ in if isGone.flag.load(ordering: .acquiring) { late.add(1, ordering: .relaxed) } }
      sched_yield()
      object.unregister(registration)
      isGone.flag.store(true, ordering: .releasing)
    }
    stop.store(true, ordering: .relaxed)
    threads.forEach { $0.join() }
    let lateCalls = late.load(ordering: .relaxed)
    #expect(lateCalls == 0)
  }
}

private final class FlagBox: Sendable { let flag = Atomic<Bool>(false) }
