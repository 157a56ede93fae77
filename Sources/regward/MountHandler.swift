internal import Executive
internal import Glibc
internal import Notifications
internal import RegistryFileSystem
internal import Synchronization
internal import WdFilter

/// What does not change while a hive is mounted.
struct MountFacts: Sendable {
  let hive: String
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
  private let sink: FileSink?
  private let sync: SyncChannel
  private let socket = Mutex<ControlSocket?>(nil)

  init(
    facts: MountFacts, filter: RegistryFilter, rules: RulesInForce, refusals: RefusalLog, queue: NotificationQueue,
    sink: FileSink?, sync: SyncChannel
  ) {
    self.facts = facts
    self.filter = filter
    self.rules = rules
    self.refusals = refusals
    self.queue = queue
    self.sink = sink
    self.sync = sync
  }

  /// The socket that answers for this mount as well, once it is there.
  func attach(_ socket: ControlSocket) { self.socket.withLock { $0 = socket } }

  /// How an answer begins when there is nothing to tell; `regward why` exits with 1 then.
  static let nothing = "no refusal on record for "

  func why(_ name: UnicodeName) -> String {
    refusals.last(for: name).map { "\($0)\n" } ?? "\(Self.nothing)\(name)\n"
  }

  func status() -> String { statusJSON.json + "\n" }

  func stats() -> String { statistics.prometheus }

  /// The facts, then what was counted.
  var statusJSON: JSONValue {
    let rules = rules.state
    let ruleSet = filter.rulesInForce
    let statistics = statistics
    let facts: KeyValuePairs<String, JSONValue> = [
      "pid": .count(getpid()), "hive": .text(facts.hive), "mountPoint": .text(facts.mountPoint),
      "location": .text(facts.location.description), "readOnly": .flag(facts.isReadOnly),
      "socket": .optional(socket.withLock { $0?.path }), "policy": .text(self.rules.policyName),
      "mode": .text(ruleSet.mode.rawValue), "rulesVersion": .count(ruleSet.version),
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
    statistics.updates = state.updates
    statistics.failedUpdates = state.failures
    statistics.decisions = FilterCounters.classes.map { row in
      (row.name, DecisionOutcome.allCases.map { filter.counters.count(of: row, $0) })
    }
    statistics.matchTime = filter.counters.matchTime.snapshot
    statistics.lookupTime = filter.counters.lookupTime.snapshot
    let events = queue.counters
    statistics.events = .init(queued: events.enqueued, delivered: events.delivered, dropped: events.dropped)
    statistics.log = sink.map { sink in
      let counters = sink.counters
      return .init(accepted: counters.accepted, lost: counters.lost, errors: counters.errors)
    }
    statistics.sync = SyncMessageType.allCases.map { ($0, sync.counters(of: $0)) }
    statistics.syncConfiguration = sync.configuration
    let standing = sync.standing
    statistics.syncClient = standing.client
    statistics.syncWaiting = standing.waiting
    statistics.control = socket.withLock { $0 }?.counters
    return statistics
  }
}
