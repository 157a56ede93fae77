internal import Executive
package import HiveStorage
internal import Synchronization

/// Brings changes to the disk: on request, and by itself some seconds after a change (CmpLazyFlush).
package final class LazyFlusher: Sendable {
  private let registry: Registry
  private let interval: Int
  private let wake = KernelEvent()
  private let stopping = Atomic<Bool>(false)
  private let thread = Mutex<SystemThread?>(nil)

  /// `interval` is in milliseconds; `onFailure` is told of every lazy flush that failed, which is tried again at the next.
  package init(
    registry: Registry, interval: Int = 5000, onFailure: @escaping @Sendable (HiveError) -> Void
  ) {
    self.registry = registry
    self.interval = interval
    guard !registry.isReadOnly else { return }
    let started = SystemThread(name: "lazy-flusher") { [self] in
      var flushed: UInt64 = 0
      while !stopping.load(ordering: .acquiring) {
        wake.wait(milliseconds: interval)
        let changed = registry.changes.load(ordering: .acquiring)
        guard changed != flushed, !stopping.load(ordering: .acquiring) else { continue }
        do throws(HiveError) {
          try registry.commit()
          flushed = changed
        } catch { onFailure(error) }
      }
    }
    thread.withLock { $0 = started }
  }

  /// Stops the thread; what is not flushed by then stays so.
  package func stop() {
    stopping.store(true, ordering: .releasing)
    wake.signal()
    thread.withLock { thread in
      thread?.join()
      thread = nil
    }
  }
}

extension Registry {
  /// Makes every change so far survive power loss. What fails of one hive does not keep the others from it; the first failure is thrown.
  package func commit() throws(HiveError) {
    guard !isReadOnly else { return }
    var failure: HiveError?
    for loaded in hives.withLock({ $0 }) {
      do throws(HiveError) { try commit(loaded) } catch { failure = failure ?? error }
    }
    if let failure { throw failure }
  }

  func commit(_ loaded: LoadedHive) throws(HiveError) {
    guard !loaded.isNamespace, !isReadOnly else { return }
    try loaded.lock.withExclusive { hive throws(HiveError) in
      guard hive.hasUncommittedChanges else { return }
      try hive.commit()
    }
  }
}
