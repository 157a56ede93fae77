internal import Synchronization

/// What the values cost that are not in the hive yet, and what became of those that nobody saved; for the whole mount.
package final class ScratchMemory: Sendable {
  package struct Counters: Sendable, Hashable {
    /// Values that are not in the hive yet, and the bytes of those under scratch names.
    package var values = 0
    package var bytes = 0
    package var promoted = 0
    /// Those whose promotion was refused or failed: they are gone.
    package var lost = 0

    package init(values: Int = 0, bytes: Int = 0, promoted: Int = 0, lost: Int = 0) {
      self.values = values
      self.bytes = bytes
      self.promoted = promoted
      self.lost = lost
    }
  }

  private let limit: Int
  private let state = Mutex(Counters())

  /// `limit` in bytes.
  package init(limit: Int = 64 << 20) { self.limit = limit }

  package var counters: Counters { state.withLock { $0 } }

  /// Throws ENOSPC; a negative number is given back.
  func reserve(_ bytes: Int) throws(Errno) {
    try state.withLock { state throws(Errno) in
      guard bytes <= 0 || state.bytes + bytes <= limit else { throw .noSpace }
      state.bytes += bytes
    }
  }

  func free(_ bytes: Int) { state.withLock { $0.bytes -= bytes } }
  func noteMade() { state.withLock { $0.values += 1 } }
  func noteSettled() { state.withLock { $0.values -= 1 } }
  func notePromoted() { state.withLock { $0.promoted += 1 } }
  func noteLost() { state.withLock { $0.lost += 1 } }
}
