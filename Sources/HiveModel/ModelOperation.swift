package import Executive

/// A change of a hive, by names: the same for the model and for every hive that holds what the model does.
package enum ModelOperation: Sendable {
  /// The names from the root's child to the key; empty for the root.
  package typealias Path = [UnicodeName]

  case createKey(parent: Path, name: UnicodeName, className: UnicodeName?, isLink: Bool)
  case deleteKey(Path)
  case renameKey(Path, to: UnicodeName)
  case setValue(key: Path, name: UnicodeName, type: ValueType, data: ModelData)
  case deleteValue(key: Path, name: UnicodeName)
  case renameValue(key: Path, name: UnicodeName, to: UnicodeName)
  case setSecurity(key: Path, descriptor: [UInt8])
  case setLastWriteTime(key: Path, time: FileTime)
  /// The key's content becomes what a saved copy of the tree at `source` holds.
  case restore(key: Path, source: Path)
  /// Changes nothing: the copy is compared with the model.
  case save(Path)
}

/// Why an operation is refused and has changed nothing.
package enum ModelRefusal: Hashable, Sendable {
  case nameCollision
  case cannotDelete
  case limit
}

/// The data of a value, told by its length and a number, so that a hundred thousand of them take no room.
package struct ModelData: Hashable, Sendable {
  package let count: Int
  package let seed: Int

  package init(count: Int, seed: Int) {
    self.count = count
    self.seed = seed
  }

  package var bytes: [UInt8] {
    // The library writes the count of 0 into the one empty array that all share, which ThreadSanitizer sees.
    if count == 0 { return [] }
    return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      for place in 0..<count { buffer[place] = UInt8(truncatingIfNeeded: (place &* 31) ^ (place >> 8) ^ seed) }
      filled = count
    }
  }
}
