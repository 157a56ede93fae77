internal import Executive
internal import Glibc
internal import Sigma

/// An entry of systemd's journal (its native protocol): fields, one after the other, in one datagram, or in a sealed file of memory
/// whose descriptor is sent when that is too long.
struct JournalEntry {
  /// What an event is: one for each kind, for `journalctl MESSAGE_ID=…`.
  private static let registryID = "6b0e7a5c1f5d4f6f9d0c7f3a52b5e101"
  private static let processID = "6b0e7a5c1f5d4f6f9d0c7f3a52b5e102"
  private static let documentID = "6b0e7a5c1f5d4f6f9d0c7f3a52b5e103"
  private static let controlID = "6b0e7a5c1f5d4f6f9d0c7f3a52b5e104"

  private(set) var bytes: [UInt8] = []

  init(_ event: Event, line: [UInt8]) {
    bytes.reserveCapacity(line.count + 1024)
    append("MESSAGE", EventEncoder.message(event))
    append("MESSAGE_ID", Self.messageID(of: event))
    append("PRIORITY", String(event.severity))
    append("SYSLOG_IDENTIFIER", "regward")
    append("REGWARD_SEQUENCE", String(event.sequence))
    append("REGWARD_ACTION", event.messageName)
    append("REGWARD_PID", String(event.process.processID))
    append("REGWARD_EXECUTABLE", event.process.executable)
    switch event {
    case .registry(let event):
      append("REGWARD_KEY", EventKeyName(event.keyName).path)
      append("REGWARD_VALUE", event.valueName.map { EventKeyName.text($0.units) })
      append("REGWARD_RULE", event.ruleIDs.first)
      for rule in event.detections { append("REGWARD_SIGMA", rule.title) }
      append("REGWARD_OUTCOME", event.denied && !event.audited ? "denied" : event.status.isSuccess ? "success" : "failure")
    case .documentOpen(let event):
      append("REGWARD_KEY", EventKeyName(event.keyName).path)
      append("REGWARD_VALUE", EventKeyName.text(event.valueName.units))
    case .process: break
    case .control(let event): append("REGWARD_OUTCOME", event.refusal == nil ? "success" : "denied")
    }
    append("REGWARD_EVENT", line)
  }

  private static func messageID(of event: Event) -> String {
    switch event {
    case .registry: registryID
    case .process: processID
    case .documentOpen: documentID
    case .control: controlID
    }
  }

  private mutating func append(_ name: StaticString, _ text: String?) {
    if let text { append(name, Array(text.utf8)) }
  }

  /// A text with a line feed has its length in front, eight bytes, little endian.
  private mutating func append(_ name: StaticString, _ text: [UInt8]) {
    name.withUTF8Buffer { bytes.append(contentsOf: $0) }
    if text.contains(0x0A) {
      bytes.append(0x0A)
      withUnsafeBytes(of: UInt64(text.count).littleEndian) { bytes.append(contentsOf: $0) }
    } else {
      bytes.append(0x3D)
    }
    bytes.append(contentsOf: text)
    bytes.append(0x0A)
  }

  /// An errno, 0 when it went out.
  func send(through socket: inout SinkSocket) -> Int32 {
    let failure = socket.send(bytes)
    guard failure == EMSGSIZE || failure == ENOBUFS else { return failure }
    let file = Self.sealedFile(bytes)
    guard file >= 0 else { return failure }
    defer { close(file) }
    return socket.send { Self.send(file, to: $0) }
  }

  /// A file of memory that nobody can change any more; -1 where there is none to be had.
  private static func sealedFile(_ bytes: [UInt8]) -> Int32 {
    // Hidden from Swift, as is the flag; the symbol is in every glibc since 2.27.
    guard let symbol = dlsym(nil, "memfd_create") else { return -1 }
    // SAFETY: this is memfd_create's type in <sys/mman.h>.
    let create = unsafeBitCast(symbol, to: (@convention(c) (UnsafePointer<CChar>, UInt32) -> Int32).self)
    let file = create("regward-event", memfdCloseOnExec | memfdAllowSealing)
    guard file >= 0 else { return -1 }
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes { write(file, $0.baseAddress?.advanced(by: done), bytes.count - done) }
      guard count > 0 else {
        close(file)
        return -1
      }
      done += count
    }
    _ = fcntl(file, addSeals, allSeals)
    return file
  }

  private static let memfdCloseOnExec: UInt32 = 1
  private static let memfdAllowSealing: UInt32 = 2
  /// F_ADD_SEALS; F_SEAL_SEAL, _SHRINK, _GROW and _WRITE: the journal takes nothing less.
  private static let addSeals: Int32 = 1033
  private static let allSeals: Int32 = 15

  /// sendmsg with the descriptor and nothing else.
  private static func send(_ file: Int32, to descriptor: Int32) -> Int {
    // struct cmsghdr: its length, SOL_SOCKET, SCM_RIGHTS (1), the descriptor, and padding to its alignment.
    let length = MemoryLayout<Int>.size + 3 * MemoryLayout<Int32>.size
    let space = (length + MemoryLayout<Int>.size - 1) / MemoryLayout<Int>.size * MemoryLayout<Int>.size
    return withUnsafeTemporaryAllocation(byteCount: space, alignment: MemoryLayout<Int>.alignment) { control in
      for index in control.indices { control[index] = 0 }
      control.storeBytes(of: length, toByteOffset: 0, as: Int.self)
      control.storeBytes(of: SOL_SOCKET, toByteOffset: MemoryLayout<Int>.size, as: Int32.self)
      control.storeBytes(of: 1, toByteOffset: MemoryLayout<Int>.size + 4, as: Int32.self)
      control.storeBytes(of: file, toByteOffset: MemoryLayout<Int>.size + 8, as: Int32.self)
      var message = msghdr()
      message.msg_control = control.baseAddress
      message.msg_controllen = space
      return sendmsg(descriptor, &message, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
    }
  }
}
