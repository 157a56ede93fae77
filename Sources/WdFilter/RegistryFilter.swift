package import ConfigurationManager
package import Executive
package import Notifications
package import ProcessTable
internal import Synchronization

/// The filter: judges every change by the hardening list and the monitored keys, and reports what rules watch or refuse
/// (MpRegCallback).
package final class RegistryFilter: RegistryCallback {
  package static let altitude = "328010"

  private let rules: Mutex<RuleSet>
  private let processes: ProcessTable
  private let notify: @Sendable (consuming Notification) -> Void
  private let refusals: RefusalLog
  private let sync: SyncChannel?
  /// Changes that no rule speaks of are reported as well.
  private let reportsEveryChange: Bool
  package let currentControlSet: UInt32?
  package let counters = FilterCounters()

  /// Without `sync`, processes that are to be asked about are like any others. `currentControlSet` as for `EventEncoder`.
  package init(
    rules: RuleSet, processes: ProcessTable, notify: @escaping @Sendable (consuming Notification) -> Void,
    refusals: RefusalLog, sync: SyncChannel? = nil, reportsEveryChange: Bool = false, currentControlSet: UInt32? = nil
  ) {
    self.currentControlSet = currentControlSet
    self.reportsEveryChange = reportsEveryChange
    self.sync = sync
    self.rules = Mutex(rules)
    self.processes = processes
    self.notify = notify
    self.refusals = refusals
  }

  /// The rules in force.
  package var rulesInForce: RuleSet { rules.withLock { $0 } }

  /// Puts other rules in force, whole: an operation is judged by the old ones or by the new ones (MpRegUpdateData).
  package func replaceRules(_ newRules: RuleSet) { rules.withLock { $0 = newRules } }

  /// The classes that the rules in force need, pre and post, as bits of `NotifyClass`.
  package var interests: UInt64 { interests(under: rulesInForce) }

  func interests(under rules: RuleSet) -> UInt64 {
    reportsEveryChange ? rules.interests | FilteredClass.interestMask : rules.interests
  }

  /// What pre leaves for post.
  private final class Watch: Sendable {
    let decision: Decision
    let oldValue: RegistryValue?
    /// Those that judged.
    let rules: RuleSet
    /// The sync client would have refused it.
    let decidedBy: String?
    /// Neither a rule of the policy's own nor the log wants to know.
    let isOnlyForDetection: Bool
    /// Who asked, where a rule waits for the data.
    let accused: ProcessContext?

    init(
      decision: Decision, oldValue: RegistryValue?, rules: RuleSet, decidedBy: String?, isOnlyForDetection: Bool,
      accused: ProcessContext? = nil
    ) {
      self.accused = accused
      self.rules = rules
      self.isOnlyForDetection = isOnlyForDetection
      self.decidedBy = decidedBy
      self.decision = decision
      self.oldValue = oldValue
    }
  }

  package func preOperation(
    _ operation: RegistryOperation, _ call: inout RegistryCall
  ) -> NTStatus {
    let caller = call.caller
    let rules = rulesInForce
    var decision = decide(operation, by: caller, under: rules)
    var outcome = Self.outcome(of: decision)
    var decidedBy: String?
    if decision.verdict == .allow, decision.asksSyncClient, let refusal = askSyncClient(operation, decision, caller, rules.sigma) {
      // Audit mode refuses nothing, whoever would.
      if rules.mode == .enforce, !decision.isAudited {
        decision.verdict = .deny
        outcome = .refusedBySyncClient
      } else {
        decision.isAudited = true
        outcome = .audited
      }
      decision.reason = .syncClient
      decidedBy = refusal.reason
    }
    counters.count(operation.preClass, outcome)
    if decision.verdict == .deny { return refuse(operation, decision, caller, rules, decidedBy: decidedBy) }
    let isWanted = decision.reportsOutcome || reportsEveryChange
    guard isWanted || rules.isWatchedBySigma(operation.preClass) else { return .success }
    switch operation {
    // Without data it is the judgement at an open. Most have another one when the data is set, and this is cancelled; a value that is only
    // emptied or made is set by it.
    case .setValueKey(let key, let valueName, _), .deleteValueKey(let key, let valueName):
      let oldValue = decision.retrievesOldValue ? call.registry.queryValue(of: key, named: valueName) : nil
      var isPending = false
      if case .setValueKey(_, _, nil) = operation {
        isPending = rules.sigma?.mayAccuse(operation, currentControlSet: currentControlSet) == true
      }
      call.callContext = Watch(
        decision: decision, oldValue: oldValue, rules: rules, decidedBy: decidedBy, isOnlyForDetection: !isWanted,
        accused: isPending ? decision.process ?? processes.context(of: caller) : nil)
    default:
      call.callContext = Watch(
        decision: decision, oldValue: nil, rules: rules, decidedBy: decidedBy, isOnlyForDetection: !isWanted)
    }
    return .success
  }

  private func refuse(
    _ operation: RegistryOperation, _ decision: Decision, _ caller: Caller, _ rules: RuleSet, decidedBy: String? = nil
  ) -> NTStatus {
    var notification = Self.notification(
      of: operation, operation.preClass, status: .accessDenied, decision, decision.process, caller, oldValue: nil,
      sigma: rules.sigma)
    notification.decidedBy = decidedBy
    refusals.record(notification, reason: decision.reason)
    decision.process?.record?.countRefusal()
    decision.process?.record?.countNotification()
    notify(notification)
    return .accessDenied
  }

  /// A value that is only emptied, or made and never written: a Sigma rule may speak of its data. By the rules and for the process
  /// of the open.
  package func admittedOperation(
    _ operation: RegistryOperation, _ call: inout RegistryCall
  ) -> NTStatus {
    guard let watch = call.callContext as? Watch, watch.rules.isJudgedBySigma(operation.preClass) else { return .success }
    let process = watch.accused
    let decision = watch.rules.decide(operation, currentControlSet: currentControlSet) { process }
    guard decision.reason == .sigma else { return .success }
    counters.count(operation.preClass, Self.outcome(of: decision))
    if decision.verdict == .deny { return refuse(operation, decision, call.caller, watch.rules) }
    call.callContext = Watch(
      decision: decision, oldValue: watch.oldValue, rules: watch.rules, decidedBy: watch.decidedBy, isOnlyForDetection: false)
    return .success
  }

  /// The decision by one version of the rules, one in some of them timed.
  private func decide(_ operation: RegistryOperation, by caller: Caller, under rules: RuleSet) -> Decision {
    let begin = counters.isTimed(operation.preClass) ? MonotonicClock.nanoseconds() : 0
    var lookupTime: UInt64 = 0
    let decision = rules.decide(operation, currentControlSet: currentControlSet) {
      let before = MonotonicClock.nanoseconds()
      let process = processes.context(of: caller)
      lookupTime = MonotonicClock.nanoseconds() &- before
      counters.lookupTime.record(nanoseconds: lookupTime)
      return process
    }
    if begin != 0 { counters.matchTime.record(nanoseconds: MonotonicClock.nanoseconds() &- begin &- lookupTime) }
    return decision
  }

  private static func outcome(of decision: Decision) -> DecisionOutcome {
    if decision.verdict == .deny { return .refused }
    if decision.isAudited { return .audited }
    if decision.isExempt { return .exempt }
    return decision.reason == .untouched ? .untouched : .watched
  }

  /// Nil when the operation may go on; otherwise how it came that it may not. Waits for the client, with no lock held.
  ///
  /// What a rule refuses is not asked about: it would make a caller wait for nothing. A value that is written through a file is
  /// asked about at its open, before its data is known: that is where a program looks for errors, and a truncation that nobody
  /// writes to has no later judgement.
  private func askSyncClient(
    _ operation: RegistryOperation, _ decision: Decision, _ caller: Caller, _ sigma: SigmaPolicy?
  ) -> SyncOutcome? {
    guard let sync, let process = decision.process else { return nil }
    let outcome = sync.ask(
      Self.notification(
        of: operation, operation.preClass, status: .success, decision, decision.process, caller, oldValue: nil, sigma: sigma),
      by: SyncProcess(processID: process.processID, startTicks: process.startTicks))
    return outcome.verdict == .deny ? outcome : nil
  }

  package func postOperation(
    _ operation: RegistryOperation, status: NTStatus, _ call: inout RegistryCall
  ) -> NTStatus {
    // What was judged and then not done did not fail.
    guard let watch = call.callContext as? Watch,
      status.isSuccess || watch.rules.reportsFailures && status != .cancelled
    else { return .success }
    // Nobody had to know for the decision who asks.
    let process = watch.decision.process ?? (watch.decision.reason == .untouched ? processes.context(of: call.caller) : nil)
    var notification = Self.notification(
      of: operation, operation.postClass, status: status, watch.decision, process, call.caller, oldValue: watch.oldValue,
      sigma: watch.rules.sigma)
    // Rules that have nothing to say are not those of a decision.
    if watch.rules.sigma != nil { notification.rulesVersion = watch.rules.version }
    notification.isOnlyForDetection = watch.isOnlyForDetection
    notification.decidedBy = watch.decidedBy
    notification.transactionID = call.transactionID
    watch.decision.process?.record?.countNotification()
    notify(notification)
    return .success
  }

  /// With `sigma`, readers of the event ask its rules about it.
  static func notification(
    of operation: RegistryOperation, _ notifyClass: NotifyClass, status: NTStatus, _ decision: Decision,
    _ process: ProcessContext?, _ caller: Caller, oldValue: RegistryValue?, sigma: SigmaPolicy? = nil
  ) -> Notification {
    var notification = Notification(
      time: .now(), notifyClass: notifyClass, status: status, denied: decision.verdict == .deny || decision.isAudited,
      process: Self.describe(process, caller), keyName: operation.completeName)
    notification.audited = decision.isAudited
    if notification.denied { notification.exemption = decision.explanation }
    notification.rulesVersion = decision.rulesVersion
    switch operation {
    case .setValueKey(_, let valueName, let value):
      notification.valueName = valueName
      notification.newValue = value
    case .deleteValueKey(_, let valueName), .queryValueKey(_, let valueName):
      notification.valueName = valueName
    case .renameKey(let key, let newName):
      notification.newKeyName = RuleSet.name(of: key, renamedTo: newName)
    case .restoreKey(_, let sourceFile, let flags):
      notification.fileName = sourceFile
      notification.restoreFlags = flags
    case .replaceKey(_, let newFile, let oldFile):
      notification.fileName = newFile
      notification.oldFileName = oldFile
    case .loadKey(_, let sourceFile, _):
      notification.fileName = sourceFile
    case .saveKey(_, let file, _):
      notification.fileName = file
    default:
      break
    }
    notification.oldValue = oldValue
    notification.finalKeyRules = decision.finalKeyRules.rawValue
    notification.ruleNames = decision.finalKeyRules.names
    notification.ruleIDs = decision.ruleIDs
    notification.ruleSource = decision.source?.description
    notification.matchHashes = decision.hashes.map(\.hexadecimal)
    if let sigma {
      notification.process.image = sigma.image(of: notification.process.executable)
      notification.detector = sigma.rules
    }
    if let rule = decision.sigmaRule { notification.detections = [rule] }
    return notification
  }

  private static func describe(_ process: ProcessContext?, _ caller: Caller) -> ProcessDescription {
    process.map { ProcessDescription($0) }
      ?? ProcessDescription(
        processID: 0, threadID: caller.threadID, userID: caller.userID, groupID: caller.groupID)
  }
}
