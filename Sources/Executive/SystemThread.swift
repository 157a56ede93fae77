internal import Glibc

/// A thread of the daemon's own (PsCreateSystemThread): runs `body` once, with every signal blocked, until it returns.
///
/// Owners stop their thread by their own flag and `KernelEvent`, then `join`.
package final class SystemThread: Sendable {
  private let thread: pthread_t

  /// `name` is what `ps -L` shows, 15 bytes at most. Nil when the system has no thread to give.
  package init?(name: String, _ body: @escaping @Sendable () -> Void) {
    let start = Unmanaged.passRetained(Start(name: name, body: body))
    var everything = sigset_t()
    var before = sigset_t()
    sigfillset(&everything)
    pthread_sigmask(SIG_BLOCK, &everything, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    var thread = pthread_t()
    let failure = pthread_create(
      &thread, nil,
      { argument in
        guard let argument else { return nil }
        let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        // pthread_setname_np is hidden from Swift; this is what it does.
        let comm = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
        if comm >= 0 {
          _ = write(comm, start.name, min(15, start.name.utf8.count))
          close(comm)
        }
        start.body()
        return nil
      }, start.toOpaque())
    guard failure == 0 else {
      start.release()
      return nil
    }
    self.thread = thread
  }

  /// Waits for the body's end; call it once.
  package func join() { pthread_join(thread, nil) }

  /// Instead of `join`, for a thread that nobody waits for.
  package func detach() { pthread_detach(thread) }

  private final class Start: Sendable {
    let name: String
    let body: @Sendable () -> Void
    init(name: String, body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }
}

/// Something to wait for with a bound (KEVENT, auto-reset): one `signal` lets one `wait` go on, also when it came first.
package final class KernelEvent: @unchecked Sendable {
  // SAFETY: `signalled` is touched only under `mutex`; both C objects have stable addresses and are freed once.
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private var signalled = false

  package init() {
    mutex = .allocate(capacity: 1)
    condition = .allocate(capacity: 1)
    pthread_mutex_init(mutex, nil)
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    pthread_cond_init(condition, &attributes)
    pthread_condattr_destroy(&attributes)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  package func signal() {
    pthread_mutex_lock(mutex)
    signalled = true
    pthread_cond_signal(condition)
    pthread_mutex_unlock(mutex)
  }

  /// Waits for a signal, at most `milliseconds` (nil: without bound); false when the time ran out.
  @discardableResult
  package func wait(milliseconds: Int? = nil) -> Bool {
    var deadline = timespec()
    if let milliseconds {
      clock_gettime(CLOCK_MONOTONIC, &deadline)
      deadline.tv_sec += milliseconds / 1000
      deadline.tv_nsec += milliseconds % 1000 * 1_000_000
      if deadline.tv_nsec >= 1_000_000_000 {
        deadline.tv_sec += 1
        deadline.tv_nsec -= 1_000_000_000
      }
    }
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while !signalled {
      if milliseconds == nil {
        pthread_cond_wait(condition, mutex)
      } else if pthread_cond_timedwait(condition, mutex, &deadline) == ETIMEDOUT {
        break
      }
    }
    defer { signalled = false }
    return signalled
  }
}
