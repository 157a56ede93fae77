package import Executive

extension Hive {
  /// Characters of a key's name.
  package static let longestKeyName = 255
  /// Keys below the root, one in the other: the registry allows 512, and a hive is mounted some levels down.
  package static let deepestKey = 500
  /// The registry's own limit, which hives of others may use up.
  static let deepestStored = 512

  /// Adds a key with its parent's security and returns it. A link key (REG_OPTION_CREATE_LINK) leads to another once it
  /// has its value `SymbolicLinkValue`, of type REG_LINK.
  ///
  /// Throws `nameCollision`; `limit` for a name that is empty, too long or holds a backslash, and for depth and space.
  package mutating func createKey(
    under parent: CellIndex, named name: Span<UInt16>, className: UnicodeName? = nil, isLink: Bool = false,
    time: FileTime
  ) throws(HiveError) -> CellIndex {
    try Self.checkKeyName(name)
    let classBytes = try Self.stored(className: className)
    guard try depth(of: parent) < Self.deepestKey else {
      throw .limit(problem: "keys nest \(Self.deepestKey) deep at most")
    }
    // A span cannot go into the closure.
    let units = UnicodeName(units: Self.units(of: name))
    return try transaction { (hive) throws(HiveError) in
      let node = try hive.keyNode(at: parent)
      let position = try hive.locate(units.units.span, in: node)
      guard position?.match == nil else { throw .nameCollision }
      try hive.retainSecurity(node.security)

      let cell = try hive.makeKey(named: units, flags: isLink ? .symbolicLink : [], under: parent, time: time)
      hive.image.store(node.security, cell, KeyNode.Field.security)
      if !classBytes.isEmpty { try hive.storeClass(classBytes, in: cell) }

      try hive.insert(cell.index, named: units.units.span, into: node, at: position)
      hive.raise(KeyNode.Field.longestSubkeyName, of: node.body, to: UInt16(units.units.count * 2))
      hive.raise(KeyNode.Field.longestSubkeyClass, of: node.body, to: UInt32(classBytes.count))
      hive.image.store(time.rawValue, node.body, KeyNode.Field.lastWritten)
      return cell.index
    }
  }

  /// Deletes a key with its values. Throws `cannotDelete` for the root and for a key with subkeys.
  package mutating func deleteKey(_ key: CellIndex, time: FileTime) throws(HiveError) {
    try transaction { (hive) throws(HiveError) in
      let node = try hive.keyNode(at: key)
      guard key != hive.rootKey, node.subkeyCount == 0 else { throw .cannotDelete }
      let parent = try hive.keyNode(at: node.parent)
      try hive.remove(key, from: parent)
      try hive.freeValues(of: node)
      if node.classLength > 0 { try hive.free(node.className, "class name") }
      try hive.releaseSecurity(node.security)
      try hive.free(key, "key node")
      hive.counts.add(keys: -1)
      hive.image.store(time.rawValue, parent.body, KeyNode.Field.lastWritten)
    }
  }

  /// Gives the key another name, or the same in another case, and returns where the key lies then: a longer name may
  /// move it. Throws `nameCollision`, `cannotDelete` for the root, and `limit` as `createKey`.
  package mutating func renameKey(
    _ key: CellIndex, to name: Span<UInt16>, time: FileTime
  ) throws(HiveError) -> CellIndex {
    try Self.checkKeyName(name)
    let compressed = name.isCompressible
    let stored = name.stored(compressed: compressed)
    let units = UnicodeName(units: Self.units(of: name))
    return try transaction { (hive) throws(HiveError) in
      let node = try hive.keyNode(at: key)
      guard key != hive.rootKey else { throw .cannotDelete }
      var parent = try hive.keyNode(at: node.parent)
      if let taken = try hive.findSubkey(of: node.parent, named: units.units.span), taken != key {
        throw .nameCollision
      }
      try hive.remove(key, from: parent)

      var cell = node.body
      if KeyNode.Field.name + stored.count > cell.count {
        cell = try hive.allocate(KeyNode.Field.name + stored.count)
        hive.image.move(from: node.body.start, to: cell.start, count: KeyNode.Field.name)
        // Every child points back.
        try hive.repointChildren(of: node, to: cell.index)
        try hive.free(key, "key node")
        if hive.sortedLists.contains(key) { hive.sortedLists.insert(cell.index) }
      }
      var flags = node.flags
      if compressed { flags.insert(.compressedName) } else { flags.remove(.compressedName) }
      hive.image.store(flags.rawValue, cell, KeyNode.Field.flags)
      hive.image.store(UInt16(stored.count), cell, KeyNode.Field.nameLength)
      hive.copy(stored, to: cell, KeyNode.Field.name)
      hive.image.store(time.rawValue, cell, KeyNode.Field.lastWritten)

      parent = try hive.keyNode(at: node.parent)
      let position = try hive.locate(units.units.span, in: parent)
      try hive.insert(cell.index, named: units.units.span, into: parent, at: position)
      hive.raise(KeyNode.Field.longestSubkeyName, of: parent.body, to: UInt16(units.units.count * 2))
      hive.image.store(time.rawValue, parent.body, KeyNode.Field.lastWritten)
      return cell.index
    }
  }

  package mutating func setLastWriteTime(of key: CellIndex, _ time: FileTime) throws(HiveError) {
    try transaction { (hive) throws(HiveError) in
      let node = try hive.keyNode(at: key)
      hive.image.store(time.rawValue, node.body, KeyNode.Field.lastWritten)
    }
  }

