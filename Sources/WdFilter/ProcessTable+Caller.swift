internal import ConfigurationManager
internal import Executive
internal import ProcessTable

extension ProcessTable {
  private static let closers = BoundedWorker()
  /// Milliseconds. What keeps /proc from answering longer than that is our own caller inside execve.
  private static let patience = 500

  /// The process that asks; nil when it is unknown.
  ///
  /// One that closes a file may be inside execve, and the kernel then keeps everybody from reading about it until we have answered: it
  /// is waited for a moment, and then it is unknown, so exempt from nothing.
  func context(of caller: Caller) -> ProcessContext? {
    let (thread, uid, gid) = (caller.threadID, caller.userID, caller.groupID)
    guard caller.mayBeInExec else { return context(forThread: thread, uid: uid, gid: gid) }
    return Self.closers.run(milliseconds: Self.patience) { [self] in context(forThread: thread, uid: uid, gid: gid) }
  }
}
