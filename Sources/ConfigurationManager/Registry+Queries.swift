package import Executive
internal import HiveStorage

/// What a name below a key stands for.
package enum RegistryObject {
  /// The receiver holds the key and gives it back with `Registry.close`.
  case key(KeyControlBlock, KeyInformation)
  case value(ValueInformation)
}

/// Which of a key's two name spaces to look in.
package enum NameSpace: Sendable {
  case keys, values
  /// A key hides a value of the same name.
  case keysThenValues
}

extension Registry {
  /// Finds `name` below `key` without regard to case; the `ordinal`-th of its twins (1 in every sound hive). `body` runs under the
  /// shared lock, so what it notes of the object cannot be overtaken by a change. Throws `objectNameNotFound`.
  package func lookUp<Result>(
    _ name: UnicodeName, in key: KeyControlBlock, among space: NameSpace, ordinal: Int = 1,
    _ body: (RegistryObject) -> Result
  ) throws(NTStatus) -> Result {
    try read(key) { hive throws(HiveError) in
      if space != .values, let cell = try Self.findKey(name, in: key.cell, ordinal: ordinal, hive) {
        if let exit = key.hive.exit(at: cell) {
          var information = try exit.hive.lock.withShared { hive throws(HiveError) in
            try Self.keyInformation(exit.cell, exit.hive, hive)
          }
          information.name = try hive.keyName(at: cell)
          retain(exit)
          return body(.key(exit, information))
        }
        _ = try hive.subkey(at: cell, of: key.cell)
        let information = try Self.keyInformation(cell, key.hive, hive)
        return body(.key(reference(cell, parent: key, name: information.name), information))
      }
      if space != .keys, let cell = try Self.findValue(name, in: key.cell, ordinal: ordinal, hive) {
        return body(.value(try Self.valueInformation(cell, key.hive, hive)))
      }
      throw .keyNotFound
    }
  }

  package func exists(
    _ name: UnicodeName, in key: KeyControlBlock, among space: NameSpace, ordinal: Int = 1
  ) throws(NTStatus) -> Bool {
    try read(key) { hive throws(HiveError) in
      if space != .values, try Self.findKey(name, in: key.cell, ordinal: ordinal, hive) != nil { return true }
      return space == .keys ? false : try Self.findValue(name, in: key.cell, ordinal: ordinal, hive) != nil
    }
  }

  package func query(_ key: KeyControlBlock) throws(NTStatus) -> KeyInformation {
    try read(key) { hive throws(HiveError) in try Self.keyInformation(key.cell, key.hive, hive) }
  }

  /// The class name of a key, nil when it has none.
  package func queryClass(of key: KeyControlBlock) throws(NTStatus) -> UnicodeName? {
    try read(key) { hive throws(HiveError) in try hive.className(ofKey: key.cell) }
  }

  /// Where a link key leads, as its value `SymbolicLinkValue` has it; nil for any other key, and for a link without a target.
  package func queryLinkTarget(of key: KeyControlBlock) throws(NTStatus) -> UnicodeName? {
    try read(key) { hive throws(HiveError) in
      guard try hive.keyNode(at: key.cell).isLink,
        let value = try Self.findValue(Self.linkValueName, in: key.cell, ordinal: 1, hive)
      else { return nil }
      let data = try hive.data(ofValue: value)
      return UnicodeName(
        units: stride(from: 0, to: data.count - data.count % 2, by: 2).map { UInt16(data[$0]) | UInt16(data[$0 + 1]) << 8 })
    }
  }

  package static let linkValueName: UnicodeName = "SymbolicLinkValue"

  /// A key's flags as they lie in its node.
  package func queryFlags(of key: KeyControlBlock) throws(NTStatus) -> UInt16 {
    try read(key) { hive throws(HiveError) in try hive.keyNode(at: key.cell).flags.rawValue }
  }

  /// The self-relative security descriptor of a key, nil when it has no usable one.
  package func querySecurity(of key: KeyControlBlock) throws(NTStatus) -> [UInt8]? {
    try read(key) { hive throws(HiveError) in try hive.securityDescriptor(ofKey: key.cell) }
  }

  /// A value with its data and its key's time; `ordinal` as in `lookUp`. Throws `objectNameNotFound`.
  package func queryValue(
    of key: KeyControlBlock, named name: UnicodeName, ordinal: Int = 1
  ) throws(NTStatus) -> (information: ValueInformation, data: [UInt8], lastWriteTime: FileTime) {
    try read(key) { hive throws(HiveError) in
      guard let cell = try Self.findValue(name, in: key.cell, ordinal: ordinal, hive) else { throw .keyNotFound }
      return (
        try Self.valueInformation(cell, key.hive, hive), try hive.data(ofValue: cell),
        try hive.keyNode(at: key.cell).lastWriteTime
      )
    }
  }

  /// Lets `body` have the name of the value that has the number `identity` gives; nil: none. Both run under the shared lock, so that
  /// the number is the value's still.
  package func queryValueName(
    of key: KeyControlBlock, numbered identity: () -> UInt64?, _ body: (UnicodeName) -> Void
  ) throws(NTStatus) {
    try read(key) { hive throws(HiveError) in
      guard let identity = identity() else { return }
      body(try hive.valueName(at: CellIndex(rawValue: UInt32(truncatingIfNeeded: identity))))
    }
  }

