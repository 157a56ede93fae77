/// Who asks, as the kernel tells it with each request. `threadID` is a *thread* id (identity.md, 1); 0 is *unknown*, never
/// *System*: no exemption.
package struct Caller: Hashable, Sendable {
  package let threadID: Int32
  package let userID: UInt32
  package let groupID: UInt32
  /// He closes a file, maybe inside execve(2), which closes what is marked so: the kernel may hold a lock then that reading about him in
  /// /proc waits for, until this request is answered.
  package let mayBeInExec: Bool
  /// The callback that makes the operation for this caller; only those below it are told. Nil: the caller himself.
  package private(set) var below: CallbackCookie?

  package init(threadID: Int32, userID: UInt32, groupID: UInt32, mayBeInExec: Bool = false) {
    self.threadID = threadID
    self.userID = userID
    self.groupID = groupID
    self.mayBeInExec = mayBeInExec
  }

  package static let unknown = Caller(threadID: 0, userID: 0xFFFF_FFFF, groupID: 0xFFFF_FFFF)

  /// The same caller, for operations that a callback makes itself.
  func below(_ cookie: CallbackCookie) -> Caller {
    var caller = self
    caller.below = cookie
    return caller
  }
}
