internal import Executive
internal import Glibc
internal import Notifications
internal import Synchronization

/// logrotate's SIGUSR2: the log is opened anew. Made before any thread that should not get the signal: it is blocked from
/// here on and waited for by a thread of its own.
final class LogReopening: Sendable {
  private let isStopping = Atomic(false)
  private let thread = Mutex<SystemThread?>(nil)

  init(_ sink: FileSink) {
    var signals = Self.signals
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    let started = SystemThread(name: "log-reopener") { [self] in
      var signals = Self.signals
      while true {
        var number: Int32 = 0
        guard sigwait(&signals, &number) == 0, !isStopping.load(ordering: .acquiring) else { return }
        sink.reopen()
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
    return signals
  }
}
