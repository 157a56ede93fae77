internal import Executive
internal import Synchronization

/// Where the values of keys with many of them lie, by the hash of their names: the format's value lists are in no order, so that
/// without this each look-up reads a key's every value.
///
/// Made by the first look-up in a key, kept by our own changes, forgotten when one is undone. Only a hint for what is there: a hit is
/// compared by name; a name whose hash is not in the index is not in the list.
final class ValueIndexes: Sendable {
  /// Shorter lists are read through as fast.
  static let fewestValues = 32
  /// All keys together; past it, everything is forgotten and made anew where it is wanted.
  private static let mostEntries = 1 << 18

  private struct Index {
    var cells: [UInt32: CellIndex] = [:]
    /// Hashes that several values share; for these the list is read.
    var shared: Set<UInt32> = []

    mutating func insert(_ cell: CellIndex, _ hash: UInt32) {
      if cells.updateValue(cell, forKey: hash) != nil { shared.insert(hash) }
    }
  }

  private struct State {
    var indexes: [CellIndex: Index] = [:]
    var entries = 0
  }

  enum Answer {
    /// The only value that can have this name.
    case candidate(CellIndex)
    case absent
    /// The index cannot say.
    case unknown
  }

  private let state = Mutex(State())

  /// Asks the key's index, which `build` fills, through the closure it is given, when there is none.
  func find(
    _ hash: UInt32, in key: CellIndex, count: Int, build: ((CellIndex, UInt32) -> Void) -> Void
  ) -> Answer {
    guard count >= Self.fewestValues, count <= Self.mostEntries else { return .unknown }
    return state.withLock { state in
      if state.indexes[key] == nil {
        if state.entries + count > Self.mostEntries { state = State() }
        var index = Index()
        index.cells.reserveCapacity(count)
        build { index.insert($0, $1) }
        state.entries += index.cells.count
        state.indexes[key] = index
      }
      guard let index = state.indexes[key], !index.shared.contains(hash) else { return .unknown }
      return index.cells[hash].map { .candidate($0) } ?? .absent
    }
  }

  func insert(_ value: CellIndex, hash: UInt32, in key: CellIndex) {
    state.withLock { state in
      guard state.indexes[key] != nil else { return }
      state.indexes[key]?.insert(value, hash)
      state.entries += 1
    }
  }

  /// The value is gone; a hash that it shared stays shared, which costs time only.
  func remove(_ value: CellIndex, hash: UInt32, in key: CellIndex) {
    state.withLock { state in
      guard state.indexes[key]?.cells[hash] == value else { return }
      state.indexes[key]?.cells[hash] = nil
      state.entries -= 1
    }
  }

  func forget(_ key: CellIndex) {
    state.withLock { state in
      guard let gone = state.indexes.removeValue(forKey: key) else { return }
      state.entries -= min(state.entries, gone.cells.count)
    }
  }

  func forgetAll() { state.withLock { $0 = State() } }
}
