package import ConfigurationManager
package import Executive
package import Notifications
package import ProcessTable
internal import Synchronization

/// A value that processes with one of some flags do not get to see (wdfilter.md 3.5).
package struct QueryDeniedValue: Hashable, Sendable {
  package let valueName: String
  package let flags: ProcessFlags
  package let source: RuleSource

  package init(valueName: String, flags: ProcessFlags, source: RuleSource) {
    self.valueName = valueName
    self.flags = flags
    self.source = source
  }

  /// How the entry is called in refusals and events.
  package var id: String { "query_denied: \(valueName)" }

  /// The driver's own: no foreign library is loaded into the protected process.
  package static let standard = [
    QueryDeniedValue(valueName: "LoadAppInit_DLLs", flags: [.msSeces, .mpServiceSid], source: .builtIn)
  ]
}

extension RuleSet {
  /// Judges the reading of a value, by its name alone. The process is looked up only for a name on the list.
  package func decideQuery(of valueName: UnicodeName, process lookUp: () -> ProcessContext?) -> Decision {
    judgeQuery(of: valueName, nil, lookUp)
  }

  /// Judges the saving of a key, wherever it lies, by the values that the process does not get to see.
  package func decideSave(process lookUp: () -> ProcessContext?) -> Decision {
    guard queryInterests != 0 else { return .untouched }
    let process = lookUp()
    for name in queryDeniedNames {
      let decision = decideQuery(of: name) { process }
      if decision.reason == .queryDenied { return decision }
    }
    return .untouched
  }

  func judgeQuery(
    of valueName: UnicodeName, _ trace: DecisionTrace?, _ lookUp: () -> ProcessContext?
  ) -> Decision {
    guard mode != .off, let index = queryDeniedNames.firstIndex(where: { $0.equalsIgnoringCase(valueName) }) else {
      trace?.note(.query, "no entry of query_denied names the value")
      return .untouched
    }
    let process = lookUp()
    let standing = ProcessStanding(of: process, under: self)
    trace?.note(.process, ProcessStanding.explanation(of: process, under: self))
    // Entries of one name add up.
    guard
      let place = queryDenied.indices.dropFirst(index).first(where: {
        queryDeniedNames[$0].equalsIgnoringCase(valueName) && !standing.flags.isDisjoint(with: queryDenied[$0].flags)
      })
    else {
      trace?.note(.query, "the value is on the list, and the process carries none of the flags")
      return .untouched
    }
    let payload = payload(ofQueryDenied: place)
    if let trace {
      let entry = queryDenied[place]
      let carried = standing.flags.intersection(entry.flags).names
      trace.note(.query, "'\(entry.id)' (\(entry.source)) for \(carried.joined(separator: ", "))")
    } else {
      hits.raise(payload)
    }
    return Decision(
      verdict: mode == .audit ? .allow : .deny, reason: .queryDenied, isAudited: mode == .audit, payload: payload,
      of: self, process: process)
  }

  /// The names whose queries it needs to see.
  package var queriedValues: [UnicodeName] { queryDeniedNames }

  /// What query hardening needs to see: nothing while no process can carry one of the flags, so that reading costs nothing.
  package var queryInterests: UInt64 {
    let flags = queryDenied.reduce(into: ProcessFlags()) { $0.formUnion($1.flags) }
    let given = processes.reduce(into: ProcessFlags()) { $0.formUnion($1.flags ?? []) }
      .union(exclusions.isEmpty ? [] : .excluded).union(friendly.isEmpty ? [] : .friendly)
      .union(processChanges.values.reduce(into: ProcessFlags()) { $0.formUnion($1.setFlags) })
    return mode == .off || flags.isDisjoint(with: given) ? 0 : NotifyClass.preQueryValueKey.bit | NotifyClass.preSaveKey.bit
  }
}

/// Refuses the reading of some values to some processes (MpRegHardeningCallback). A process that is not known carries no
/// flags and reads, as in the driver.
package final class QueryHardening: RegistryCallback {
  /// Beside the filter's own, above it.
  package static let altitude = "328010.5"

  private let rules: Mutex<RuleSet>
  private let processes: ProcessTable
  private let notify: @Sendable (consuming Notification) -> Void
  private let refusals: RefusalLog

  package init(
    rules: RuleSet, processes: ProcessTable, notify: @escaping @Sendable (consuming Notification) -> Void,
    refusals: RefusalLog
  ) {
    self.rules = Mutex(rules)
    self.processes = processes
    self.notify = notify
    self.refusals = refusals
  }

  package func replaceRules(_ newRules: RuleSet) { rules.withLock { $0 = newRules } }

  /// The classes that the rules in force need, as bits of `NotifyClass`.
  package var interests: UInt64 { rules.withLock { $0 }.queryInterests }

  package func preOperation(_ operation: RegistryOperation, _ call: inout RegistryCall) -> NTStatus {
    let caller = call.caller
    let rules = rules.withLock { $0 }
    let decision: Decision
    switch operation {
    case .queryValueKey(_, let valueName): decision = rules.decideQuery(of: valueName) { processes.context(of: caller) }
    // What is saved is read: who may not see a value saves no keys.
    case .saveKey: decision = rules.decideSave { processes.context(of: caller) }
    default: return .success
    }
    guard decision.reason == .queryDenied else { return .success }
    let status = decision.verdict == .deny ? NTStatus.accessDenied : .success
    let notification = RegistryFilter.notification(
      of: operation, operation.preClass, status: status, decision, decision.process, caller, oldValue: nil)
    if decision.verdict == .deny {
      refusals.record(notification, reason: decision.reason)
      decision.process?.record?.countRefusal()
    }
    decision.process?.record?.countNotification()
    notify(notification)
    return status
  }

  package func postOperation(
    _ operation: RegistryOperation, status: NTStatus, _ call: inout RegistryCall
  ) -> NTStatus { .success }
}
