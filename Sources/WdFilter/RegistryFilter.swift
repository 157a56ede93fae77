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

  package init(
    rules: RuleSet, processes: ProcessTable, notify: @escaping @Sendable (consuming Notification) -> Void,
    refusals: RefusalLog
  ) {
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
  package var interests: UInt64 { rules.withLock { $0 }.interests }

  /// What pre leaves for post.
  private final class Watch: Sendable {
    let decision: Decision
    let oldValue: RegistryValue?
    let reportsFailure: Bool

    init(decision: Decision, oldValue: RegistryValue?, reportsFailure: Bool) {
      self.decision = decision
      self.oldValue = oldValue
      self.reportsFailure = reportsFailure
    }
  }

  package func preOperation(
    _ operation: RegistryOperation, _ call: inout RegistryCall
  ) -> NTStatus {
    let caller = call.caller
    let rules = self.rules.withLock { $0 }
    let decision = rules.decide(operation) {
      processes.context(forThread: caller.threadID, uid: caller.userID, gid: caller.groupID)
    }
    if decision.verdict == .deny {
      let notification = Self.notification(
        of: operation, operation.preClass, status: .accessDenied, decision, caller, oldValue: nil)
      refusals.record(notification, reason: decision.reason, explanation: decision.explanation)
      notify(notification)
      return .accessDenied
    }
    guard decision.reportsOutcome else { return .success }
    switch operation {
    case .setValueKey(_, _, nil):
      // The judgement at open: nothing is changed yet, and the change itself will be reported.
      break
    case .setValueKey(let key, let valueName, _), .deleteValueKey(let key, let valueName):
      let oldValue = decision.retrievesOldValue ? call.registry.queryValue(of: key, named: valueName) : nil
      call.callContext = Watch(decision: decision, oldValue: oldValue, reportsFailure: rules.reportsFailures)
    default:
      call.callContext = Watch(decision: decision, oldValue: nil, reportsFailure: rules.reportsFailures)
    }
    return .success
  }

  package func postOperation(
    _ operation: RegistryOperation, status: NTStatus, _ call: inout RegistryCall
  ) -> NTStatus {
    // What was judged and then not done did not fail.
    guard let watch = call.callContext as? Watch,
      status.isSuccess || watch.reportsFailure && status != .cancelled
    else { return .success }
    notify(
      Self.notification(
        of: operation, operation.postClass, status: status, watch.decision, call.caller, oldValue: watch.oldValue))
    return .success
  }

  static func notification(
    of operation: RegistryOperation, _ notifyClass: NotifyClass, status: NTStatus, _ decision: Decision,
    _ caller: Caller, oldValue: RegistryValue?
  ) -> Notification {
    var notification = Notification(
      time: .now(), notifyClass: notifyClass, status: status, denied: decision.verdict == .deny || decision.isAudited,
      process: Self.describe(decision.process, caller), keyName: operation.completeName)
    notification.audited = decision.isAudited
    notification.rulesVersion = decision.rulesVersion
    switch operation {
    case .setValueKey(_, let valueName, let value):
      notification.valueName = valueName
      notification.newValue = value
    case .deleteValueKey(_, let valueName), .queryValueKey(_, let valueName):
      notification.valueName = valueName
    case .renameKey(let key, let newName):
      notification.newKeyName = RuleSet.name(of: key, renamedTo: newName)
    default:
      break
    }
    notification.oldValue = oldValue
    notification.finalKeyRules = decision.finalKeyRules.rawValue
    notification.ruleNames = decision.finalKeyRules.names
    notification.ruleIDs = decision.ruleIDs
    notification.ruleSource = decision.source?.description
    notification.matchHashes = decision.hashes.map(\.hexadecimal)
    return notification
  }

  private static func describe(_ process: ProcessContext?, _ caller: Caller) -> ProcessDescription {
    guard let process else {
      return ProcessDescription(
        processID: 0, threadID: caller.threadID, userID: caller.userID, groupID: caller.groupID)
    }
    var description = ProcessDescription(
      processID: process.processID, threadID: process.threadID, userID: process.userID, groupID: process.groupID)
    description.startTicks = process.startTicks
    description.startTime = process.startTime
    description.executable = process.executable
    description.commandLine = process.commandLine
    description.parentID = process.parentID
    description.sessionID = process.sessionID
    return description
  }
}
