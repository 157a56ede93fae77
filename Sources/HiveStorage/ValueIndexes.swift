internal import Executive
internal import Synchronization

/// Where the values of keys with many of them lie, by the hash of their names: the format's value lists are in no order, so that
/// without this each look-up reads a key's every value.
///
/// Made by the first look-up in a key, kept by our own changes, forgotten when one is undone, or when others want the room. Only a hint
/// for what is there: a hit is compared by name; a name whose hash is not in the index is not in the list.
final class ValueIndexes: Sendable {
  /// Shorter lists are read through as fast.
  static let fewestValues = 32
  /// Of all keys together, in a hive of so many bytes: a value of any size has room. One key alone may have more.
  static func mostEntries(inBytes bytes: Int) -> Int { max(1 << 18, bytes / 128) }

  private final class Index {
    var cells: [UInt32: CellIndex] = [:]
    /// Hashes that several values share; for these the list is read.
    var shared: Set<UInt32> = []
    /// When it was asked last.
    var turn: UInt64 = 0

    func insert(_ cell: CellIndex, _ hash: UInt32) {
      if cells.updateValue(cell, forKey: hash) != nil { shared.insert(hash) }
    }
  }

  private struct State {
    var indexes: [CellIndex: Index] = [:]
    var entries = 0
    var turn: UInt64 = 0

    /// Forgets what was not asked for longest, down to `most` entries.
    mutating func shrink(to most: Int) {
      for (key, _) in indexes.sorted(by: { $0.value.turn < $1.value.turn }) where entries > most { forget(key) }
    }

    mutating func forget(_ key: CellIndex) {
      guard let gone = indexes.removeValue(forKey: key) else { return }
      entries -= gone.cells.count
    }
  }

  enum Answer {
    /// The only value that can have this name.
    case candidate(CellIndex)
    case absent
    /// The index cannot say.
    case unknown
  }

  private let state = Mutex(State())

  /// Asks the key's index, which `build` fills, through the closure it is given, when there is none. `limit` is what
  /// `mostEntries` says.
  func find(
    _ hash: UInt32, in key: CellIndex, count: Int, limit: Int, build: ((CellIndex, UInt32) -> Void) -> Void
  ) -> Answer {
    guard count >= Self.fewestValues else { return .unknown }
    return state.withLock { state in
      state.turn += 1
      let index: Index
      if let known = state.indexes[key] {
        index = known
      } else {
        // An eighth more than is needed: it is not done again soon.
        if state.entries + count > limit { state.shrink(to: limit - limit / 8 - count) }
        index = Index()
        index.cells.reserveCapacity(count)
        build { index.insert($0, $1) }
        state.entries += index.cells.count
        state.indexes[key] = index
      }
      index.turn = state.turn
      guard !index.shared.contains(hash) else { return .unknown }
      return index.cells[hash].map { .candidate($0) } ?? .absent
    }
  }

  func insert(_ value: CellIndex, hash: UInt32, in key: CellIndex) {
    state.withLock { state in
      guard let index = state.indexes[key] else { return }
      state.entries -= index.cells.count
      index.insert(value, hash)
      state.entries += index.cells.count
    }
  }

  /// The value is gone; a hash that it shared stays shared, which costs time only.
  func remove(_ value: CellIndex, hash: UInt32, in key: CellIndex) {
    state.withLock { state in
      guard let index = state.indexes[key], index.cells[hash] == value else { return }
      index.cells[hash] = nil
      state.entries -= 1
    }
  }

  func forget(_ key: CellIndex) { state.withLock { $0.forget(key) } }

  func forgetAll() { state.withLock { $0 = State() } }
}
