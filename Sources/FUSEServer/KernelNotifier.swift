internal import CFuse3
internal import Executive
internal import Glibc
internal import RegistryFileSystem
internal import Synchronization

/// Tells the kernel what it must not remember any longer.
///
/// 1. What takes no lock of the kernel's is told at once, from the thread of the request.
/// 2. Pages are dropped by a thread of its own: the kernel waits there for reads in flight, which wait for our workers.
/// 3. A deferred reply is sent exactly once, also when the session ends.
final class KernelNotifier: KernelCache {
  /// The session as libfuse knows it; nil before and after its life.
  private struct Session: @unchecked Sendable {
    // SAFETY: libfuse's notify functions may be called from any thread; `Server` detaches before it destroys the session, and waits
    // for who is inside.
    let pointer: OpaquePointer
  }

  private struct State: Sendable {
    var session: Session?
    var waiting: [(nodeID: UInt64, reply: DeferredReply?)] = []
    var isBusy = false
    var isStopping = false
  }

  private let state = Mutex(State())
  /// Held while the session is used by a thread that does not end with it: one that promotes.
  private let use = RundownReference()
  private let wake = KernelEvent()
  private let idle = KernelEvent()
  private let isEpochSupported = Atomic(true)
  private let thread = Mutex<SystemThread?>(nil)

  /// The kernel can be told to look up every name again (FUSE_NOTIFY_INC_EPOCH, Linux 6.16). Where it cannot, it must not
  /// keep names at all.
  var canDropNames: Bool { isEpochSupported.load(ordering: .relaxed) }

  func forbidCachedNames() { isEpochSupported.store(false, ordering: .relaxed) }

  /// False when the system has no thread to give.
  func start(_ session: OpaquePointer) -> Bool {
    state.withLock { $0.session = Session(pointer: session) }
    let started = SystemThread(name: "page-dropper") { self.run() }
    thread.withLock { $0 = started }
    return started != nil
  }

  /// Waits until the deferred replies are sent, `milliseconds` at most: a reader in flight may have no worker any more.
  func drain(milliseconds: Int) {
    let isIdle = state.withLock { $0.waiting.isEmpty && !$0.isBusy }
    if !isIdle { idle.wait(milliseconds: milliseconds) }
  }

  /// Ends the thread, after the unmount has let go of every reader.
  func stop() {
    state.withLock { $0.isStopping = true }
    wake.signal()
    thread.withLock { $0.take() }?.join()
    use.waitForRelease()
    state.withLock { $0.session = nil }
  }

  // MARK: From the thread of a request

  func dropNames() {
    guard use.acquire() else { return }
    defer { use.release() }
    guard canDropNames, let session = state.withLock({ $0.session }) else { return }
    // struct fuse_out_header: the notification's code stands where an answer has its error.
    let increaseEpoch: Int32 = 8
    var header: (length: UInt32, code: Int32, unique: UInt64) = (16, increaseEpoch, 0)
    let descriptor = fuse_session_fd(session.pointer)
    let written = withUnsafeBytes(of: &header) { Glibc.write(descriptor, $0.baseAddress, $0.count) }
    if written < 0, errno == EINVAL { forbidCachedNames() }
  }

  func dropAttributes(of nodeID: UInt64) {
    guard use.acquire() else { return }
    defer { use.release() }
    guard let session = state.withLock({ $0.session }) else { return }
    // A negative offset: attributes only, which takes no page lock. A node that the kernel has forgotten is an error of no
    // interest.
    fuse_lowlevel_notify_inval_inode(session.pointer, nodeID, -1, 0)
  }

  func dropPages(of nodeID: UInt64) {
    state.withLock { $0.waiting.append((nodeID, nil)) }
    wake.signal()
  }

  /// Drops a node's cached pages, then sends `reply`.
  func dropPages(of nodeID: UInt64, then reply: DeferredReply) {
    state.withLock { $0.waiting.append((nodeID, reply)) }
    wake.signal()
  }

  // MARK: The thread

  private func run() {
    while true {
      let (batch, session, isStopping) = state.withLock { state in
        let batch = state.waiting
        state.waiting.removeAll()
        state.isBusy = !batch.isEmpty
        return (batch, state.session, state.isStopping)
      }
      if batch.isEmpty {
        idle.signal()
        if isStopping { return }
        wake.wait()
        continue
      }
      for (nodeID, reply) in batch {
        if let session { fuse_lowlevel_notify_inval_inode(session.pointer, nodeID, 0, 0) }
        reply?.send()
      }
    }
  }
}
