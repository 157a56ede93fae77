internal import Executive
internal import Glibc

/// The socket of a sink, connected when something is to be sent, and again after it was lost.
///
/// Belongs to the sink's thread. A receiver that is slow is waited for `patience` milliseconds; one that is gone is tried again not
/// before `retryAfter` milliseconds have passed.
struct SinkSocket: ~Copyable {
  private let address: SinkAddress
  private let patience: Int32
  private let retryAfter: UInt64
  private var descriptor: Int32 = -1
  private var retryAt: UInt64 = 0
  private var lastFailure: Int32 = 0
  /// The rest of a message that a stream has taken in part: it goes out before anything else.
  private var remainder: [UInt8] = []
  /// Messages that a stream had begun when it was lost, since somebody asked.
  private var torn: UInt64 = 0

  init(_ address: SinkAddress, patience: Int32 = 200, retryAfter: Int = 1000) {
    self.address = address
    self.patience = patience
    self.retryAfter = UInt64(max(0, retryAfter)) * 1_000_000
  }

  deinit { if descriptor >= 0 { Glibc.close(descriptor) } }

  var isStream: Bool { if case .tcp = address { true } else { false } }

  mutating func takeTorn() -> UInt64 {
    defer { torn = 0 }
    return torn
  }

  /// Sends one message, whole or not at all; an errno, 0 when it went out. Of a stream, the rest may go out with the next one.
  mutating func send(_ message: [UInt8]) -> Int32 {
    for isLast in [false, true] {
      let failure = connected() ?? transmit(message)
      // A receiver that was started anew is another socket under the same name.
      guard !isLast, Self.isEndOfConnection(failure), retryAt == 0 else { return failure }
    }
    return 0
  }

  /// Sends with `body`, which gets the descriptor and gives 0 or -1.
  mutating func send(by body: (Int32) -> Int) -> Int32 {
    if let failure = connected() { return failure }
    return retrying(body) >= 0 ? 0 : errno
  }

  private static func isEndOfConnection(_ failure: Int32) -> Bool {
    [ECONNREFUSED, ENOTCONN, EPIPE, ECONNRESET, ENOENT].contains(failure)
  }

  /// What is left of an earlier message.
  mutating func flush() {
    if !remainder.isEmpty, descriptor >= 0 { _ = transmit([]) }
  }

  private mutating func transmit(_ message: [UInt8]) -> Int32 {
    if !remainder.isEmpty {
      let (sent, failure) = write(remainder)
      remainder.removeFirst(sent)
      if failure != 0 { return failed(failure) }
    }
    guard !message.isEmpty else { return 0 }
    let (sent, failure) = write(message)
    if failure != 0 {
      // Nothing of it is out: it is lost whole. A part is out: the rest must follow.
      guard sent > 0 else { return failed(failure) }
      remainder = Array(message[sent...])
      if Self.isEndOfConnection(failure) { close() }
    }
    return 0
  }

  private mutating func failed(_ failure: Int32) -> Int32 {
    if failure != EAGAIN, failure != ENOBUFS, failure != EMSGSIZE { close() }
    return failure
  }

  private func write(_ message: [UInt8]) -> (sent: Int, failure: Int32) {
    message.withUnsafeBytes { bytes in
      var sent = 0
      while sent < bytes.count {
        let count = retrying { Glibc.send($0, bytes.baseAddress?.advanced(by: sent), bytes.count - sent, Self.flags) }
        if count <= 0 { return (sent, count == 0 ? EIO : errno) }
        sent += count
      }
      return (sent, 0)
    }
  }

  private static let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)

  /// Once more when there was no room, after waiting for it.
  private func retrying(_ body: (Int32) -> Int) -> Int {
    var hasWaited = false
    while true {
      let count = body(descriptor)
      if count >= 0 { return count }
      if errno == EINTR { continue }
      guard errno == EAGAIN || errno == ENOBUFS, !hasWaited else { return count }
      let failure = errno
      hasWaited = true
      var wanted = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
      guard poll(&wanted, 1, patience) > 0 else {
        errno = failure
        return -1
      }
    }
  }

  private mutating func close() {
    if descriptor >= 0 { Glibc.close(descriptor) }
    descriptor = -1
    if !remainder.isEmpty { torn += 1 }
    remainder = []
  }

  // MARK: Connecting

  /// Nil when there is a connection, else an errno.
  private mutating func connected() -> Int32? {
    guard descriptor < 0 else { return nil }
    guard MonotonicClock.nanoseconds() >= retryAt else { return lastFailure }
    let failure = connect()
    guard failure != 0 else {
      retryAt = 0
      return nil
    }
    close()
    lastFailure = failure
    retryAt = MonotonicClock.nanoseconds() &+ retryAfter
    return failure
  }

  private mutating func connect() -> Int32 {
    switch address {
    case .sequenced(let path): return connect(to: path, Int32(SOCK_SEQPACKET.rawValue))
    case .datagram(let path): return connect(to: path, Int32(SOCK_DGRAM.rawValue))
    case .udp(let host, let port): return connect(to: host, port, Int32(SOCK_DGRAM.rawValue))
    case .tcp(let host, let port): return connect(to: host, port, Int32(SOCK_STREAM.rawValue))
    }
  }

  private mutating func open(_ family: Int32, _ type: Int32) -> Int32 {
    descriptor = socket(family, type, 0)
    guard descriptor >= 0 else { return errno }
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    return 0
  }

  private mutating func connect(to path: String, _ type: Int32) -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path), !bytes.contains(0) else { return ENAMETOOLONG }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let failure = open(AF_UNIX, type)
    guard failure == 0 else { return failure }
    let result = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    return result == 0 ? 0 : errno
  }

  private mutating func connect(to host: String, _ port: String, _ type: Int32) -> Int32 {
    var hints = addrinfo()
    hints.ai_socktype = type
    var found: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, port, &hints, &found) == 0 else { return EHOSTUNREACH }
    defer { freeaddrinfo(found) }
    var failure = EHOSTUNREACH
    var next = found
    while let entry = next?.pointee {
      failure = connect(to: entry, type)
      if failure == 0 { return 0 }
      close()
      next = entry.ai_next
    }
    return failure
  }

  private mutating func connect(to entry: addrinfo, _ type: Int32) -> Int32 {
    let failure = open(entry.ai_family, type)
    guard failure == 0 else { return failure }
    guard Glibc.connect(descriptor, entry.ai_addr, entry.ai_addrlen) != 0 else { return 0 }
    guard errno == EINPROGRESS else { return errno }
    var wanted = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    guard poll(&wanted, 1, 2000) > 0 else { return ETIMEDOUT }
    var status: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &status, &size)
    return status
  }
}
