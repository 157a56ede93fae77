package import Executive
internal import HiveStorage
internal import Synchronization

/// What a name below a key stands for.
package enum RegistryObject {
  /// The receiver holds the key and gives it back with `Registry.close`.
  case key(KeyControlBlock, KeyInformation)
  /// With its key's time.
  case value(ValueInformation, lastWriteTime: FileTime)
}

/// Which of a key's two name spaces to look in.
package enum NameSpace: Sendable {
  case keys, values
  /// A key hides a value of the same name.
  case keysThenValues
}

extension Registry {
  /// Finds `name` below `key` without regard to case; the `ordinal`-th of its twins (1 in every sound hive). `body` runs under the
  /// shared lock, so what it notes of the object cannot be overtaken by a change. Before it, `piece` gets the data of a value that
  /// `isRead`, as it lies. Throws `objectNameNotFound`, and for a value that `isRead` what reading its data does.
  package func lookUp<Result>(
    _ name: UnicodeName, in key: KeyControlBlock, among space: NameSpace, ordinal: Int = 1,
    isRead: (ValueInformation) -> Bool = { _ in false }, piece: (ValueType, UnsafeRawBufferPointer) -> Void = { _, _ in },
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
        return body(try Self.value(cell, of: key, hive, isRead, piece))
      }
      throw .keyNotFound
    }
  }

  private static func value(
    _ cell: CellIndex, of key: KeyControlBlock, _ hive: borrowing Hive, _ isRead: (ValueInformation) -> Bool,
    _ piece: (ValueType, UnsafeRawBufferPointer) -> Void
  ) throws(HiveError) -> RegistryObject {
    let value = try valueInformation(cell, key.hive, hive)
    if isRead(value) { try hive.forEachPiece(ofValue: cell) { piece(value.type, $0) } }
    return .value(value, lastWriteTime: try hive.keyNode(at: key.cell).lastWriteTime)
  }

  /// `lookUp` of what a listing has found, by its number. Nil, and `body` is not called, when the hive has changed since `count`, or when
  /// the number is that of a hive loaded there.
  package func lookUp<Result>(
    numbered identity: UInt64, isValue: Bool, in key: KeyControlBlock, unchangedSince count: UInt64,
    isRead: (ValueInformation) -> Bool, piece: (ValueType, UnsafeRawBufferPointer) -> Void,
    _ body: (RegistryObject) -> Result
  ) throws(NTStatus) -> Result? {
    try read(key) { hive throws(HiveError) in
      guard key.hive.changes.load(ordering: .relaxed) == count, identity >> 32 == UInt64(key.hive.number) else { return nil }
      let cell = CellIndex(rawValue: UInt32(truncatingIfNeeded: identity))
      if isValue { return body(try Self.value(cell, of: key, hive, isRead, piece)) }
      let information = try Self.keyInformation(cell, key.hive, hive)
      return body(.key(reference(cell, parent: key, name: information.name), information))
    }
  }

  /// How often the key's hive was changed so far.
  package func changeCount(of key: KeyControlBlock) -> UInt64 { key.hive.changes.load(ordering: .acquiring) }

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

  /// The name of the control set in use, `ControlSet001` as `Select\Current` says, where the key is the root of a SYSTEM hive that has no key
  /// `CurrentControlSet` of its own; nil for any other key. Damage there is as if it were not one.
  package func queryControlSet(of key: KeyControlBlock) throws(NTStatus) -> UnicodeName? {
    guard key.isHiveRoot else { return nil }
    return try read(key) { hive throws(HiveError) in (try? Self.controlSet(below: key.cell, hive)) ?? nil }
  }

  private static func controlSet(below root: CellIndex, _ hive: borrowing Hive) throws(HiveError) -> UnicodeName? {
    guard try findKey(currentControlSetName, in: root, ordinal: 1, hive) == nil,
      let select = try findKey("Select", in: root, ordinal: 1, hive),
      let value = try findValue("Current", in: select, ordinal: 1, hive), try hive.valueNode(at: value).type == .dword
    else { return nil }
    let data = try hive.data(ofValue: value)
    guard data.count == 4 else { return nil }
    let digits = String(data.reversed().reduce(0) { $0 << 8 | UInt32($1) })
    return UnicodeName("ControlSet" + String(repeating: "0", count: max(0, 3 - digits.count)) + digits)
  }

  package static let currentControlSetName: UnicodeName = "CurrentControlSet"

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

  /// The type, and then the data as it lies, piece by piece, of the value that has the number `identity` gives; answers its key's
  /// time. All run under the shared lock, so that the number is the value's still. Throws `objectNameNotFound` without a number.
  package func queryValue(
    of key: KeyControlBlock, numbered identity: () -> UInt64?, type: (ValueType) -> Void, piece: (UnsafeRawBufferPointer) -> Void
  ) throws(NTStatus) -> FileTime {
    try read(key) { hive throws(HiveError) in
      guard let identity = identity() else { throw .keyNotFound }
      let cell = CellIndex(rawValue: UInt32(truncatingIfNeeded: identity))
      type(try hive.valueNode(at: cell).type)
      try hive.forEachPiece(ofValue: cell, piece)
      return try hive.keyNode(at: key.cell).lastWriteTime
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
    try read(key) { hive throws(HiveError) in try Self.enumerateKeys(of: key, hive, body) }
  }

  /// Calls `body` for each value in the hive's order, as for subkeys.
  package func enumerateValues(
    of key: KeyControlBlock, _ body: (ValueInformation) -> Void
  ) throws(NTStatus) -> Set<Int> {
    try read(key) { hive throws(HiveError) in Self.enumerateValues(of: key, hive, body) }
  }

  /// Subkeys and values as they are at one moment.
  func enumerate(
    _ key: KeyControlBlock, keys: (UnicodeName, _ identity: UInt64, _ isLink: Bool) -> Void,
    values: (ValueInformation) -> Void
  ) throws(NTStatus) -> (keys: Set<Int>, values: Set<Int>) {
    try read(key) { hive throws(HiveError) in
      (try Self.enumerateKeys(of: key, hive, keys), Self.enumerateValues(of: key, hive, values))
    }
  }

  private static func enumerateKeys(
    of key: KeyControlBlock, _ hive: borrowing Hive, _ body: (UnicodeName, _ identity: UInt64, _ isLink: Bool) -> Void
  ) throws(HiveError) -> Set<Int> {
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

  /// Bytes of data that a value in the key's hive can have.
  package func longestData(of key: KeyControlBlock) throws(NTStatus) -> Int {
    try read(key) { hive throws(HiveError) in hive.longestData }
  }

  private static func enumerateValues(
    of key: KeyControlBlock, _ hive: borrowing Hive, _ body: (ValueInformation) -> Void
  ) -> Set<Int> {
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

  /// Space and number of things in a key's hive, of all hives for a key of the namespace. Walks a hive once at most. Throws
  /// `registryCorrupt`.
  package func querySpace(of key: KeyControlBlock) throws(NTStatus) -> HiveSpace {
    var all = HiveSpace()
    var growth = 0
    for loaded in key.hive.isNamespace ? hives.withLock({ $0 }).filter({ !$0.isNamespace }) : [key.hive] {
      let (space, room) = try loaded.lock.withShared { hive throws(NTStatus) in
        do throws(HiveError) {
          let (statistics, population) = (try hive.statistics(), try hive.population())
          return (
            HiveSpace(
              used: statistics.fileBytes - statistics.freeBytes, free: statistics.freeBytes,
              objects: population.keys + population.values), hive.roomToGrow()
          )
        } catch { throw NTStatus(error) }
      }
      all.used += space.used
      all.free += space.free
      all.objects += space.objects
      // Several hives may share a disk, and no more than what it has.
      growth = max(growth, room)
    }
    all.free += growth
    return all
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
