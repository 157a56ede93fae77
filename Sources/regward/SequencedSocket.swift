internal import Glibc

/// Unix sockets that keep packets whole and in order (SOCK_SEQPACKET), in Swift's words.
enum SequencedSocket {
  /// Bytes of the longest packet, in either direction.
  static let longestPacket = 64 * 1024

  /// A new socket, closed by exec; throws an errno. A blocking one is for clients.
  static func make(blocks: Bool) throws(SystemError) -> Int32 {
    let descriptor = socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0)
    guard descriptor >= 0 else { throw SystemError() }
    prepare(descriptor, blocks: blocks)
    return descriptor
  }

  static func prepare(_ descriptor: Int32, blocks: Bool) {
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    if !blocks { _ = fcntl(descriptor, F_SETFL, O_NONBLOCK) }
  }

  /// Calls `body` with the address of `path`; throws ENAMETOOLONG for one that has no room in an address.
  static func withAddress(
    _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
  ) throws(SystemError) {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path), !bytes.contains(0) else {
      throw SystemError(code: ENAMETOOLONG)
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let result = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
    guard result == 0 else { throw SystemError() }
  }

  static func connect(_ descriptor: Int32, to path: String) throws(SystemError) {
    try withAddress(path) { Glibc.connect(descriptor, $0, $1) }
  }

  static func bind(_ descriptor: Int32, to path: String) throws(SystemError) {
    try withAddress(path) { Glibc.bind(descriptor, $0, $1) }
  }

  /// Sends one packet without waiting; an errno, 0 when it went out.
  static func send(_ bytes: [UInt8], to descriptor: Int32) -> Int32 {
    let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
    return Glibc.send(descriptor, bytes, bytes.count, flags) == bytes.count ? 0 : errno
  }

  /// The next packet; nil at the end. One that is longer than `longestPacket` comes with one byte more than that.
  static func receive(from descriptor: Int32) throws(SystemError) -> [UInt8]? {
    var packet = [UInt8](repeating: 0, count: longestPacket + 1)
    let count = recv(descriptor, &packet, packet.count, 0)
    guard count >= 0 else { throw SystemError() }
    return count == 0 ? nil : Array(packet.prefix(count))
  }
}

/// What a system call said.
struct SystemError: Error, Hashable {
  let code: Int32
  init(code: Int32 = errno) { self.code = code }
}
