internal import Executive
internal import HiveStorage
internal import Synchronization

/// Leave to do one operation, given by the pre phase. It is used up by doing the operation; thrown away, its callbacks are
/// told that the operation was cancelled.
package struct Admission: ~Copyable, Sendable {
  /// A set value admitted when its file was opened gets its data later; nothing else changes.
  package internal(set) var operation: RegistryOperation
  package let caller: Caller
  private let registry: any RegistryQueries
  /// The callback stack's when it was given (`CallbackStack.isOutdated`).
  let generation: UInt64
  /// A callback did the work itself: the registry does nothing.
  var isBypassed = false
  /// The key that a create or an open gave.
  var result: KeyReference?
  /// The log entry that holds the change, once it is made.
  var transactionID: UInt32?
  var passed: [(registration: CallbackRegistration, context: (any CallContext)?)] = []

  init(operation: RegistryOperation, caller: Caller, registry: any RegistryQueries, generation: UInt64) {
    self.generation = generation
    self.operation = operation
    self.caller = caller
    self.registry = registry
  }

  /// The change was made just now, under the hive's lock; a log that somebody will be told of is asked.
  mutating func noteTransaction(_ log: TransactionLog?) {
    if !passed.isEmpty { transactionID = log?.lastSequence }
  }

  /// The operation has got the data that it was admitted without: every callback is asked about that. Throws the status of the one that
  /// refuses, after the post of the others.
  mutating func judgeData() throws(NTStatus) {
    guard !isBypassed else { return }
    for index in passed.indices {
      let (registration, context) = passed[index]
      var call = RegistryCall(caller: caller.below(registration.cookie), registry: registry, callContext: context)
      let status = registration.callback.admittedOperation(operation, &call)
      passed[index].context = call.callContext
      guard !status.isSuccess else { continue }
      passed.remove(at: index)
      registration.rundown.release()
      let outcome = status == .callbackBypass ? .success : complete(status)
      guard outcome.isSuccess else { throw outcome }
      isBypassed = true
      return
    }
  }

  /// The post phase, lowest altitude first; what the caller gets. Only the first call asks anybody.
  mutating func complete(_ status: NTStatus) -> NTStatus {
    let outcome = runPost(status)
    passed = []
    return outcome
  }

  deinit { _ = runPost(.cancelled) }

  private borrowing func runPost(_ status: NTStatus) -> NTStatus {
    var outcome = status
    for (registration, context) in passed.reversed() {
      if registration.interests.load(ordering: .acquiring) & operation.postClass.bit != 0 {
        var call = RegistryCall(
          caller: caller.below(registration.cookie), registry: registry, callContext: context,
          objectContext: registration.context(of: operation.key?.object ?? result?.object), result: result,
          transactionID: transactionID, returnStatus: outcome)
        let answer = registration.callback.postOperation(operation, status: outcome, &call)
        // What was never done can become neither success nor another failure.
        if answer == .callbackBypass, status != .cancelled { outcome = call.returnStatus }
      }
      registration.rundown.release()
    }
    return outcome
  }
}
