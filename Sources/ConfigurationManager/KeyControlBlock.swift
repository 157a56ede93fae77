internal import Executive
internal import HiveStorage

/// A key in use (CM_KEY_CONTROL_BLOCK): one object per key, however many times it is open, so that a rename or a deletion is
/// seen by all who hold it. `Registry.close` gives it back.
package final class KeyControlBlock: @unchecked Sendable {
  // SAFETY: `cell`, `completeName` and `isDeleted` are written only under the exclusive lock of `hive` and read under it or the
  // shared lock; `references` only under the mutex of the key table. The rest never changes.

  /// Unique while mounted, never used again.
  package let id: UInt64
  let parent: KeyControlBlock?
  let hive: LoadedHive
  var cell: CellIndex
  /// `\REGISTRY\MACHINE\SYSTEM\…`, with the case that the hive stores.
  var completeName: UnicodeName
  package internal(set) var isDeleted = false
  var references = 1

  init(id: UInt64, parent: KeyControlBlock?, hive: LoadedHive, cell: CellIndex, completeName: UnicodeName) {
    self.id = id
    self.hive = hive
    self.parent = parent
    self.cell = cell
    self.completeName = completeName
  }

  /// Read under the lock of `hive`, as `cell` is.
  var identity: UInt64 { hive.identity(cell) }

  /// Whether the two keys lie in one hive.
  package func isOfHive(_ other: KeyControlBlock) -> Bool { hive === other.hive }

  func descends(from ancestor: KeyControlBlock) -> Bool {
    var key = parent
    while let current = key {
      if current === ancestor { return true }
      key = current.parent
    }
    return false
  }
}
