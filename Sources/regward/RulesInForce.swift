internal import ConfigurationManager
internal import Notifications
internal import PolicyFile
internal import Synchronization
internal import WdFilter

/// The policy of a mount, and its replacement while the mount is served: whole or not at all (REG_UPDATE_DATA).
///
/// 1. A policy with an error changes nothing; the error is kept for `regward status`.
/// 2. Versions go up by one with each policy that came into force, and with each message that puts something beside it.
/// 3. A policy that comes into force drops what messages had put beside the one before: what holds then stands in its file.
final class RulesInForce: Sendable {
  struct Update: Sendable {
    let oldVersion: UInt64
    let newVersion: UInt64
    let warnings: [PolicyProblem]
    /// What messages had set and does not hold any more, in words; nil for nothing.
    let dropped: String?

    init(oldVersion: UInt64, newVersion: UInt64, warnings: [PolicyProblem], dropped: String? = nil) {
      self.oldVersion = oldVersion
      self.newVersion = newVersion
      self.warnings = warnings
      self.dropped = dropped
    }
  }

  struct State: Sendable {
    var policy: PolicyFile
    /// Nil for the policy that ships.
    var path: String?
    /// Beside the policy, by message.
    var amendments = Amendments()
    var updates: UInt64 = 0
    var failures: UInt64 = 0
    /// Why the last update failed; nil after one that did not.
    var lastError: String?
  }

  private let registration: FilterRegistration
  private let sync: SyncChannel
  private let current: Mutex<State>
  /// Held for the whole of an update, which reads files; `current` never is.
  private let updating = Mutex(())

  init(policy: PolicyFile, path: String?, registration: FilterRegistration, sync: SyncChannel) {
    self.registration = registration
    self.sync = sync
    sync.configuration = policy.rules.sync
    current = Mutex(State(policy: policy, path: path))
  }

  var state: State { current.withLock { $0 } }

  /// Of the rules in force, what messages have set included.
  var version: UInt64 { registration.filter.rulesInForce.version }

  var policyName: String { state.path ?? DefaultPolicy.fileName }

  /// What is to be read: the file, or the policy that ships.
  static func load(_ path: String?, version: UInt64) throws(PolicyError) -> PolicyFile {
    if let path { return try PolicyFile.load(path: path, version: version) }
    return try PolicyFile.parse(text: DefaultPolicy.text, fileName: DefaultPolicy.fileName, version: version)
  }

  /// Reads the policy again, or the one at `path`, absolute, instead, and puts it in force.
  func update(from path: String? = nil) throws(PolicyError) -> Update {
    try updating.withLock { _ throws(PolicyError) in
      let path = path ?? state.path
      let oldVersion = registration.filter.rulesInForce.version
      do throws(PolicyError) {
        let policy = try Self.load(path, version: oldVersion + 1)
        try enforce(policy.rules)
        sync.configuration = policy.rules.sync
        // Processes are judged anew, and so carry the bit again.
        sync.rearm()
        let dropped = current.withLock { state in
          defer { state.amendments = Amendments() }
          state.policy = policy
          state.path = path
          state.updates += 1
          state.lastError = nil
          return state.amendments
        }
        return Update(
          oldVersion: oldVersion, newVersion: policy.rules.version, warnings: policy.warnings,
          dropped: dropped.isEmpty ? nil : dropped.summary)
      } catch {
        current.withLock { state in
          state.failures += 1
          state.lastError = Self.summary(error)
        }
        throw error
      }
    }
  }

  /// Puts something beside the policy in force (SET_PROCESS_EXCLUSION and the like), and judges every live process again; the new
  /// version of the rules.
  func amend(_ amendment: Amendment) throws(PolicyError) -> UInt64 {
    try updating.withLock { _ throws(PolicyError) in
      let state = state
      var amendments = state.amendments
      guard amendments.apply(amendment, isAlive: registration.isAlive) else {
        throw problem("messages may set \(Amendments.limit) of a kind beside a policy")
      }
      let rules = RuleSet(
        state.policy.rules, amendedBy: amendments, version: registration.filter.rulesInForce.version + 1)
      try enforce(rules)
      current.withLock { $0.amendments = amendments }
      // Who is to be asked about from now on is asked about, also when he was answered for once.
      if case .process(_, let change) = amendment, change.setRules.contains(.notifyRegistryOperationSync) { sync.rearm() }
      return rules.version
    }
  }

  /// The first errors, a line each: the status goes into one packet.
  private static func summary(_ error: PolicyError) -> String {
    error.description.split(separator: "\n").prefix(10).map { $0.prefix(1000) }.joined(separator: "\n")
  }

  private func enforce(_ rules: RuleSet) throws(PolicyError) {
    do throws(FilterRegistration.Failure) { try registration.replaceRules(rules) } catch {
      throw problem("\(error)")
    }
  }

  private func problem(_ message: String) -> PolicyError {
    PolicyError(problems: [
      PolicyProblem(severity: .error, file: policyName, line: 0, column: 0, message: message)
    ])
  }
}
