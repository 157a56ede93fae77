internal import Synchronization

/// Does work that may not come back for long, each on a thread of its own, and waits for it for a bounded time.
package final class BoundedWorker: Sendable {
  /// Threads that may be at work, those included that nobody waits for any more.
  private let limit: Int
  private let running = Mutex(0)

  package init(limit: Int = 16) { self.limit = limit }

  /// What `work` gives; nil when it has not come back after `milliseconds`, when too many others have not, and when the system has
  /// no thread to give. Work that comes too late is thrown away.
  package func run<Result: Sendable>(milliseconds: Int, _ work: @escaping @Sendable () -> Result?) -> Result? {
    let mayRun = running.withLock { running in
      guard running < limit else { return false }
      running += 1
      return true
    }
    guard mayRun else { return nil }
    let result = Answer<Result>()
    let thread = SystemThread(name: "bounded-worker") { [self] in
      let value = work()
      result.value.withLock { $0 = value }
      running.withLock { $0 -= 1 }
      result.isThere.signal()
    }
    guard let thread else {
      running.withLock { $0 -= 1 }
      return nil
    }
    guard result.isThere.wait(milliseconds: milliseconds) else {
      thread.detach()
      return nil
    }
    thread.join()
    return result.value.withLock { $0 }
  }

  private final class Answer<Value: Sendable>: Sendable {
    let value = Mutex<Value?>(nil)
    let isThere = KernelEvent()
  }
}