  /// Gives the key another class name, or none (nil); its time stays, for who copies keys gives times first. Throws `limit` for one over 65,535 bytes.
  package mutating func setClassName(ofKey key: CellIndex, _ name: UnicodeName?) throws(HiveError) {
    let bytes = try Self.stored(className: name)
    try transaction { (hive) throws(HiveError) in
      let node = try hive.keyNode(at: key)
      if node.classLength > 0 { try hive.free(node.className, "class name") }
      hive.image.store(CellIndex.none, node.body, KeyNode.Field.className)
      hive.image.store(UInt16(0), node.body, KeyNode.Field.classLength)
      if !bytes.isEmpty { try hive.storeClass(bytes, in: node.body) }
      guard key != hive.rootKey else { return }
      hive.raise(KeyNode.Field.longestSubkeyClass, of: try hive.keyNode(at: node.parent).body, to: UInt32(bytes.count))
    }
  }

  // MARK: Parts

  private static func stored(className: UnicodeName?) throws(HiveError) -> [UInt8] {
    let bytes = className?.units.span.stored(compressed: false) ?? []
    guard bytes.count <= 0xFFFF else { throw .limit(problem: "a class name of \(bytes.count) bytes") }
    return bytes
  }

  /// Into a key that has no class.
  private mutating func storeClass(_ bytes: [UInt8], in key: Cell) throws(HiveError) {
    let cell = try allocate(bytes.count)
    copy(bytes, to: cell, 0)
    image.store(cell.index, key, KeyNode.Field.className)
    image.store(UInt16(bytes.count), key, KeyNode.Field.classLength)
  }

  private static func checkKeyName(_ name: Span<UInt16>) throws(HiveError) {
    guard name.count > 0 else { throw .limit(problem: "a key needs a name") }
    guard name.count <= longestKeyName else {
      throw .limit(problem: "a key name of \(name.count) characters, \(longestKeyName) are allowed")
    }
    for index in 0..<name.count where name[index] == 0x5C {
      throw .limit(problem: "a key name cannot hold a backslash")
    }
  }

  static func units(of name: Span<UInt16>) -> [UInt16] {
    var units: [UInt16] = []
    units.reserveCapacity(name.count)
    for index in 0..<name.count { units.append(name[index]) }
    return units
  }

  /// A key that no list holds yet, without values, subkeys, class name and security.
  mutating func makeKey(
    named name: UnicodeName, flags: KeyFlags, under parent: CellIndex, time: FileTime
  ) throws(HiveError) -> Cell {
    let compressed = name.units.span.isCompressible
    let stored = name.units.span.stored(compressed: compressed)
    let cell = try allocate(KeyNode.Field.name + stored.count)
    counts.add(keys: 1)
    image.store(Signature.keyNode.rawValue, cell, 0)
    var flags = flags
    if compressed { flags.insert(.compressedName) } else { flags.remove(.compressedName) }
    image.store(flags.rawValue, cell, KeyNode.Field.flags)
    image.store(time.rawValue, cell, KeyNode.Field.lastWritten)
    image.store(parent, cell, KeyNode.Field.parent)
    for field in [
      KeyNode.Field.subkeyList, KeyNode.Field.volatileSubkeyList, KeyNode.Field.valueList, KeyNode.Field.security,
      KeyNode.Field.className,
    ] {
      image.store(CellIndex.none, cell, field)
    }
    image.store(UInt16(stored.count), cell, KeyNode.Field.nameLength)
    copy(stored, to: cell, KeyNode.Field.name)
    return cell
  }

  /// Keys from the root to `key`, the root 0; what is deeper than any hive may be is damaged.
  func depth(of key: CellIndex) throws(HiveError) -> Int {
    var depth = 0
    var place = key
    while place != rootKey {
      place = try keyNode(at: place).parent
      depth += 1
      guard depth <= 4096 else {
        throw .damaged(structure: "key node", offset: key.fileOffset, problem: "its parents do not lead to the root")
      }
    }
    return depth
  }

  private mutating func repointChildren(of node: KeyNode, to parent: CellIndex) throws(HiveError) {
    guard node.subkeyCount > 0 else { return }
    let list = try image.subkeyList(at: node.subkeyList)
    if let damage = list.damage { throw damage }
    for ordinal in 0..<(list.kind == .indexRoot ? list.count : 1) {
      let leaf = list.kind == .indexRoot ? try image.leaf(at: image.entry(list, ordinal)) : list
      if let damage = leaf.damage { throw damage }
      for entry in 0..<leaf.count {
        // A child that cannot be read has no parent field to mend.
        guard let child = try? keyNode(at: image.entry(leaf, entry)), child.parent == node.cell else { continue }
        image.store(parent, child.body, KeyNode.Field.parent)
      }
    }
  }

  /// "Longest" fields are upper bounds: raised with a child, left when it goes.
  mutating func raise<T: FixedWidthInteger & BitwiseCopyable>(_ field: Int, of cell: Cell, to value: T) {
    if image.load(T.self, cell, field) < value { image.store(value, cell, field) }
  }

  mutating func copy(_ bytes: [UInt8], to cell: Cell, _ field: Int) {
    precondition(field + bytes.count <= cell.count)
    bytes.withUnsafeBytes { image.copy($0, to: cell.start + field) }
  }
}
