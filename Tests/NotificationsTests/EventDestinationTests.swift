import Notifications
import Testing

@Suite struct EventDestinationTests {
  @Test(arguments: [
    ("stderr", .standardError, nil), ("journald", .journal(socket: "/run/systemd/journal/socket"), nil),
    ("journald:/j", .journal(socket: "/j"), nil), ("syslog", .syslog(.datagram(path: "/dev/log")), nil),
    ("syslog:/s", .syslog(.datagram(path: "/s")), nil), ("syslog://h", .syslog(.udp(host: "h", port: "514")), nil),
    ("syslog://h:99", .syslog(.udp(host: "h", port: "99")), nil),
    ("syslog+tcp://[::1]:601", .syslog(.tcp(host: "::1", port: "601")), nil),
    ("syslog+tcp://[::1]", .syslog(.tcp(host: "::1", port: "514")), nil), ("socket:/p", .socket(path: "/p"), nil),
    ("ocsf=socket:/p", .socket(path: "/p"), .ocsf), ("sysmon-xml=/f", .file(path: "/f"), .sysmonXML),
    ("/a=b", .file(path: "/a=b"), nil), ("/f", .file(path: "/f"), nil), ("ecs=stderr", .standardError, .ecs),
  ] as [(String, EventDestination.Place, EventFormat?)])
  func isRead(text: String, place: EventDestination.Place, format: EventFormat?) {
    let read = EventDestination(parsing: text)
    #expect(read?.place == place && read?.format == format && read?.text == text)
  }

  @Test(arguments: [
    "", "ecs=", "journald:", "socket:", "syslog:", "syslog://", "syslog://:514", "syslog://h:0", "syslog://h:x", "syslog://h:65536",
    "syslog+tcp://[::1", "syslog+tcp://[::1]x",
  ])
  func isRefused(text: String) { #expect(EventDestination(parsing: text) == nil) }

  @Test func pathsBecomeAbsolute() {
    let read = EventDestination(parsing: "sysmon=events.json") { "/folder/" + $0 }
    #expect(read?.place == .file(path: "/folder/events.json"))
  }
}