  /// Calls `body` for each subkey in the hive's order; what is damaged is left out, and told by its offset in the hive's file.
  package func enumerateKeys(
    of key: KeyControlBlock, _ body: (UnicodeName, _ identity: UInt64, _ isLink: Bool) -> Void
  ) throws(NTStatus) -> Set<Int> {
    try read(key) { hive throws(HiveError) in
      var lost: Set<Int> = []
      func lose(_ error: HiveError) { lost.insert(error.damageOffset ?? key.cell.fileOffset) }
      try hive.forEachSubkey(of: key.cell, from: 0, damaged: lose) { _, cell throws(HiveError) in
        do throws(HiveError) {
          let node = try hive.subkey(at: cell, of: key.cell)
          body(
            try hive.keyName(at: cell), key.hive.exit(at: cell)?.identity ?? key.hive.identity(cell), node.isLink)
        } catch { lose(error) }
        return true
      }
      return lost
    }
  }

  /// Calls `body` for each value in the hive's order, as for subkeys.
  package func enumerateValues(
    of key: KeyControlBlock, _ body: (ValueInformation) -> Void
  ) throws(NTStatus) -> Set<Int> {
    try read(key) { hive throws(HiveError) in
      var lost: Set<Int> = []
      func lose(_ error: HiveError) { lost.insert(error.damageOffset ?? key.cell.fileOffset) }
      do throws(HiveError) {
        try hive.forEachValue(of: key.cell, from: 0) { _, cell throws(HiveError) in
          do throws(HiveError) { body(try Self.valueInformation(cell, key.hive, hive)) } catch { lose(error) }
          return true
        }
      } catch { lose(error) }
      return lost
    }
  }

  /// Bytes of data that a value in the key's hive can have.
  package func longestData(of key: KeyControlBlock) throws(NTStatus) -> Int {
    try read(key) { hive throws(HiveError) in hive.longestData }
  }

  /// Bytes of a key's hive: all of it, and those free for new cells. Throws `registryCorrupt`.
  package func querySpace(of key: KeyControlBlock) throws(NTStatus) -> (total: Int, free: Int) {
    try read(key) { hive throws(HiveError) in
      let statistics = try hive.statistics()
      return (total: statistics.fileBytes, free: statistics.freeBytes)
    }
  }

  // MARK: Under the lock

  func read<Result>(
    _ key: KeyControlBlock, _ body: (borrowing Hive) throws(HiveError) -> Result
  ) throws(NTStatus) -> Result {
    try key.hive.lock.withShared { hive throws(NTStatus) in
      guard !key.isDeleted else { throw .keyDeleted }
      do throws(HiveError) { return try body(hive) } catch { throw NTStatus(error) }
    }
  }

  static func findKey(
    _ name: UnicodeName, in key: CellIndex, ordinal: Int, _ hive: borrowing Hive
  ) throws(HiveError) -> CellIndex? {
    if ordinal == 1 { return try hive.findSubkey(of: key, named: name.units.span) }
    var found: CellIndex?
    var left = ordinal
    try hive.forEachSubkey(of: key, from: 0) { _, cell throws(HiveError) in
      if try hive.keyName(at: cell).equalsIgnoringCase(name) { left -= 1 }
      if left == 0 { found = cell }
      return left > 0
    }
    return found
  }

  static func findValue(
    _ name: UnicodeName, in key: CellIndex, ordinal: Int, _ hive: borrowing Hive
  ) throws(HiveError) -> CellIndex? {
    if ordinal == 1 { return try hive.findValue(of: key, named: name.units.span) }
    var found: CellIndex?
    var left = ordinal
    try hive.forEachValue(of: key, from: 0) { _, cell throws(HiveError) in
      if try hive.valueName(at: cell).equalsIgnoringCase(name) { left -= 1 }
      if left == 0 { found = cell }
      return left > 0
    }
    return found
  }

  static func keyInformation(
    _ cell: CellIndex, _ loaded: LoadedHive, _ hive: borrowing Hive
  ) throws(HiveError) -> KeyInformation {
    let node = try hive.keyNode(at: cell)
    return KeyInformation(
      name: try hive.keyName(at: cell), lastWriteTime: node.lastWriteTime, subkeyCount: node.subkeyCount,
      valueCount: node.valueCount, isLink: node.isLink, identity: loaded.identity(cell))
  }

  static func valueInformation(
    _ cell: CellIndex, _ loaded: LoadedHive, _ hive: borrowing Hive
  ) throws(HiveError) -> ValueInformation {
    let node = try hive.valueNode(at: cell)
    return ValueInformation(
      name: try hive.valueName(at: cell), type: node.type, size: node.dataSize,
      identity: loaded.identity(cell), flags: node.flags)
  }
}

extension Registry: RegistryQueries {
  package func queryValue(of key: KeyReference, named valueName: UnicodeName) -> RegistryValue? {
    guard let block = keyWithID(key.id), let found = try? queryValue(of: block, named: valueName) else { return nil }
    return RegistryValue(type: found.information.type, data: found.data)
  }
}
