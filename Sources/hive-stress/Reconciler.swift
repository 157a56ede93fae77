internal import Executive
internal import HiveStorage
internal import Synchronization

/// Brings a hive's log to its file on a thread of its own, as the lazy flusher of a mount does.
final class Reconciler: Sendable {
  private let wanted = KernelEvent()
  private let done = KernelEvent()
  private let state = Mutex(State())
  private let thread = Mutex<SystemThread?>(nil)

  private struct State {
    var isStopping = false
    var failure: HiveError?
  }

  init(_ hive: PushLock<Hive>) {
    let started = SystemThread(name: "reconciler") { [self] in
      while true {
        wanted.wait()
        if state.withLock({ $0.isStopping }) { return }
        do throws(HiveError) { try Hive.reconcile(behind: hive) } catch { state.withLock { $0.failure = error } }
        done.signal()
      }
    }
    thread.withLock { $0 = started }
  }

  /// Begins, where nothing is under way, and with `isAwaited` waits for an end. Throws what went wrong before.
  func reconcile(isAwaited: Bool) throws(HiveError) {
    wanted.signal()
    if isAwaited { done.wait() }
    if let failure = state.withLock({ $0.failure }) { throw failure }
  }

  func stop() {
    state.withLock { $0.isStopping = true }
    wanted.signal()
    thread.withLock { $0?.join() }
  }
}
