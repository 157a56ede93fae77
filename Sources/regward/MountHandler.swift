internal import ConfigurationManager
internal import Executive
internal import Glibc
internal import Notifications
internal import PolicyFile
internal import ProcessTable
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
  private let rules: @Sendable () -> RuleSet
  private let processes: ProcessTable

  /// `rules` gives the rules in force.
  init(
    facts: MountFacts, refusals: RefusalLog, queue: NotificationQueue, sink: FileSink?, processes: ProcessTable,
    rules: @escaping @Sendable () -> RuleSet
  ) {
    self.rules = rules
    self.processes = processes
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
  ) -> String? {
    switch verb {
    case "rules": list(arguments)
    case "can-i": canI(arguments, caller, registryName)
    default: nil
    }
  }

  /// `rules FILTER [table]`: every rule that the filter lets pass, a JSON object a line, or for people.
  private func list(_ arguments: [String]) -> String? {
    guard (1...2).contains(arguments.count), arguments.count == 1 || arguments[1] == "table" else { return nil }
    do throws(RuleListingFilter.Problem) {
      let filter = try RuleListingFilter(parsing: arguments[0])
      return RuleTable.answer(rules().listings.filter(filter.matches), asTable: arguments.count == 2)
    } catch {
      return "error \(EINVAL) \(error)\n"
    }
  }

  /// `can-i OP PATH [NEWNAME]`: what the rules would say to the caller, and why. Nothing is changed and nobody told.
  private func canI(_ arguments: [String], _ caller: Caller, _ registryName: (String) -> UnicodeName?) -> String? {
    guard (2...3).contains(arguments.count), let word = OperationWord(rawValue: arguments[0]),
      (word == .rename) == (arguments.count == 3)
    else { return nil }
    let path = arguments[1].split(separator: "/")
    let parent = registryName(path.dropLast().joined(separator: "/"))
    guard let name = registryName(arguments[1]), let parent, !path.isEmpty || !word.isOfValue else {
      return "error \(EINVAL) that path is no registry name\n"
    }
    let value = UnicodeName(units: Array(name.units.dropFirst(parent.units.count + 1)))
    let operation = word.operation(
      // A replace reaches the whole hive, from whichever key of it.
      key: word == .replace ? hiveName(of: name) : word.isOfValue ? parent : name,
      value: word.isOfValue ? value : nil,
      newName: arguments.count == 3 ? UnicodeName(arguments[2]) : nil)
    guard let operation else { return nil }
    if facts.isReadOnly, ![.query, .save, .flush].contains(word) { return "deny: the mount is read-only\n" }
    let process = processes.context(forThread: caller.threadID, uid: caller.userID, gid: caller.groupID)
    let explanation = rules().explain(operation, process: process)
    return "\(explanation.decision.summary)\n\(explanation)\n"
  }

  /// The name of the root of the hive that a key lies in.
  private func hiveName(of name: UnicodeName) -> UnicodeName {
    guard facts.location == #"\REGISTRY"# else { return facts.location }
    let components = name.units.split(separator: 0x5C).prefix(3)
    return components.reduce(UnicodeName(units: [])) { $0.appending(UnicodeName(units: Array($1))) }
  }

  func status() -> String {
    let rules = rules()
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
