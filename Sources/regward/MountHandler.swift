internal import ConfigurationManager
internal import Executive
internal import Glibc
internal import Notifications
internal import PolicyFile
internal import RegistryFileSystem
internal import WdFilter

/// What does not change while a hive is mounted.
struct MountFacts: Sendable {
  let hives: [String]
  let mountPoint: String
  let location: UnicodeName
  let policy: PolicyFile
  let policyName: String
  let isReadOnly: Bool
}

/// Answers what is asked through `/%ctl/`.
final class MountHandler: ControlHandler {
  private let facts: MountFacts
  private let refusals: RefusalLog
  private let queue: NotificationQueue
  private let sink: FileSink?

  init(facts: MountFacts, refusals: RefusalLog, queue: NotificationQueue, sink: FileSink?) {
    self.facts = facts
    self.refusals = refusals
    self.queue = queue
    self.sink = sink
  }

  /// How an answer begins when there is nothing to tell; `regward why` exits with 1 then.
  static let nothing = "no refusal on record for "

  func why(_ name: UnicodeName) -> String {
    refusals.last(for: name).map { "\($0)\n" } ?? "\(Self.nothing)\(name)\n"
  }

  func execute(
    _ verb: String, _ arguments: [String], by caller: Caller, registryName: (String) -> UnicodeName?
  ) -> String? { nil }

  func status() -> String {
    let rules = facts.policy.rules
    let events = queue.counters
    var members: [(String, String)] = [
      ("pid", "\(getpid())"), ("hive", Self.quoted(facts.hives.first ?? "")),
      ("hives", "[" + facts.hives.map(Self.quoted).joined(separator: ",") + "]"), ("mountPoint", Self.quoted(facts.mountPoint)),
      ("location", Self.quoted(facts.location.description)), ("readOnly", "\(facts.isReadOnly)"),
      ("policy", Self.quoted(facts.policyName)), ("mode", Self.quoted(rules.mode.rawValue)),
      (
        "rules",
        "{\"hardened\":\(rules.hardened.count),\"monitored\":\(rules.monitored.count),"
          + "\"processes\":\(rules.processes.count)}"
      ),
      (
        "events",
        "{\"queued\":\(events.enqueued),\"delivered\":\(events.delivered),\"dropped\":\(events.dropped)}"
      ),
    ]
    if let counters = sink?.counters {
      members.append(
        ("log", "{\"accepted\":\(counters.accepted),\"lost\":\(counters.lost),\"errors\":\(counters.errors)}"))
    }
    return "{" + members.map { "\"\($0.0)\":\($0.1)" }.joined(separator: ",") + "}\n"
  }

  /// A JSON string.
  static func quoted(_ text: String) -> String {
    var json = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": json += "\\\(scalar)"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        json += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: json.unicodeScalars.append(scalar)
      }
    }
    return json + "\""
  }
}
