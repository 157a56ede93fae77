internal import Glibc

/// A reader-writer lock that owns what it guards (EX_PUSH_LOCK): many shared holders or one exclusive.
///
/// Not recursive. The guarded value is reachable only inside the two closures.
package final class PushLock<State: ~Copyable>: @unchecked Sendable {
  // SAFETY: `state` is touched only while `lock` is held, shared for reading and exclusive for writing; both are
  // allocated once, so their addresses are stable for the C library, and freed once in deinit.
  private let lock: UnsafeMutablePointer<pthread_rwlock_t>
  private let state: UnsafeMutablePointer<State>

  package init(_ initial: consuming sending State) {
    lock = .allocate(capacity: 1)
    state = .allocate(capacity: 1)
    state.initialize(to: initial)
    let failure = pthread_rwlock_init(lock, nil)
    precondition(failure == 0, "pthread_rwlock_init failed with \(failure)")
  }

  deinit {
    pthread_rwlock_destroy(lock)
    lock.deallocate()
    state.deinitialize(count: 1)
    state.deallocate()
  }

  package func withShared<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing State) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let failure = pthread_rwlock_rdlock(lock)
    assert(failure == 0, "the lock is held by this thread")
    defer { pthread_rwlock_unlock(lock) }
    return try body(state.pointee)
  }

  package func withExclusive<Result: ~Copyable, Failure: Error>(
    _ body: (inout State) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let failure = pthread_rwlock_wrlock(lock)
    assert(failure == 0, "the lock is held by this thread")
    defer { pthread_rwlock_unlock(lock) }
    return try body(&state.pointee)
  }
}
