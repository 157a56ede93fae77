package import Executive
package import HiveStorage
internal import Synchronization

/// A key as it is at one moment.
package struct KeyInformation: Sendable {
  /// The name as the hive stores it.
  package var name: UnicodeName
  package var lastWriteTime: FileTime
  package var subkeyCount: Int
  package var valueCount: Int
  /// Unique among the keys and values of the hive; of a deleted one it may be given to another.
  package var identity: UInt32
}

/// A value as it is at one moment, without its data.
package struct ValueInformation: Sendable {
  package var name: UnicodeName
  package var type: ValueType
  /// Length of the data, bytes.
  package var size: Int
  /// The value's number in the hive, as for a key.
  package var identity: UInt32
}

/// A hive at its place in the registry. Every change goes through the callback stack: pre, the change under the exclusive lock,
/// post. Queries take the shared lock; callbacks run with no lock held.
///
/// Lock order: `hive`, then whatever the closures given to a method take, then `keys`.
///
/// 1. A `KeyControlBlock` stands for one key for as long as anybody holds it.
/// 2. A change is made only to the key that was judged: had it moved meanwhile, it is judged again under its new name.
/// 3. A change that fails leaves the hive as it was.
package final class Registry: Sendable {
  private struct KeyTable {
    var byCell: [CellIndex: KeyControlBlock] = [:]
    var nextID: UInt64 = 2
  }

  let hive: PushLock<Hive>
  private let keys = Mutex(KeyTable())
  package let callbacks: CallbackStack
  package let root: KeyControlBlock
  package let isReadOnly: Bool
  /// One up with every change; tells the flusher that there is something to do.
  let changes = Atomic<UInt64>(0)

  /// Puts `hive` at `completeName`, as in `\REGISTRY\MACHINE\SYSTEM`.
  package init(
    hive: consuming sending Hive, completeName: UnicodeName, callbacks: CallbackStack, isReadOnly: Bool
  ) {
    root = KeyControlBlock(id: 1, parent: nil, cell: hive.rootKey, completeName: completeName)
    self.hive = PushLock(hive)
    self.callbacks = callbacks
    self.isReadOnly = isReadOnly
    keys.withLock { $0.byCell[root.cell] = root }
  }

  // MARK: Keys in use

  /// One more holder; the caller holds the hive's lock.
  func reference(_ cell: CellIndex, parent: KeyControlBlock, name: @autoclosure () -> UnicodeName) -> KeyControlBlock {
    keys.withLock { table in
      if let key = table.byCell[cell] {
        key.references += 1
        return key
      }
      parent.references += 1
      let key = KeyControlBlock(
        id: table.nextID, parent: parent, cell: cell, completeName: parent.completeName.appending(name()))
      table.nextID += 1
      table.byCell[cell] = key
      return key
    }
  }

  /// One more holder of a key that the caller holds already.
  package func retain(_ key: KeyControlBlock) {
    keys.withLock { _ in key.references += 1 }
  }

  /// One holder less; the last one lets the key go, and its parent with it.
  package func close(_ key: KeyControlBlock) {
    keys.withLock { table in
      var current: KeyControlBlock? = key
      while let key = current {
        key.references -= 1
        guard key.references == 0 else { return }
        // A deleted key's cell may be another key's by now.
        if table.byCell[key.cell] === key { table.byCell[key.cell] = nil }
        current = key.parent
      }
    }
  }

  /// The key's complete name now. Throws `keyDeleted`.
  package func completeName(of key: KeyControlBlock) throws(NTStatus) -> UnicodeName {
    try hive.withShared { _ throws(NTStatus) in
      guard !key.isDeleted else { throw .keyDeleted }
      return key.completeName
    }
  }

  func keyWithID(_ id: UInt64) -> KeyControlBlock? {
    id == 1 ? root : keys.withLock { $0.byCell.values.first { $0.id == id } }
  }

  /// A deleted key is out of the table at once: its cell is free.
  func forget(_ key: KeyControlBlock) {
    key.isDeleted = true
    keys.withLock { table in
      if table.byCell[key.cell] === key { table.byCell[key.cell] = nil }
    }
  }

  /// After a rename: the key's own entry, and the names of all keys in use below it.
  func moved(_ key: KeyControlBlock, to cell: CellIndex, name: UnicodeName) {
    keys.withLock { table in
      if table.byCell[key.cell] === key { table.byCell[key.cell] = nil }
      key.cell = cell
      table.byCell[cell] = key
      let before = key.completeName.units.count
      let parentName = key.parent?.completeName ?? UnicodeName(units: [])
      key.completeName = parentName.appending(name)
      for other in table.byCell.values where other.descends(from: key) {
        other.completeName = UnicodeName(units: key.completeName.units + other.completeName.units[before...])
      }
    }
  }
}

/// Converts the hive's errors into the registry's; the doubtful lines say why.
extension NTStatus {
  package init(_ error: HiveError) {
    switch error {
    case .damaged, .notAHive, .dirty: self = .registryCorrupt
    case .limit: self = .registryQuotaLimit
    case .invalid: self = .invalidParameter
    // ENOSPC of the device is the only failure that a user can do something about, so it keeps its own code.
    case .device(_, _, let errno): self = errno == 28 ? .diskFull : .registryIOFailed
    // Only a flush meets it; the changes stay in memory, as when the device fails.
    case .changedOutside: self = .registryIOFailed
    case .keyNotFound: self = .objectNameNotFound
    case .nameCollision: self = .objectNameCollision
    case .cannotDelete: self = .cannotDelete
    case .readOnly: self = .mediaWriteProtected
    // The file is somebody else's: nothing that a retry of this operation would change.
    case .locked: self = .accessDenied
    }
  }
}
