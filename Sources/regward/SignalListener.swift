internal import Executive
internal import Glibc
internal import Synchronization

/// The signals that a daemon is run by: SIGHUP, the policy is read again; SIGUSR2, logrotate's, the log is opened anew. Made before
/// any thread that should not get them: they are blocked from here on and waited for by a thread of its own.
final class SignalListener: Sendable {
  private let isStopping = Atomic(false)
  private let thread = Mutex<SystemThread?>(nil)

  init(onHangUp: @escaping @Sendable () -> Void, onUser2: @escaping @Sendable () -> Void) {
    var signals = Self.signals
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    let started = SystemThread(name: "signals") { [self] in
      var signals = Self.signals
      while true {
        var number: Int32 = 0
        guard sigwait(&signals, &number) == 0, !isStopping.load(ordering: .acquiring) else { return }
        if number == SIGHUP { onHangUp() } else { onUser2() }
      }
    }
    thread.withLock { $0 = started }
  }

  func stop() {
    isStopping.store(true, ordering: .releasing)
    // To ourselves, so that the thread sees the flag.
    kill(getpid(), SIGUSR2)
    thread.withLock { $0.take() }?.join()
  }

  private static var signals: sigset_t {
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGUSR2)
    sigaddset(&signals, SIGHUP)
    return signals
  }
}
