/// Who asks, as the kernel tells it with each request. `threadID` is a *thread* id (identity.md, 1); 0 is *unknown*, never
/// *System*: no exemption.
package struct Caller: Hashable, Sendable {
  package let threadID: Int32
  package let userID: UInt32
  package let groupID: UInt32
  /// The callback that makes the operation for this caller; only those below it are told. Nil: the caller himself.
  package private(set) var below: CallbackCookie?

  package init(threadID: Int32, userID: UInt32, groupID: UInt32) {
    self.threadID = threadID
    self.userID = userID
    self.groupID = groupID
  }

  package static let unknown = Caller(threadID: 0, userID: 0xFFFF_FFFF, groupID: 0xFFFF_FFFF)

  /// The same caller, for operations that a callback makes itself.
  func below(_ cookie: CallbackCookie) -> Caller {
    var caller = self
    caller.below = cookie
    return caller
  }
}
