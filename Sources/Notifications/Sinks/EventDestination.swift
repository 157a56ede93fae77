/// Where a socket sink sends to.
package enum SinkAddress: Hashable, Sendable {
  /// Unix sockets: one that keeps packets and order (SOCK_SEQPACKET), and one for datagrams.
  case sequenced(path: String)
  case datagram(path: String)
  case udp(host: String, port: String)
  case tcp(host: String, port: String)
}

/// Where events go, and how they are told there (`--log-to [FORMAT=]PLACE`).
package struct EventDestination: Hashable, Sendable {
  package enum Place: Hashable, Sendable {
    case file(path: String)
    case standardError
    case journal(socket: String)
    case syslog(SinkAddress)
    case socket(path: String)
  }

  package let place: Place
  /// Nil: that of the mount.
  package let format: EventFormat?
  /// As it was asked for.
  package let text: String

  package static let journalSocket = "/run/systemd/journal/socket"
  package static let syslogSocket = "/dev/log"

  package init(place: Place, format: EventFormat? = nil, text: String) {
    self.place = place
    self.format = format
    self.text = text
  }

  /// `stderr`, `journald[:SOCKET]`, `syslog`, `syslog:SOCKET`, `syslog://HOST[:PORT]` (UDP), `syslog+tcp://HOST[:PORT]`,
  /// `socket:PATH`, and anything else is the path of a file; each with a format and `=` before it. Nil for an address without its
  /// parts. `absolute` makes a path absolute.
  package init?(parsing text: String, absolute: (String) -> String = { $0 }) {
    var rest = Substring(text)
    var format: EventFormat?
    if let equals = text.firstIndex(of: "="), let named = EventFormat(rawValue: String(text[..<equals])) {
      format = named
      rest = text[text.index(after: equals)...]
    }
    func remainder(_ prefix: String) -> String? { rest.hasPrefix(prefix) ? String(rest.dropFirst(prefix.count)) : nil }
    guard !rest.isEmpty else { return nil }
    let place: Place?
    if rest == "stderr" {
      place = .standardError
    } else if rest == "journald" {
      place = .journal(socket: Self.journalSocket)
    } else if rest == "syslog" {
      place = .syslog(.datagram(path: Self.syslogSocket))
    } else if let path = remainder("journald:") {
      place = path.isEmpty ? nil : .journal(socket: absolute(path))
    } else if let path = remainder("socket:") {
      place = path.isEmpty ? nil : .socket(path: absolute(path))
    } else if let address = remainder("syslog://") {
      place = Self.hostAndPort(address).map { .syslog(.udp(host: $0.host, port: $0.port)) }
    } else if let address = remainder("syslog+tcp://") {
      place = Self.hostAndPort(address).map { .syslog(.tcp(host: $0.host, port: $0.port)) }
    } else if let path = remainder("syslog:") {
      place = path.isEmpty ? nil : .syslog(.datagram(path: absolute(path)))
    } else {
      place = .file(path: absolute(String(rest)))
    }
    guard let place else { return nil }
    self.init(place: place, format: format, text: text)
  }

  /// `host`, `host:port`, `[::1]:port`; 514 where no port stands.
  private static func hostAndPort(_ text: String) -> (host: String, port: String)? {
    var host = Substring(text)
    var port: Substring = "514"
    if host.first == "[" {
      guard let end = host.firstIndex(of: "]") else { return nil }
      let behind = host[host.index(after: end)...]
      guard behind.isEmpty || behind.first == ":" else { return nil }
      if !behind.isEmpty { port = behind.dropFirst() }
      host = host[host.index(after: host.startIndex)..<end]
    } else if let colon = host.lastIndex(of: ":") {
      port = host[host.index(after: colon)...]
      host = host[..<colon]
    }
    guard !host.isEmpty, let number = UInt16(port), number > 0 else { return nil }
    return (String(host), String(number))
  }
}
