/// Who holds the numbers of keys beyond their `KeyControlBlock`s, and must hear what becomes of them. Told under the exclusive lock of
/// the hive, after the change.
package protocol KeyWatcher: AnyObject, Sendable {
  /// The key with this number is gone; the number may become another's.
  func keyDeleted(_ identity: UInt64)
  /// A rename gave the key another number.
  func keyMoved(from old: UInt64, to new: UInt64)
  /// Every key below `key` is gone, its values with them, and so is `key` itself where `isIncluded`.
  func keysDeleted(below key: KeyControlBlock, isIncluded: Bool)
}
