import Executive
import Foundation
import Glibc
import Notifications
import Testing

@Suite(.timeLimit(.minutes(1))) struct SocketSinkTests {
  /// A Unix socket of the test's own that receives.
  final class Receiver {
    let path: String
    private(set) var descriptor: Int32 = -1
    private let type: Int32

    struct Failed: Error { let errno: Int32 }

    init(_ type: __socket_type, path: String? = nil) throws {
      self.type = Int32(type.rawValue)
      self.path = path ?? FileManager.default.temporaryDirectory.appending(path: "regward-\(UUID().uuidString.prefix(8))").path
      try open()
    }

    func open() throws {
      descriptor = socket(AF_UNIX, type, 0)
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
      let result = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
      }
      guard result == 0 else { throw Failed(errno: errno) }
      if type == Int32(SOCK_SEQPACKET.rawValue) { _ = Glibc.listen(descriptor, 4) }
    }

    /// The next packet that is there; nil when none is.
    func receive() -> String? { Self.receive(descriptor) }

    func accept() -> Int32 { Glibc.accept(descriptor, nil, nil) }

    static func receive(_ descriptor: Int32) -> String? {
      var buffer = [UInt8](repeating: 0, count: 300_000)
      let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
      return count < 0 ? nil : String(decoding: buffer.prefix(count), as: UTF8.self)
    }

    func close() {
      if descriptor >= 0 { Glibc.close(descriptor) }
      descriptor = -1
      unlink(path)
    }

    deinit { close() }
  }

  private func event(_ sequence: UInt64, denied: Bool = true) -> Event {
    var notification = Samples.notification(.preSetValueKey, key: Samples.winDefend, value: "St\nart", denied: denied)
    notification.sequence = sequence
    return .registry(notification)
  }

  private func sink(_ address: SinkAddress, _ dialect: SocketSink.Dialect) -> SocketSink {
    SocketSink(
      name: "s", to: address, dialect, encoder: EventEncoder(format: .wdfilter, hostName: "h o"), patience: 0, retryAfter: 0)
  }

  private func number(_ packet: String?, _ name: String) throws -> Int? {
    let packet = try #require(packet)
    let object = try #require(JSONSerialization.jsonObject(with: Data(packet.utf8)) as? [String: Any])
    return object[name] as? Int
  }

  @Test func aPacketIsAnEvent() throws {
    let receiver = try Receiver(SOCK_SEQPACKET)
    let sink = sink(.sequenced(path: receiver.path), .plain)
    sink.deliver(event(1), dropped: 0)
    sink.deliver(event(2), dropped: 3)
    let client = receiver.accept()
    defer { close(client) }
    let first = Receiver.receive(client)
    #expect(try number(first, "SequenceNumber") == 1)
    #expect(try number(first, "DroppedCount") == nil)
    #expect(try number(Receiver.receive(client), "DroppedCount") == 3)
    #expect(sink.counters == SinkCounters(accepted: 2))
  }

  /// A reader that does not read costs events, which are counted and told, and no thread.
  @Test func whatASlowReaderHasNoRoomForIsLostAndTold() throws {
    let receiver = try Receiver(SOCK_SEQPACKET)
    let sink = sink(.sequenced(path: receiver.path), .plain)
    var sent: UInt64 = 0
    while sink.counters.lost == 0, sent < 100_000 {
      sent += 1
      sink.deliver(event(sent), dropped: 0)
    }
    sink.deliver(event(sent + 1), dropped: 5)
    #expect(sink.counters == SinkCounters(accepted: sent - 1, lost: 2, errors: 2))
    let client = receiver.accept()
    defer { close(client) }
    for expected in 1..<sent { #expect(try number(Receiver.receive(client), "SequenceNumber") == Int(expected)) }
    sink.deliver(event(sent + 2), dropped: 0)
    let next = Receiver.receive(client)
    #expect(try number(next, "SequenceNumber") == Int(sent + 2))
    #expect(try number(next, "FailedCount") == 2)
    #expect(try number(next, "DroppedCount") == 5)
    #expect(try number(next, "LastError") == Int(EAGAIN))
  }

  @Test func aReceiverThatWasGoneIsFoundAgain() throws {
    let receiver = try Receiver(SOCK_SEQPACKET)
    let sink = sink(.sequenced(path: receiver.path), .plain)
    sink.deliver(event(1), dropped: 0)
    let client = receiver.accept()
    close(client)
    receiver.close()
    sink.deliver(event(2), dropped: 0)
    sink.deliver(event(3), dropped: 0)
    #expect(sink.counters == SinkCounters(accepted: 1, lost: 2, errors: 2))
    try receiver.open()
    sink.deliver(event(4), dropped: 0)
    let second = receiver.accept()
    defer { close(second) }
    let packet = Receiver.receive(second)
    #expect(try number(packet, "SequenceNumber") == 4)
    #expect(try number(packet, "FailedCount") == 2)
    #expect(try number(packet, "LastError") == Int(ENOENT))
  }

  @Test func theJournalGetsFields() throws {
    let receiver = try Receiver(SOCK_DGRAM)
    let sink = sink(.datagram(path: receiver.path), .journal)
    sink.deliver(event(1), dropped: 0)
    let packet = try #require(receiver.receive())
    let lines = packet.split(separator: "\n", omittingEmptySubsequences: false)
    for field in ["PRIORITY=4", "SYSLOG_IDENTIFIER=regward", "REGWARD_SEQUENCE=1", "REGWARD_OUTCOME=denied",
      #"REGWARD_KEY=HKLM\SYSTEM\ControlSet001\Services\WinDefend"#, "MESSAGE_ID=6b0e7a5c1f5d4f6f9d0c7f3a52b5e101"]
    {
      #expect(lines.contains { $0 == field }, "\(field)")
    }
    // A line feed in it: the length is in front.
    #expect(packet.contains("REGWARD_VALUE\n\u{6}\0\0\0\0\0\0\0St\nart\n"))
    let event = try #require(lines.first { $0.hasPrefix("REGWARD_EVENT=") })
    #expect(try number(String(event.dropFirst(14)), "SequenceNumber") == 1)
  }

  @Test func syslogIsRFC5424() throws {
    let receiver = try Receiver(SOCK_DGRAM)
    let sink = sink(.datagram(path: receiver.path), .syslog)
    sink.deliver(event(2_147_483_648), dropped: 0)
    let packet = try #require(receiver.receive())
    let head = "<108>1 2024-12-30T02:40:00.123456Z ho regward \(getpid()) SetValue [meta sequenceId=\"1\"] {"
    #expect(packet.hasPrefix(head))
    sink.deliver(event(2, denied: false), dropped: 0)
    #expect(try #require(receiver.receive()).hasPrefix("<109>1 "))
  }

  /// A listener on TCP of the test's own; a second one takes over the port of the first.
  private func listen(port: UInt16 = 0) -> (descriptor: Int32, port: UInt16) {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var on: Int32 = 1
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
    // Little room, so that it is soon full.
    var room: Int32 = 4096
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &room, socklen_t(MemoryLayout<Int32>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    return withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        _ = bind(listener, pointer, size)
        _ = Glibc.listen(listener, 1)
        _ = getsockname(listener, pointer, &size)
      }
      return (listener, UInt16(bigEndian: pointer.pointee.sin_port))
    }
  }

  /// Until the receiver has no room; how many.
  private func fill(_ sink: SocketSink) -> UInt64 {
    var sent: UInt64 = 0
    while sink.counters.lost == 0, sent < 200_000 {
      sent += 1
      sink.deliver(event(sent), dropped: 0)
    }
    return sent
  }

  /// What a packet has no room for goes out without what is long in it.
  @Test func whatIsTooLongIsShortened() throws {
    let receiver = try Receiver(SOCK_SEQPACKET)
    let sink = SocketSink(
      name: "s", to: .sequenced(path: receiver.path), .plain, encoder: EventEncoder(), patience: 0, retryAfter: 0)
    var notification = Samples.notification(.postSetValueKey, key: Samples.winDefend, value: "v")
    notification.newValue = RegistryValue(type: .sz, data: Samples.utf16(String(repeating: "a", count: 32_000)))
    notification.oldValue = notification.newValue
    sink.deliver(.registry(notification), dropped: 0)
    #expect(sink.counters == SinkCounters(accepted: 1))
    let client = receiver.accept()
    defer { close(client) }
    let packet = try #require(Receiver.receive(client))
    #expect(packet.contains(#""value":"v""#) && !packet.contains("aaaa"))
  }

  /// A message that was begun when the connection ended did not arrive: it counts as lost, and is told.
  @Test func whatIsTornIsLost() throws {
    let (first, port) = listen()
    let sink = sink(.tcp(host: "127.0.0.1", port: String(port)), .syslog)
    let sent = fill(sink)
    #expect(sink.counters.accepted + sink.counters.lost == sent)
    let client = accept(first, nil, nil)
    // Ended with a reset, and nobody there any more.
    close(client)
    close(first)
    var total = sent
    while sink.counters.lost < 4 {
      total += 1
      sink.deliver(event(total), dropped: 0)
    }
    let lost = sink.counters.lost
    #expect(sink.counters.accepted + lost == total)
    let (second, _) = listen(port: port)
    defer { close(second) }
    sink.deliver(event(total + 1), dropped: 0)
    let other = accept(second, nil, nil)
    defer { close(other) }
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    let count = recv(other, &buffer, buffer.count, 0)
    let text = String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
    #expect(text.contains(#""SequenceNumber":\#(total + 1),"#))
    #expect(text.contains(#""FailedCount":\#(lost),"#))
    // The one that made it known that there is no room, the torn one, and those that nobody was there for. What the kernel had taken
    // and not delivered, nobody can know of.
    #expect(lost == 2 + total - sent)
  }

  /// Over a stream each message has its length in front, and one that was begun is finished before the next.
  @Test func aStreamKeepsMessagesWhole() throws {
    let (listener, port) = listen()
    defer { close(listener) }
    let sink = sink(.tcp(host: "127.0.0.1", port: String(port)), .syslog)
    _ = fill(sink)
    #expect(sink.counters.lost == 1)
    let client = accept(listener, nil, nil)
    defer { close(client) }
    var bytes: [UInt8] = []
    var numbers: [Int] = []
    func take() throws {
      var buffer = [UInt8](repeating: 0, count: 1 << 20)
      let count = recv(client, &buffer, buffer.count, Int32(MSG_DONTWAIT))
      if count > 0 { bytes += buffer.prefix(count) }
      var start = 0
      while let space = bytes[start...].firstIndex(of: 0x20), let length = Int(String(decoding: bytes[start..<space], as: UTF8.self)),
        bytes.count > space + length
      {
        let message = String(decoding: bytes[(space + 1)...(space + length)], as: UTF8.self)
        let brace = try #require(message.firstIndex(of: "{"))
        numbers.append(try #require(try number(String(message[brace...]), "SequenceNumber")))
        start = space + length + 1
      }
      bytes.removeFirst(start)
    }
    let wanted = Int(sink.counters.accepted)
    while numbers.count < wanted {
      try take()
      sink.flush()
    }
    #expect(numbers == Array(1...wanted))
    #expect(bytes.isEmpty)
  }
}
