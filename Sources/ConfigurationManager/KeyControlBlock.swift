internal import Executive
internal import HiveStorage

/// A key in use (CM_KEY_CONTROL_BLOCK): one object per key, however many times it is open, so that a rename or a deletion is
/// seen by all who hold it. `Registry.close` gives it back.
package final class KeyControlBlock: @unchecked Sendable {
  // SAFETY: `cell`, `completeName` and `isDeleted` are written only under the registry's exclusive lock and read under it or the
  // shared lock; `references` only under the mutex of the key table. The rest never changes.

  /// Unique while mounted, never used again.
  package let id: UInt64
  let parent: KeyControlBlock?
  var cell: CellIndex
  /// `\REGISTRY\MACHINE\SYSTEM\…`, with the case that the hive stores.
  var completeName: UnicodeName
  var isDeleted = false
  var references = 1

  init(id: UInt64, parent: KeyControlBlock?, cell: CellIndex, completeName: UnicodeName) {
    self.id = id
    self.parent = parent
    self.cell = cell
    self.completeName = completeName
  }

  func descends(from ancestor: KeyControlBlock) -> Bool {
    var key = parent
    while let current = key {
      if current === ancestor { return true }
      key = current.parent
    }
    return false
  }
}
