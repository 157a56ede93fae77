internal import ConfigurationManager
internal import Notifications
internal import PolicyFile
internal import Synchronization
internal import WdFilter

/// The policy of a mount, and its replacement while the mount is served: whole or not at all (REG_UPDATE_DATA).
///
/// 1. A policy with an error changes nothing; the error is kept for `regward status`.
/// 2. Versions go up by one with each policy that came into force.
final class RulesInForce: Sendable {
  struct Update: Sendable {
    let oldVersion: UInt64
    let newVersion: UInt64
    let warnings: [PolicyProblem]
  }

  struct State: Sendable {
    var policy: PolicyFile
    /// Nil for the policy that ships.
    var path: String?
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
        current.withLock { state in
          state.policy = policy
          state.path = path
          state.updates += 1
          state.lastError = nil
        }
        return Update(oldVersion: oldVersion, newVersion: policy.rules.version, warnings: policy.warnings)
      } catch {
        current.withLock { state in
          state.failures += 1
          state.lastError = Self.summary(error)
        }
        throw error
      }
    }
  }

  /// The first errors, a line each: the status goes into one packet.
  private static func summary(_ error: PolicyError) -> String {
    error.description.split(separator: "\n").prefix(10).map { $0.prefix(1000) }.joined(separator: "\n")
  }

  private func enforce(_ rules: RuleSet) throws(PolicyError) {
    do throws(FilterRegistration.Failure) { try registration.replaceRules(rules) } catch {
      throw PolicyError(problems: [
        PolicyProblem(severity: .error, file: policyName, line: 0, column: 0, message: "\(error)")
      ])
    }
    sync.configuration = rules.sync
    // Processes are judged anew, and so carry the bit again.
    sync.rearm()
  }
}
