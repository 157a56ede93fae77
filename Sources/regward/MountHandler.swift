internal import ConfigurationManager
internal import Executive
internal import Glibc
internal import HiveStorage
internal import Notifications
internal import ProcessTable
internal import RegFile
internal import RegistryFileSystem
internal import Sigma
internal import Synchronization
internal import WdFilter

/// What does not change while a hive is mounted.
struct MountFacts: Sendable {
  let hives: [String]
  let mountPoint: String
  let location: UnicodeName
  let isReadOnly: Bool
}

/// Answers what is asked through `/%ctl/`.
final class MountHandler: ControlHandler {
  private let facts: MountFacts
  private let filter: RegistryFilter
  private let rules: RulesInForce
  private let refusals: RefusalLog
  private let queue: NotificationQueue
  private let encoder: EventEncoder
  private let sync: SyncChannel
  private let processes: ProcessTable
  private let storage: @Sendable () -> [Registry.HiveState]
  private let scratchMemory: ScratchMemory
  private let socket = Mutex<ControlSocket?>(nil)

  init(
    facts: MountFacts, filter: RegistryFilter, rules: RulesInForce, refusals: RefusalLog, queue: NotificationQueue, encoder: EventEncoder = EventEncoder(),
    sync: SyncChannel, processes: ProcessTable,
    storage: @escaping @Sendable () -> [Registry.HiveState], scratchMemory: ScratchMemory
  ) {
    self.scratchMemory = scratchMemory
    self.processes = processes
    self.facts = facts
    self.filter = filter
    self.rules = rules
    self.refusals = refusals
    self.queue = queue
    self.encoder = encoder
    self.sync = sync
    self.storage = storage
  }

  /// The socket that answers for this mount as well, once it is there.
  func attach(_ socket: ControlSocket) { self.socket.withLock { $0 = socket } }

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
      let wanted = try RuleListingFilter(parsing: arguments[0])
      return RuleTable.answer(filter.rulesInForce.listings.filter(wanted.matches), asTable: arguments.count == 2)
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
    let explanation = filter.rulesInForce.explain(
      operation, currentControlSet: filter.currentControlSet, process: process)
    return "\(explanation.decision.summary)\n\(explanation)\n"
  }

  /// The name of the root of the hive that a key lies in.
  private func hiveName(of name: UnicodeName) -> UnicodeName {
    guard facts.location == #"\REGISTRY"# else { return facts.location }
    let components = name.units.split(separator: 0x5C).prefix(3)
    return components.reduce(UnicodeName(units: [])) { $0.appending(UnicodeName(units: Array($1))) }
  }

  func status() -> String { statusJSON.json + "\n" }

  func ruleListing() -> String { RuleTable.text(filter.rulesInForce.listings) }

  func openEvents(onArrival: @escaping @Sendable () -> Void) -> (any EventStream)? {
    queue.subscribe(onArrival: onArrival).map { FeedLines($0, queue, encoder) }
  }

  func export(_ saved: UnnamedFile, named name: UnicodeName, to file: UnnamedFile) throws(NTStatus) {
    let hive: Hive
    do throws(HiveError) { hive = try Hive(device: saved.device, access: .readOnly) } catch { throw NTStatus(error) }
    let written = ExportedText(file)
    let export = RegFileExport(of: "%ctl/export", encoding: .utf16) { written.append($0) }
    HiveExport.write(hive, from: hive.rootKey, named: RegFileKeyName(name), to: export)
    guard export.finish() else { throw written.failure ?? .registryIOFailed }
  }

  func stats() -> String {
    var statistics = statistics
    statistics.hits = filter.rulesInForce.listings
    return statistics.prometheus
  }

  /// The facts, then what was counted.
  var statusJSON: JSONValue {
    let rules = rules.state
    let ruleSet = filter.rulesInForce
    let statistics = statistics
    let callers = processes.statistics
    let unsaved = scratchMemory.counters
    let facts: KeyValuePairs<String, JSONValue> = [
      "pid": .count(getpid()), "hive": .text(facts.hives.first ?? ""), "hives": .list(storage().map { .text($0.name) }),
       "mountPoint": .text(facts.mountPoint),
      "location": .text(facts.location.description), "readOnly": .flag(facts.isReadOnly),
      "socket": .optional(socket.withLock { $0?.path }), "policy": .text(self.rules.policyName),
      "mode": .text(ruleSet.mode.rawValue),
      "amendments": .optional(rules.amendments.isEmpty ? nil : rules.amendments.summary),
      "guards": .text(processes.guards.description),
      "callers": .object([
        "processes": .count(callers.records), "threads": .count(callers.threads), "losses": .count(callers.losses),
      ]), "rulesVersion": .count(ruleSet.version),
      "unsaved": .object([
        "values": .count(unsaved.values), "scratchBytes": .count(unsaved.bytes), "promoted": .count(unsaved.promoted),
        "lost": .count(unsaved.lost),
      ]),
      "updates": .object([
        "succeeded": .count(rules.updates), "failed": .count(rules.failures), "lastError": .optional(rules.lastError),
      ]),
    ]
    return .object(facts.map { JSONValue.Member(name: $0.key, value: $0.value) } + statistics.members)
  }

  private var statistics: MountStatistics {
    let state = rules.state
    let rules = filter.rulesInForce
    var statistics = MountStatistics()
    statistics.rulesVersion = rules.version
    statistics.hardened = rules.hardened.count
    statistics.monitored = rules.monitored.count
    statistics.processes = rules.processes.count
    statistics.sigma = rules.sigma?.rules.rules.count ?? 0
    statistics.updates = state.updates
    statistics.failedUpdates = state.failures
    statistics.decisions = FilterCounters.classes.map { row in
      (row.name, DecisionOutcome.allCases.map { filter.counters.count(of: row, $0) })
    }
    statistics.matchTime = filter.counters.matchTime.snapshot
    statistics.lookupTime = filter.counters.lookupTime.snapshot
    let events = queue.counters
    statistics.events = .init(queued: events.enqueued, delivered: events.delivered, dropped: events.dropped)
    statistics.logs = queue.sinks.map { sink in
      .init(
        name: sink.name, accepted: sink.sink.accepted, lost: sink.sink.lost, errors: sink.sink.errors,
        dropped: sink.feed.dropped)
    }
    statistics.sync = SyncMessageType.allCases.map { ($0, sync.counters(of: $0)) }
    statistics.syncConfiguration = sync.configuration
    let standing = sync.standing
    statistics.syncClient = standing.client
    statistics.syncWaiting = standing.waiting
    statistics.storage = storage()
    statistics.control = socket.withLock { $0 }?.counters
    return statistics
  }
}
