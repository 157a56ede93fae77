internal import ConfigurationManager
internal import Executive
internal import Notifications
internal import WdFilter

/// What a mount has counted, at one moment: for `/%ctl/status`, `/%ctl/stats`, `regward status` and QUERY_STATISTICS.
struct MountStatistics: Sendable {
  struct Events: Sendable {
    var queued: UInt64 = 0
    var delivered: UInt64 = 0
    var dropped: UInt64 = 0
  }

  /// One place for events.
  struct Log: Sendable {
    var name = ""
    var accepted: UInt64 = 0
    var lost: UInt64 = 0
    var errors: UInt64 = 0
    /// Given up for it by the queue.
    var dropped: UInt64 = 0
  }

  var rulesVersion: UInt64 = 0
  var hardened = 0
  var sigma = 0
  var monitored = 0
  var processes = 0
  var updates: UInt64 = 0
  var failedUpdates: UInt64 = 0
  /// Per class, in the order of the filter's table; the counts in the order of `DecisionOutcome`.
  var decisions: [(name: String, counts: [UInt64])] = []
  /// For the text of the counters only: a status goes into one packet.
  var hits: [RuleListing] = []
  var matchTime = LatencyHistogram().snapshot
  var lookupTime = LatencyHistogram().snapshot
  var events = Events()
  var logs: [Log] = []
  var sync: [(type: SyncMessageType, counters: SyncChannel.Counters)] = []
  var syncConfiguration = SyncConfiguration()
  var syncClient: (processID: Int32, isDeciding: Bool)?
  var syncWaiting = 0
  /// Of each hive; those that are mounted for reading only, too.
  var storage: [Registry.HiveState] = []
  /// Nil without a socket.
  var control: ControlSocket.Counters?

  // MARK: JSON

  /// The members for the status; `decisions` and the rest by the names that the text format uses.
  var members: [JSONValue.Member] {
    var members = [
      member(
        "rules",
        .object(["hardened": .count(hardened), "monitored": .count(monitored), "processes": .count(processes), "sigma": .count(sigma)])),
      member(
        "events",
        .object([
          "queued": .count(events.queued), "delivered": .count(events.delivered), "dropped": .count(events.dropped),
        ])),
    ]
    members.append(
      member(
        "logs",
        .list(
          logs.map { log in
            .object([
              "name": .text(log.name), "accepted": .count(log.accepted), "lost": .count(log.lost),
              "errors": .count(log.errors), "dropped": .count(log.dropped),
            ])
          })))
    members.append(
      member(
        "decisions",
        .object(
          decisions.map { row in
            let counts = zip(DecisionOutcome.allCases, row.counts).map { member($0.name, .count($1)) }
            return member(row.name, .object(counts))
          })))
    members.append(
      member(
        "storage",
        .list(
          storage.map { hive in
            .object([
              "hive": .text(hive.name), "log_bytes": .count(hive.logSize),
              "stopped": .optional(hive.failure.map { "\($0)" }),
            ])
          })))
    members.append(member("match_time", Self.json(matchTime)))
    members.append(member("lookup_time", Self.json(lookupTime)))
    members.append(member("sync", syncJSON))
    if let control {
      members.append(
        member(
          "control",
          .object([
            "connections": .count(control.connections), "accepted": .count(control.accepted),
            "refused": .count(control.refused), "cut_off": .count(control.cutOff), "packets": .count(control.packets),
          ])))
    }
    return members
  }

  private func member(_ name: String, _ value: JSONValue) -> JSONValue.Member {
    JSONValue.Member(name: name, value: value)
  }

  /// Nanoseconds.
  private static func json(_ snapshot: LatencyHistogram.Snapshot) -> JSONValue {
    func quantile(_ fraction: Double) -> JSONValue { snapshot.quantile(fraction).map { .count($0) } ?? .null }
    return .object([
      "count": .count(snapshot.count), "sum_ns": .count(snapshot.sum), "p50_ns": quantile(0.5),
      "p99_ns": quantile(0.99), "max_ns": quantile(1),
    ])
  }

  private var syncJSON: JSONValue {
    let types = sync.map { type, counters in
      member(
        type.name,
        .object([
          "type": .count(type.rawValue), "sent": .count(counters.sent), "received": .count(counters.received),
          "denied": .count(counters.denied), "errors": .count(counters.errors),
          "last_error": .count(counters.lastError), "timeouts": .count(counters.timeouts),
          "mismatches": .count(counters.mismatches), "passed_through": .count(counters.passedThrough),
          "unattended": .count(counters.unattended), "crowded": .count(counters.crowded),
          "total_wait_ns": .count(counters.totalWait),
        ]))
    }
    let client: JSONValue = syncClient.map {
      .object(["pid": .count($0.processID), "deciding": .flag($0.isDeciding)])
    } ?? .null
    return .object([
      "client": client, "waiting": .count(syncWaiting), "timeout_ms": .count(syncConfiguration.timeout),
      "timeouts_until_pass_through": .count(syncConfiguration.timeoutsUntilPassThrough),
      "retry_after_ms": .count(syncConfiguration.retryAfter),
      "on_timeout": .text(syncConfiguration.onTimeout.rawValue), "types": .object(types),
    ])
  }

