internal import Executive
package import HiveStorage
internal import Synchronization

/// Brings the logs to the primary files by itself: when nothing was changed for some seconds, and when a log is large
/// (CmpLazyFlush).
package final class LazyFlusher: Sendable {
  private let registry: Registry
  private let stopping = Atomic<Bool>(false)
  private let thread = Mutex<SystemThread?>(nil)

  /// `interval` is in milliseconds; `onFailure` is told of every lazy flush that failed, which is tried again at the next.
  package init(
    registry: Registry, interval: Int = 5000, onFailure: @escaping @Sendable (HiveError) -> Void
  ) {
    self.registry = registry
    guard !registry.isReadOnly else { return }
    let started = SystemThread(name: "lazy-flusher") { [self] in
      var flushed: UInt64 = 0
      var seen: UInt64 = 0
      while true {
        let isDue = registry.flushWanted.wait(milliseconds: interval)
        guard !stopping.load(ordering: .acquiring) else { return }
        let changed = registry.changes.load(ordering: .acquiring)
        defer { seen = changed }
        // Idle: as it was at the last look, and not flushed since.
        guard changed != flushed, isDue || changed == seen else { continue }
        do throws(HiveError) {
          try registry.reconcile()
          flushed = changed
        } catch { onFailure(error) }
      }
    }
    thread.withLock { $0 = started }
  }

  /// Stops the thread; what is not flushed by then stays so.
  package func stop() {
    stopping.store(true, ordering: .releasing)
    registry.flushWanted.signal()
    thread.withLock { thread in
      thread?.join()
      thread = nil
    }
  }
}
