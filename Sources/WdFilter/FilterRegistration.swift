package import ConfigurationManager
internal import Executive
package import Notifications
package import ProcessTable

/// The filter at work in a callback stack: query hardening, and the main callback registered last (MpRegInitialize,
/// MpRegisterRegCallback). What was begun is undone when a step fails.
package final class FilterRegistration: Sendable {
  /// Why there is no filter.
  package enum Failure: Error, Hashable, Sendable, CustomStringConvertible {
    case altitudeTaken(String)
    case selfTest

    package var description: String {
      switch self {
      case .altitudeTaken(let altitude): "the filter's altitude \(altitude) is taken"
      case .selfTest: "the filter's self-test failed: \(HardeningList.canaryService) is not refused"
      }
    }
  }

  package let filter: RegistryFilter
  package let queries: QueryHardening
  package let documents: DocumentOpenMonitor
  private let processes: ProcessTable
  private let callbacks: CallbackStack
  private let queriesCookie: CallbackCookie
  /// Nil on a read-only registry, where nothing can be changed.
  private let filterCookie: CallbackCookie?

  /// `currentControlSet` as for `EventEncoder`. `judgesChanges` is false for a read-only registry: reading is judged there as well.
  package init(
    rules: RuleSet, judgesChanges: Bool, processes: ProcessTable,
    notify: @escaping @Sendable (consuming Notification) -> Void,
    notifyOpen: @escaping @Sendable (consuming DocumentOpenEvent) -> Void = { _ in }, refusals: RefusalLog,
    sync: SyncChannel? = nil, reportsEveryChange: Bool = false, currentControlSet: UInt32? = nil, in callbacks: CallbackStack
  ) throws(Failure) {
    guard rules.passesSelfTest else { throw .selfTest }
    filter = RegistryFilter(
      rules: rules, processes: processes, notify: notify, refusals: refusals, sync: sync,
      reportsEveryChange: reportsEveryChange, currentControlSet: currentControlSet)
    queries = QueryHardening(rules: rules, processes: processes, notify: notify, refusals: refusals)
    documents = DocumentOpenMonitor(rules: rules, processes: processes, notify: notifyOpen)
    self.callbacks = callbacks
    self.processes = processes
    queriesCookie = try Self.register(
      queries, at: QueryHardening.altitude, rules.queryInterests, rules.queriedValues, in: callbacks)
    guard judgesChanges else {
      filterCookie = nil
      return
    }
    do throws(Failure) {
      filterCookie = try Self.register(filter, at: RegistryFilter.altitude, filter.interests, nil, in: callbacks)
    } catch {
      try? callbacks.unregister(queriesCookie)
      throw error
    }
  }

  private static func register(
    _ callback: any RegistryCallback, at altitude: String, _ interests: UInt64, _ queriedValues: [UnicodeName]?,
    in callbacks: CallbackStack
  ) throws(Failure) -> CallbackCookie {
    guard let place = Altitude(altitude) else { throw .altitudeTaken(altitude) }
    do throws(NTStatus) {
      return try callbacks.register(callback, altitude: place, interests: interests, queriedValues: queriedValues)
    } catch { throw .altitudeTaken(altitude) }
  }

  /// Puts other rules in force, whole, or throws and leaves the old ones. No operation falls between the two: the filter is asked
  /// about the classes of both while they change, and every admission that the old rules gave is outdated afterwards.
  package func replaceRules(_ rules: RuleSet) throws(Failure) {
    guard rules.passesSelfTest else { throw .selfTest }
    queries.replaceRules(rules)
    documents.replaceRules(rules)
    // The cookies are ours and stay registered until `unregister`.
    try? callbacks.setInterests(rules.queryInterests, of: queriesCookie, queriedValues: rules.queriedValues)
    if let filterCookie { try? callbacks.setInterests(filter.interests | filter.interests(under: rules), of: filterCookie) }
    filter.replaceRules(rules)
    if let filterCookie { try? callbacks.setInterests(filter.interests, of: filterCookie) }
    // Until a process is judged anew, entries that ask for more than executable and ids do not match it.
    processes.reclassify()
  }

  /// The process is still the one that was meant.
  package func isAlive(_ process: ProcessKey) -> Bool {
    processes.record(ofProcess: process.processID)?.facts.startTicks == process.startTicks
  }

  /// Takes both callbacks out and waits for their calls in flight; the main one first.
  package func unregister() {
    if let filterCookie { try? callbacks.unregister(filterCookie) }
    try? callbacks.unregister(queriesCookie)
  }
}

extension RuleSet {
  /// The canary is refused. Asked of the rules and not of the stack: a self-test is nobody's refusal.
  var passesSelfTest: Bool {
    ["ControlSet001", "CurrentControlSet"].allSatisfy { set in
      let services = UnicodeName(#"\REGISTRY\MACHINE\SYSTEM"#).appending(UnicodeName(set)).appending("Services")
      let canary = services.appending(UnicodeName(HardeningList.canaryService))
      let parent = KeyReference(id: 0, completeName: services)
      let decision = explain(.createKey(completeName: canary, parent: parent, options: []), process: nil).decision
      return decision.verdict == .deny && decision.reason == .canary
    }
  }
}
