package import Executive

/// What a callback keeps with an operation (in its pre, for its post) or with a key object.
package typealias CallContext = AnyObject & Sendable

/// What a callback may ask the registry while it judges. These questions are not dispatched.
package protocol RegistryQueries: AnyObject, Sendable {
  /// The value as it is now; nil when key or value are not there or cannot be read.
  func queryValue(of key: KeyReference, named valueName: UnicodeName) -> RegistryValue?
}

/// One operation on its way through one callback.
package struct RegistryCall {
  /// Who asks. An operation that the callback dispatches itself, with this caller, is seen by lower altitudes only.
  package let caller: Caller
  package let registry: any RegistryQueries
  /// Private to the callback: set in its pre, seen in its post.
  package var callContext: (any CallContext)?
  /// What the callback has hung on the key object that the operation came through (`CallbackStack.setObjectContext`).
  package let objectContext: (any CallContext)?
  /// In the post of a create or an open: the key.
  package let result: KeyReference?
  /// In the post of a change that was made: the number of the log entry that holds it, one up with each change of its hive.
  package let transactionID: UInt32?
  /// In a post: what the caller gets if the callback answers `callbackBypass`.
  package var returnStatus: NTStatus

  package init(
    caller: Caller, registry: any RegistryQueries, callContext: (any CallContext)? = nil,
    objectContext: (any CallContext)? = nil, result: KeyReference? = nil, transactionID: UInt32? = nil,
    returnStatus: NTStatus = .success
  ) {
    self.caller = caller
    self.registry = registry
    self.callContext = callContext
    self.objectContext = objectContext
    self.result = result
    self.transactionID = transactionID
    self.returnStatus = returnStatus
  }
}

/// Somebody who judges and watches registry operations (EX_CALLBACK_FUNCTION). Called on the thread of the request, with no
/// lock of the registry held.
package protocol RegistryCallback: AnyObject, Sendable {
  /// Before the operation. Success lets it go on; `callbackBypass` ends it with success for the caller, the callback having done
  /// the work itself; any other failure is what the caller gets.
  func preOperation(_ operation: RegistryOperation, _ call: inout RegistryCall) -> NTStatus

  /// Between the two, for a value whose data was not known to the pre, and that is set by its leave: the data is `operation`'s now.
  /// Answers as the pre does. With the context that the pre left, which it may replace.
  func admittedOperation(_ operation: RegistryOperation, _ call: inout RegistryCall) -> NTStatus

  /// After the operation, for every callback whose pre succeeded; `status` is what the caller will get, `cancelled` when the
  /// operation was judged and then not done. To answer `callbackBypass` puts `call.returnStatus` in its place: who turns a success
  /// into a failure has undone the operation. Any other answer changes nothing.
  func postOperation(_ operation: RegistryOperation, status: NTStatus, _ call: inout RegistryCall) -> NTStatus
}

extension RegistryCallback {
  package func admittedOperation(_ operation: RegistryOperation, _ call: inout RegistryCall) -> NTStatus { .success }
}
