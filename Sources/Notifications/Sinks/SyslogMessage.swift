internal import Executive
internal import Glibc

/// A message of RFC 5424: facility 13 (log audit), the event's line as its text.
enum SyslogMessage {
  private static let facility = 13

  static func bytes(of event: Event, line: [UInt8], hostName: String?) -> [UInt8] {
    let head = "<\(facility * 8 + event.severity)>1 \(timeStamp(event.time)) \(printable(hostName ?? "-", 255)) regward "
      + "\(getpid()) \(event.messageName) [meta sequenceId=\"\(sequenceID(event.sequence))\"] "
    return Array(head.utf8) + line
  }

  /// Six digits of a fraction at most: the seventh is in the event.
  private static func timeStamp(_ time: FileTime) -> String { String(time.rfc3339.dropLast(2)) + "Z" }

  /// From 1 to 2147483647, then from 1 again (RFC 5424, 7.3.1).
  private static func sequenceID(_ sequence: UInt64) -> UInt64 { (sequence &- 1) % 2_147_483_647 + 1 }

  private static func printable(_ text: String, _ limit: Int) -> String {
    let bytes = text.utf8.filter { (33...126).contains($0) }.prefix(limit)
    return bytes.isEmpty ? "-" : String(decoding: bytes, as: UTF8.self)
  }
}

extension Event {
  var time: FileTime {
    switch self {
    case .registry(let event): event.time
    case .process(let event): event.time
    case .documentOpen(let event): event.time
    case .control(let event): event.time
    }
  }

  var process: ProcessDescription {
    switch self {
    case .registry(let event): event.process
    case .process(let event): event.process
    case .documentOpen(let event): event.process
    case .control(let event): event.process
    }
  }

  /// Syslog's number: 4 warning, for what was refused or failed, 5 notice, 6 informational.
  var severity: Int {
    switch self {
    case .registry(let event): event.denied || !event.status.isSuccess ? 4 : 5
    case .control(let event): event.refusal == nil ? 5 : 4
    case .process, .documentOpen: 6
    }
  }

  /// What kind of message it is: MSGID.
  var messageName: String {
    switch self {
    case .registry(let event): EventVerb(event.notifyClass).name
    case .process(let event): "process-\(event.kind.rawValue)"
    case .documentOpen: "DocOpen"
    case .control: "control"
    }
  }
}