  // MARK: Prometheus

  var prometheus: String {
    var text = PrometheusText()
    text.family("regward_rules_version", .gauge, "Version of the rules in force, 1 at mount.", rulesVersion)
    text.family("regward_rules", .gauge, "Entries of the policy in force.") { family in
      for (kind, count) in [("hardened", hardened), ("monitored", monitored), ("process", processes), ("sigma", sigma)] {
        family.sample(["kind": kind], count)
      }
    }
    text.family("regward_policy_updates_total", .counter, "Attempts to replace the policy since the mount.") { family in
      family.sample(["result": "ok"], updates)
      family.sample(["result": "error"], failedUpdates)
    }
    text.family("regward_decisions_total", .counter, "Judged operations by notify class and outcome.") { family in
      for row in decisions {
        for (outcome, count) in zip(DecisionOutcome.allCases, row.counts) {
          family.sample(["class": row.name, "outcome": outcome.name], count)
        }
      }
    }
    text.family("regward_rule_hits_total", .counter, "Decisions in which a rule took part, since it came into force.") {
      family in
      for rule in hits where rule.hits > 0 {
        family.sample(
          [
            "kind": rule.kind.rawValue, "id": rule.id, "key": rule.key ?? "",
            "value": rule.value ?? (rule.ofAnyValue ? "*" : ""), "source": "\(rule.source)",
          ], rule.hits)
      }
    }
    text.family(
      "regward_match_seconds", .histogram,
      "Time to find and weigh rules, one in \(FilterCounters.timedShare) decisions."
    ) { $0.histogram(matchTime) }
    text.family("regward_process_lookup_seconds", .histogram, "Time to learn who asks, when a rule has matched.") {
      $0.histogram(lookupTime)
    }
    text.family("regward_events_queued_total", .counter, "Events given to the queue.", events.queued)
    text.family("regward_events_delivered_total", .counter, "Events that the sinks have got.", events.delivered)
    text.family("regward_events_dropped_total", .counter, "Events that gave way in a full queue.", events.dropped)
    text.family("regward_log_lines_total", .counter, "Events for a log, by what became of them.") { family in
      for log in logs {
        family.sample(["log": log.name, "result": "accepted"], log.accepted)
        family.sample(["log": log.name, "result": "lost"], log.lost)
        family.sample(["log": log.name, "result": "dropped"], log.dropped)
      }
    }
    text.family("regward_log_errors_total", .counter, "Failed writes and opens of a log.") { family in
      for log in logs { family.sample(["log": log.name], log.errors) }
    }
    text.family("regward_storage_log_bytes", .gauge, "Size of the transaction log that a hive's changes go to.") { family in
      for hive in storage { family.sample(["hive": hive.name], hive.logSize) }
    }
    text.family("regward_storage_stopped", .gauge, "Whether a hive takes no changes after a failure.") { family in
      for hive in storage { family.sample(["hive": hive.name], hive.failure == nil ? 0 : 1) }
    }
    addSync(to: &text)
    if let control {
      text.family("regward_control_connections", .gauge, "Clients of the control socket.", control.connections)
      text.family("regward_control_accepted_total", .counter, "Connections let in.", control.accepted)
      text.family("regward_control_refused_total", .counter, "Connections refused.", control.refused)
      text.family("regward_control_cut_off_total", .counter, "Connections ended for what a client did.", control.cutOff)
      text.family("regward_control_packets_total", .counter, "Packets received.", control.packets)
    }
    return text.text
  }

  private func addSync(to text: inout PrometheusText) {
    text.family("regward_sync_client_connected", .gauge, "Whether a sync client is there.", syncClient == nil ? 0 : 1)
    text.family("regward_sync_waiting", .gauge, "Operations that wait for the sync client.", syncWaiting)
    let families: [(String, String, (SyncChannel.Counters) -> UInt64)] = [
      ("sent", "Questions to the sync client.", { $0.sent }),
      ("received", "Its correct answers.", { $0.received }),
      ("denied", "Of these, refusals.", { $0.denied }),
      ("errors", "Questions that did not reach it, or whose client went away.", { $0.errors }),
      ("timeouts", "Questions without an answer in time.", { $0.timeouts }),
      ("mismatches", "Answers with a wrong type or sequence, or too late.", { $0.mismatches }),
      ("passed_through", "Operations not asked about after too many time-outs.", { $0.passedThrough }),
      ("unattended", "Operations not asked about for want of a client.", { $0.unattended }),
      ("crowded", "Operations not asked about because too many waited.", { $0.crowded }),
    ]
    for (name, help, count) in families {
      text.family("regward_sync_\(name)_total", .counter, help) { family in
        for (type, counters) in sync { family.sample(["type": type.name], count(counters)) }
      }
    }
    text.family("regward_sync_wait_seconds_total", .counter, "Time that operations have waited for it.") { family in
      for (type, counters) in sync { family.sample(["type": type.name], nanoseconds: counters.totalWait) }
    }
  }
}
