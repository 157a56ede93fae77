/// The structures of the process connector, which Swift does not see: linux/netlink.h (sockaddr_nl, nlmsghdr), linux/connector.h
/// (cn_msg), linux/cn_proc.h (proc_event). All in the machine's byte order, at fixed offsets.
enum ConnectorMessage {
  /// NETLINK_CONNECTOR.
  static let netlinkProtocol: Int32 = 11
  /// CN_IDX_PROC, CN_VAL_PROC: the connector's number, also its multicast group.
  private static let processIndex: UInt32 = 1
  private static let processValue: UInt32 = 1
  /// PROC_CN_MCAST_LISTEN, PROC_CN_MCAST_IGNORE.
  static let listen: UInt32 = 1
  static let ignore: UInt32 = 2

  /// sockaddr_nl: family (u16), padding (u16), port (u32), groups (u32).
  static let addressSize = 12
  static let addressPort = 4
  /// nlmsghdr: length (u32), type (u16), flags (u16), sequence (u32), port (u32).
  private static let headerSize = 16
  private static let headerType = 4
  /// NLMSG_DONE: the type of all that connectors send.
  private static let done: UInt16 = 3
  /// cn_msg, behind the header: index (u32), value (u32), sequence (u32), acknowledgement (u32), length (u16), flags (u16).
  private static let messageSequence = headerSize + 8
  private static let messageLength = headerSize + 16
  private static let messageSize = 20
  /// proc_event, behind cn_msg: what (u32), cpu (u32), time stamp (u64), and what depends on `what`.
  private static let eventWhat = headerSize + messageSize
  private static let eventProcessor = eventWhat + 4
  private static let eventData = eventWhat + 16

  /// The values of `what` that mean something here.
  private enum What {
    static let acknowledgement: UInt32 = 0
    static let fork: UInt32 = 0x1
    static let exec: UInt32 = 0x2
    static let trace: UInt32 = 0x100
    static let exit: UInt32 = 0x8000_0000
  }

  /// A socket address: of the kernel's choice of port when `groups` are joined, of the kernel itself for sending.
  static func address(groups: Bool) -> [UInt8] {
    words([16 /* AF_NETLINK */, 0, groups ? processIndex : 0])
  }

  static func request(_ operation: UInt32, sequence: UInt32) -> [UInt8] {
    words([
      UInt32(headerSize + messageSize + 4), UInt32(done), 0, 0,
      processIndex, processValue, sequence, 0, 4, operation,
    ])
  }

  /// Two halves that are zero in their upper part (type and flags, length and flags) are written as one word: little endian only.
  private static func words(_ words: [UInt32]) -> [UInt8] {
    words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * UInt32($0))) } }
  }

  /// What a datagram says; nil when it is not one of the process connector's.
  static func parse(_ bytes: UnsafeRawBufferPointer) -> Parsed? {
    func word(_ offset: Int) -> UInt32 {
      offset + 4 <= bytes.count ? bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self) : 0
    }
    func id(_ index: Int) -> Int32 { Int32(bitPattern: word(eventData + 4 * index)) }
    guard bytes.count >= eventData, word(headerType) & 0xFFFF == UInt32(done), word(headerSize) == processIndex,
      word(headerSize + 4) == processValue
    else { return nil }
    let length = Int(word(messageLength) & 0xFFFF)
    guard length >= eventData - eventWhat, headerSize + messageSize + length <= bytes.count else { return nil }

    let what = word(eventWhat)
    let event: ProcessEvent? =
      switch what {
      case What.fork: .fork(parent: id(1), child: id(2), childProcess: id(3))
      case What.exec: .exec(process: id(1))
      case What.trace: .trace(process: id(1))
      case What.exit: .exit(thread: id(0), process: id(1))
      default: nil
      }
    let processor = word(eventProcessor)
    return Parsed(
      processor: processor == .max ? nil : Int(processor),
      sequence: word(messageSequence),
      refusal: what == What.acknowledgement ? Int32(bitPattern: word(eventData)) : nil, event: event)
  }

  struct Parsed {
    /// The processor that counts `sequence`. Nil for an acknowledgement of a kernel before 6.6, which repeats the number of the
    /// request, whoever made it; later kernels count acknowledgements among the events and send them to those who asked.
    var processor: Int?
    var sequence: UInt32
    /// An acknowledgement's error number, 0 for a yes.
    var refusal: Int32?
    var event: ProcessEvent?
  }
}

/// What happened to a process, as the connector tells it; ids are those of the initial pid namespace.
enum ProcessEvent: Equatable {
  /// A thread when `child` is not `childProcess`.
  case fork(parent: Int32, child: Int32, childProcess: Int32)
  case exec(process: Int32)
  /// A tracer attached or detached.
  case trace(process: Int32)
  case exit(thread: Int32, process: Int32)
}
