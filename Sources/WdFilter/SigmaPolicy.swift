internal import ConfigurationManager
internal import Executive
internal import Notifications
internal import ProcessTable
package import Sigma

/// An executable that Sigma rules know by another name: their Image.
package struct SigmaActor: Hashable, Sendable {
  package let executable: ExecutablePattern
  package let image: String

  package init(executable: ExecutablePattern, image: String) {
    self.executable = executable
    self.image = image
  }
}

/// The Sigma rules of a policy: all of them are asked about what was done, by readers of events; those that deny are asked before.
package struct SigmaPolicy: Sendable {
  package let rules: SigmaRuleSet
  /// Those of them that deny.
  package let denying: SigmaRuleSet
  /// The first that matches counts.
  package let actors: [SigmaActor]
  /// The pre classes of the operations that some rule is about, and of those that one which denies is about, as bits of `NotifyClass`.
  let watched: UInt64
  let judged: UInt64

  package init(rules: [SigmaRule], denying: [SigmaRule] = [], actors: [SigmaActor] = []) {
    self.rules = SigmaRuleSet(rules)
    self.denying = SigmaRuleSet(denying)
    self.actors = actors
    watched = Self.classes(self.rules)
    judged = Self.classes(self.denying)
  }

  private static func classes(_ rules: SigmaRuleSet) -> UInt64 {
    FilteredClass.table.reduce(0) { mask, row in
      guard let operation = SigmaOperation(row.pre), rules.asksFor(operation) else { return mask }
      return mask | row.pre.bit
    }
  }

  /// What rules are told in the place of an executable; nil: the executable.
  func image(of executable: String?) -> String? {
    guard let executable else { return nil }
    return actors.first { $0.executable.matches(executable) }?.image
  }

  /// Whether a denying rule might fire, whoever the caller is: most operations are no rule's business, and nobody is asked for then.
  func mayAccuse(_ operation: RegistryOperation, currentControlSet: UInt32?) -> Bool {
    guard judged & operation.preClass.bit != 0, var event = event(of: operation, by: nil, currentControlSet) else { return false }
    for field in Self.ofCaller { event[field] = .pending }
    let (certain, pending) = denying.firstMatch(event)
    return certain != nil || pending != nil
  }

  /// The denying rule that fires, by its place; and the one that might, once the data of the operation is known.
  ///
  /// What nobody can say of the caller is unknown to a rule: it matches nothing, so that no exception is made for who cannot be found.
  func accuser(
    of operation: RegistryOperation, by process: ProcessContext?, currentControlSet: UInt32?
  ) -> (certain: Int?, pending: Int?) {
    guard var event = event(of: operation, by: process, currentControlSet) else { return (nil, nil) }
    if process == nil { for field in Self.ofCaller { event[field] = .unknown } }
    if process?.executable == nil { event[.image] = .unknown }
    return denying.firstMatch(event)
  }

  private static let ofCaller: [SigmaField] = [.image, .user, .processID]

  private func event(
    of operation: RegistryOperation, by process: ProcessContext?, _ currentControlSet: UInt32?
  ) -> SigmaEvent? {
    let notification = RegistryFilter.notification(
      of: operation, operation.preClass, status: .success, .untouched, process, .unknown, oldValue: nil, sigma: self)
    var event = SigmaEvent(notification, currentControlSet: currentControlSet)
    if case .setValueKey(_, _, nil) = operation { event?[.details] = .pending }
    return event
  }
}
