internal import ConfigurationManager
internal import Executive
internal import Glibc
internal import Synchronization

/// Values, and their types, that were removed or renamed away a moment ago: who makes a value of that name again means the same type
/// (filesystem.md, 7b).
final class RemovedValues: Sendable {
  /// Nanoseconds.
  static let lifetime: UInt64 = 10_000_000_000
  /// The oldest give way.
  static let limit = 256

  private struct Entry {
    let key: UInt64
    let name: UnicodeName
    let type: ValueType?
    let time: UInt64
    let userID: UInt32
    let session: Int32
  }

  /// In the order in which they were removed.
  private struct State {
    var entries: [Entry] = []
    /// Of each entry's name and key: to look at this one number finds almost all that are others.
    var hashes: [UInt64] = []

    func index(of name: UnicodeName, _ key: UInt64) -> Int? {
      let wanted = RemovedValues.hash(name, key)
      var place = hashes.count
      while let found = hashes[..<place].lastIndex(of: wanted) {
        if entries[found].key == key, entries[found].name.equalsIgnoringCase(name) { return found }
        place = found
      }
      return nil
    }

    mutating func remove(at index: Int) {
      entries.remove(at: index)
      hashes.remove(at: index)
    }
  }

  private let state = Mutex(State())

  private static func hash(_ name: UnicodeName, _ key: UInt64) -> UInt64 {
    key << 32 ^ UInt64(UpcaseTable.hash(name.units.span))
  }

  /// `type` nil: it was made without one, and the next need not take after it.
  func note(_ name: UnicodeName, of key: KeyControlBlock, type: ValueType?, by caller: Caller, at now: UInt64) {
    let entry = Entry(
      key: key.id, name: name, type: type, time: now, userID: caller.userID, session: Self.session(of: caller))
    state.withLock { state in
      if let old = state.index(of: name, key.id) { state.remove(at: old) }
      if state.entries.count == Self.limit { state.remove(at: 0) }
      state.entries.append(entry)
      state.hashes.append(Self.hash(name, key.id))
    }
  }

  /// Whether there was a value of this name a moment ago.
  func contains(_ name: UnicodeName, of key: KeyControlBlock, at now: UInt64) -> Bool { entry(name, key, now) != nil }

  private func entry(_ name: UnicodeName, _ key: KeyControlBlock, _ now: UInt64) -> Entry? {
    let entry = state.withLock { state in state.index(of: name, key.id).map { state.entries[$0] } }
    return entry.flatMap { now &- $0.time < Self.lifetime ? $0 : nil }
  }

  /// The type of the value of this name that the caller's session, or his user, has removed; nil when it is too long ago.
  func type(of name: UnicodeName, in key: KeyControlBlock, by caller: Caller, at now: UInt64) -> ValueType? {
    guard let entry = entry(name, key, now) else { return nil }
    if entry.userID == caller.userID { return entry.type }
    let session = Self.session(of: caller)
    return session > 0 && entry.session == session ? entry.type : nil
  }

  /// 0 where nobody knows.
  private static func session(of caller: Caller) -> Int32 {
    caller.threadID > 0 ? max(0, getsid(caller.threadID)) : 0
  }
}
