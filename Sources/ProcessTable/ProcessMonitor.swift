internal import Executive
internal import Glibc
internal import Synchronization

/// Why the process connector is not there.
package enum ConnectorProblem: Error, Hashable, Sendable, CustomStringConvertible {
  /// The kernel refuses the socket or the request: a number of errno(3).
  case refused(Int32)
  /// The kernel says nothing: another network, user or pid namespace than the initial one, or a kernel without CONFIG_PROC_EVENTS.
  case silent
  /// It worked, and then the socket failed with this errno.
  case failed(Int32)

  package var description: String {
    switch self {
    case .refused(EPERM), .refused(EACCES): "no permission (CAP_NET_ADMIN)"
    // In another network namespace nobody listens; without CONFIG_CONNECTOR there is no such protocol.
    case .silent, .refused(ECONNREFUSED), .refused(EPROTONOSUPPORT):
      "it tells nothing here (another namespace than the initial one, or not in this kernel)"
    case .refused(let number): "refused, errno \(number)"
    case .failed(let number): "the socket failed, errno \(number)"
    }
  }
}

/// The netlink process connector: what forks, executes and exits, told by the kernel before the new image runs its first
/// instruction (identity.md, 6 (a)).
///
/// Not thread-safe, and on purpose: what was taken from the socket must be known to everybody before the next one finds the
/// socket empty. The table takes events and applies them under one lock.
package struct ProcessMonitor: ~Copyable, Sendable {
  /// What `next` found.
  enum Found: Equatable {
    case event(ProcessEvent)
    /// Events may have been lost: the socket's buffer overflowed, or a processor's sequence has a gap.
    case loss
    /// Nothing happened since the last call.
    case nothing
    case failure(Int32)
  }

  private static let capacity = 1024
  /// Of processors; a number above is taken for a loss.
  private static let processorLimit = 8192

  let descriptor: Int32
  // SAFETY: both are allocated in `init`, used only by calls that borrow or mutate self, and freed once in deinit.
  nonisolated(unsafe) private let buffer: UnsafeMutableRawBufferPointer
  nonisolated(unsafe) private let sender: UnsafeMutableRawBufferPointer
  /// The sequence number that is expected next, by processor; nil before the first event of one.
  private var expected: [UInt32?] = []

  /// Joins the connector and makes sure that it tells what happens: an own thread must be seen to begin.
  ///
  /// `receiveBuffer` is in bytes, as the kernel counts them (about 1 kB an event); a small one is for provoking losses.
  package init(receiveBuffer: Int32 = 8 << 20) throws(ConnectorProblem) {
    descriptor = socket(16, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC, ConnectorMessage.netlinkProtocol)
    buffer = .allocate(byteCount: Self.capacity, alignment: 16)
    sender = .allocate(byteCount: ConnectorMessage.addressSize, alignment: 8)
    guard descriptor >= 0 else { throw .refused(errno) }
    var size = receiveBuffer
    if setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &size, 4) != 0 {
      setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, 4)
    }
    let address = ConnectorMessage.address(groups: true)
    let bound = address.withUnsafeBytes { bytes in
      bytes.baseAddress.map { bind(descriptor, $0.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count)) } ?? -1
    }
    guard bound == 0 else { throw .refused(errno) }
    try ask(ConnectorMessage.listen)
    try awaitOwnThread()
  }

  deinit {
    // Older kernels count listeners by these requests alone, and would go on making events for nobody.
    if descriptor >= 0 {
      _ = try? ask(ConnectorMessage.ignore)
      close(descriptor)
    }
    buffer.deallocate()
    sender.deallocate()
  }

  private func ask(_ operation: UInt32) throws(ConnectorProblem) {
    let request = ConnectorMessage.request(operation, sequence: UInt32(bitPattern: getpid()))
    let address = ConnectorMessage.address(groups: false)
    let sent = request.withUnsafeBytes { bytes in
      address.withUnsafeBytes { address in
        address.baseAddress.map {
          sendto(
            descriptor, bytes.baseAddress, bytes.count, 0, $0.assumingMemoryBound(to: sockaddr.self),
            socklen_t(address.count))
        } ?? -1
      }
    }
    guard sent == request.count else { throw .refused(errno) }
  }

  /// The acknowledgement, and then the fork event of a thread that is started here. The connector speaks of ids of the
  /// initial pid namespace: in another one our own id never comes.
  private mutating func awaitOwnThread() throws(ConnectorProblem) {
    let own = getpid()
    var probe = Self.startThread()
    let deadline = FileTime.now().rawValue &+ 10_000_000
    while true {
      switch next(refusal: true) {
      case .event(.fork(_, probe, own)): return
      case .event: break
      case .loss:
        // The buffer is full of others' events: the kernel does speak, and another try may be heard.
        probe = Self.startThread()
      case .failure(let number): throw .refused(number)
      case .nothing:
        var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        _ = poll(&ready, 1, 100)
      }
      if FileTime.now().rawValue > deadline { throw .silent }
    }
  }

  /// The id of a thread that was started and has ended.
  private static func startThread() -> Int32 {
    final class Probe: Sendable { let id = Atomic<Int32>(0) }
    let probe = Probe()
    SystemThread(name: "regward-probe") { probe.id.store(TaskDirectory.ownThreadID() ?? -1, ordering: .releasing) }?.join()
    return probe.id.load(ordering: .acquiring)
  }

  /// The next event, without waiting. A gap is taken for a loss although it need not be one: the kernel counts the acknowledgements
  /// that it sends to other listeners when they come. One system call when nothing happened.
  mutating func next(refusal: Bool = false) -> Found {
    while true {
      var length = socklen_t(ConnectorMessage.addressSize)
      let count = recvfrom(
        descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT),
        sender.baseAddress?.assumingMemoryBound(to: sockaddr.self), &length)
      guard count >= 0 else {
        switch errno {
        case EAGAIN: return .nothing
        case EINTR: continue
        case ENOBUFS: return .loss
        case let number: return .failure(number)
        }
      }
      // Only the kernel has port 0.
      guard sender.loadUnaligned(fromByteOffset: ConnectorMessage.addressPort, as: UInt32.self) == 0,
        let message = ConnectorMessage.parse(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      else { continue }
      if let answer = message.refusal, refusal, answer != 0,
        message.processor != nil || message.sequence == UInt32(bitPattern: getpid())
      {
        return .failure(answer)
      }
      if let processor = message.processor, !isNext(message.sequence, of: processor) {
        // The event itself is covered by reading everything again.
        return .loss
      }
      if let event = message.event { return .event(event) }
    }
  }

  private mutating func isNext(_ sequence: UInt32, of processor: Int) -> Bool {
    guard processor < Self.processorLimit else { return false }
    while expected.count <= processor { expected.append(nil) }
    defer { expected[processor] = sequence &+ 1 }
    return expected[processor].map { $0 == sequence } ?? true
  }
}
