internal import Executive
internal import Synchronization

/// The thread that promotes values which nobody has saved; it sleeps while there are none.
package final class UnsavedPromoter: Sendable {
  private let fileSystem: RegistryFileSystem
  private let stopping = Atomic<Bool>(false)
  private let thread = Mutex<SystemThread?>(nil)

  package init(_ fileSystem: RegistryFileSystem) {
    self.fileSystem = fileSystem
    let started = SystemThread(name: "promoter") { [self] in
      var due: UInt64?
      while true {
        let wait = due.map { Int(($0 &- min($0, fileSystem.now())) / 1_000_000) + 1 }
        fileSystem.promotionWanted.wait(milliseconds: wait)
        guard !stopping.load(ordering: .acquiring) else { return }
        due = fileSystem.promoteDue()
      }
    }
    thread.withLock { $0 = started }
  }

  /// Stops the thread, and promotes what is left: to be called when the last request was answered, and before the hives' last commit.
  package func stop() {
    stopping.store(true, ordering: .releasing)
    fileSystem.promotionWanted.signal()
    thread.withLock { thread in
      thread?.join()
      thread = nil
    }
    fileSystem.promoteAll()
  }
}
