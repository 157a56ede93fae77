package import Executive

/// A callback's private note on one operation: made in its pre, handed to its post.
package typealias CallContext = AnyObject & Sendable

/// What a callback may ask the registry while it judges. These questions are not dispatched.
package protocol RegistryQueries: AnyObject, Sendable {
  /// The value as it is now; nil when key or value are not there or cannot be read.
  func queryValue(of key: KeyReference, named valueName: UnicodeName) -> RegistryValue?
}

/// Somebody who judges and watches registry operations (EX_CALLBACK_FUNCTION). Called on the thread of the request, with no
/// lock of the registry held.
package protocol RegistryCallback: AnyObject, Sendable {
  /// Before the operation: success lets it go on, any failure is what the caller gets.
  func preOperation(
    _ operation: RegistryOperation, by caller: Caller, registry: any RegistryQueries,
    context: inout (any CallContext)?
  ) -> NTStatus

  /// After the operation, for every callback whose pre succeeded; `status` is what the caller will get, `cancelled` when the
  /// operation was judged and then not done.
  func postOperation(
    _ operation: RegistryOperation, by caller: Caller, status: NTStatus, context: consuming (any CallContext)?)
}
