internal import Glibc
internal import Synchronization

/// What a client is told as fast as it reads, and no faster.
protocol ControlFeed: AnyObject, Sendable {
  var hasMessages: Bool { get }
  /// The next one; nil when none waits.
  func next() -> [UInt8]?
  /// The client is gone.
  func stop()
}

/// One client of the control socket. Anybody may send through it; only the socket's thread receives, feeds and closes.
final class ControlConnection: Sendable {
  let peer: ControlPeer
  /// -1 once closed, so that a late sender does not write into another's file.
  private let descriptor: Mutex<Int32>
  private let output = Mutex(Output())
  /// Makes the thread look who has output.
  let wake: @Sendable () -> Void

  private struct Output {
    var feed: (any ControlFeed)?
    /// Taken from the feed when the client had no room after all.
    var unsent: [UInt8]?
  }

  /// Messages of a feed that go out in one round; then others have their turn.
  private static let messagesPerRound = 64

  init(peer: ControlPeer, descriptor: Int32, wake: @escaping @Sendable () -> Void = {}) {
    self.peer = peer
    self.descriptor = Mutex(descriptor)
    self.wake = wake
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

  /// From now on the client is told what the feed has; one for each connection.
  func attach(_ feed: any ControlFeed) { output.withLock { $0.feed = feed } }

  var hasOutput: Bool { output.withLock { $0.unsent != nil || $0.feed?.hasMessages == true } }

  /// Sends of the feed what the client has room for; false when the client is gone.
  func sendOutput() -> Bool {
    for _ in 0..<Self.messagesPerRound {
      guard let message = output.withLock({ $0.unsent.take() ?? $0.feed?.next() }) else { return true }
      let failure = descriptor.withLock { $0 >= 0 ? SequencedSocket.send(message, to: $0) : EPIPE }
      if failure == EAGAIN || failure == ENOBUFS {
        output.withLock { $0.unsent = message }
        return true
      }
      if failure != 0 { return false }
    }
    return true
  }

  func close() {
    descriptor.withLock { descriptor in
      if descriptor >= 0 { Glibc.close(descriptor) }
      descriptor = -1
    }
  }
}
