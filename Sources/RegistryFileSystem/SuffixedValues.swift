internal import ConfigurationManager
internal import Executive
internal import Synchronization

/// Values that were made as `NAME%val` in this mount: the bare name stays free for a key, so that tools which copy the value before the
/// key of its name can make both.
final class SuffixedValues: Sendable {
  private struct State {
    /// By the id of their key.
    var names: [UInt64: [UnicodeName]] = [:]
    var count = 0
  }

  private let limit: Int
  private let isUsed = Atomic(false)
  private let state = Mutex(State())

  /// `limit` is that of the whole mount; those above are found by the bare name, too.
  init(limit: Int = 4096) { self.limit = limit }

  /// A value has this name from now on; whether it was given with the suffix.
  func note(_ name: UnicodeName, of key: KeyControlBlock, hasSuffix: Bool) {
    guard hasSuffix || isUsed.load(ordering: .acquiring) else { return }
    state.withLock { state in
      var names = state.names[key.id] ?? []
      state.count -= names.count
      names.removeAll { $0.equalsIgnoringCase(name) }
      if hasSuffix, state.count + names.count < limit { names.append(name) }
      state.count += names.count
      state.names[key.id] = names.isEmpty ? nil : names
    }
    isUsed.store(true, ordering: .releasing)
  }

  func contains(_ name: UnicodeName, of key: KeyControlBlock) -> Bool {
    guard isUsed.load(ordering: .acquiring) else { return false }
    return state.withLock { $0.names[key.id]?.contains { $0.equalsIgnoringCase(name) } ?? false }
  }
}
