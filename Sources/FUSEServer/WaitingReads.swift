internal import CFuse3
internal import Executive
internal import Glibc
internal import RegistryFileSystem
internal import Synchronization

/// Reads of `/%ctl/events` that found nothing: they are answered when something has come, when the reader is interrupted, and at the end.
/// None of libfuse's threads waits for that.
final class WaitingReads: Sendable {
  private struct Waiting: @unchecked Sendable {
    // SAFETY: libfuse lets any thread answer a request, once: whoever takes it out of `requests` answers it, under the lock, so that
    // nobody has it in hand when it is gone.
    let handle: fuse_req_t
    let session: EventSession
    let size: Int
  }

  private struct State {
    var requests: [Waiting] = []
    var isEnding = false
  }

  private let state = Mutex(State())
  private let arrival: KernelEvent
  private let thread = Mutex<SystemThread?>(nil)

  init(arrival: KernelEvent) { self.arrival = arrival }

  /// Answers the request, now or later.
  func serve(_ handle: fuse_req_t, _ session: EventSession, size: Int) {
    start()
    // First, so that no interrupt comes unseen; while the request is in `requests` it is there.
    fuse_req_interrupt_func(handle, { handle, data in
      guard let handle, let data else { return }
      // SAFETY: the pointer is this object, which the session holds until libfuse has ended.
      Unmanaged<WaitingReads>.fromOpaque(data).takeUnretainedValue().interrupt(handle)
    }, Unmanaged.passUnretained(self).toOpaque())
    let waiting = Waiting(handle: handle, session: session, size: size)
    state.withLock { state in
      if let bytes = waiting.session.read(waiting.size) {
        Self.answer(waiting.handle, bytes)
      } else if state.isEnding {
        Self.answer(waiting.handle, [])
      } else if fuse_req_interrupted(waiting.handle) != 0 {
        fuse_reply_err(waiting.handle, EINTR)
      } else {
        state.requests.append(waiting)
      }
    }
  }

  /// Ends every read that waits, and the thread.
  func stop() {
    state.withLock { state in
      state.isEnding = true
      for waiting in state.requests { Self.answer(waiting.handle, []) }
      state.requests = []
    }
    arrival.signal()
    thread.withLock { thread in
      thread?.join()
      thread = nil
    }
  }

  private func interrupt(_ handle: fuse_req_t) {
    let place = UInt(bitPattern: handle)
    state.withLock { state in
      guard let index = state.requests.firstIndex(where: { UInt(bitPattern: $0.handle) == place }) else { return }
      fuse_reply_err(state.requests.remove(at: index).handle, EINTR)
    }
  }

  private func start() {
    thread.withLock { thread in
      guard thread == nil, !state.withLock({ $0.isEnding }) else { return }
      thread = SystemThread(name: "event-readers") { [self] in
        while true {
          arrival.wait(milliseconds: nil)
          let isEnding = state.withLock { state in
            state.requests.removeAll { waiting in
              guard let bytes = waiting.session.read(waiting.size) else { return false }
              Self.answer(waiting.handle, bytes)
              return true
            }
            return state.isEnding
          }
          if isEnding { return }
        }
      }
    }
  }

  private static func answer(_ handle: fuse_req_t, _ bytes: [UInt8]) {
    _ = bytes.withUnsafeBytes { buffer in
      fuse_reply_buf(handle, buffer.baseAddress?.assumingMemoryBound(to: CChar.self), buffer.count)
    }
  }
}
