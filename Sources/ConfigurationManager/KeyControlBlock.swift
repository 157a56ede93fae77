internal import Executive
internal import HiveStorage

/// A key in use (CM_KEY_CONTROL_BLOCK): one object per key, however many times it is open, so that a rename or a deletion is
/// seen by all who hold it. `Registry.close` gives it back.
package final class KeyControlBlock: @unchecked Sendable {
  // SAFETY: `cell` and `isDeleted` are written only under the exclusive lock of `hive` and read under it or the shared lock;
  // `references` only under the mutex of the key table. The rest never changes.

  /// Unique while mounted, never used again.
  package let id: UInt64
  package let parent: KeyControlBlock?
  let hive: LoadedHive
  var cell: CellIndex
  /// `\REGISTRY\MACHINE\SYSTEM` for the root of a hive, and for the keys of the namespace. Any other key's name is read from the hive
  /// where somebody asks: the kernel holds hundreds of thousands of keys that nobody does anything to.
  let placeName: UnicodeName?
  package internal(set) var isDeleted = false
  var references = 1

  init(id: UInt64, parent: KeyControlBlock?, hive: LoadedHive, cell: CellIndex, placeName: UnicodeName?) {
    self.id = id
    self.hive = hive
    self.parent = parent
    self.cell = cell
    self.placeName = placeName
  }

  /// Read under the lock of `hive`, as `cell` is.
  package var identity: UInt64 { hive.identity(cell) }

  /// `\REGISTRY\MACHINE\SYSTEM\…`, with the case that the hive stores. `hive` is its own, and the key is not deleted.
  func completeName(_ hive: borrowing Hive) throws(HiveError) -> UnicodeName {
    // From the end, as the way to the root goes.
    var units: [UInt16] = []
    units.reserveCapacity(128)
    var key = self
    while key.placeName == nil, let parent = key.parent {
      try hive.withName(ofKey: key.cell) { name throws(HiveError) in
        for index in (0..<name.count).reversed() { units.append(name[index]) }
      }
      units.append(0x5C)
      key = parent
    }
    if let placeName = key.placeName { units.append(contentsOf: placeName.units.reversed()) }
    units.reverse()
    return UnicodeName(units: units)
  }

  /// Whether the key can be had again by its number (`Registry.withKey`) when nobody holds it any more.
  package var isFoundByNumber: Bool { placeName == nil }
  /// The high half of its number.
  package var hiveNumber: UInt32 { hive.number }

  /// Whether it is the root of a hive, at whichever place.
  var isHiveRoot: Bool { parent.map { $0.hive !== hive } ?? !hive.isNamespace }

  /// False in the places for hives, where only `Registry.attach` and `loadKey` make something.
  package var isChangeable: Bool { !isDeleted && !hive.isNamespace }

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
