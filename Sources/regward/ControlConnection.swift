internal import Glibc
internal import Synchronization

/// One client of the control socket. Anybody may send through it; only the socket's thread receives and closes.
final class ControlConnection: Sendable {
  let peer: ControlPeer
  /// -1 once closed, so that a late sender does not write into another's file.
  private let descriptor: Mutex<Int32>

  init(peer: ControlPeer, descriptor: Int32) {
    self.peer = peer
    self.descriptor = Mutex(descriptor)
  }

  /// Sends without waiting; an errno, 0 when it went out. A client that does not read is cut off: its connection ends.
  @discardableResult
  func send(_ message: [UInt8]) -> Int32 {
    descriptor.withLock { descriptor in
      guard descriptor >= 0 else { return EPIPE }
      let failure = SequencedSocket.send(message, to: descriptor)
      // The thread sees it and closes.
      if failure != 0 { shutdown(descriptor, Int32(SHUT_RDWR)) }
      return failure
    }
  }

  func close() {
    descriptor.withLock { descriptor in
      if descriptor >= 0 { Glibc.close(descriptor) }
      descriptor = -1
    }
  }
}
