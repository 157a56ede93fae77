package import Executive

extension Hive {
  /// Characters of a key's name.
  package static let longestKeyName = 255
  /// Keys below the root, one in the other: the registry allows 512, and a hive is mounted some levels down.
  package static let deepestKey = 500

  /// Adds a key with its parent's security and returns it.
  ///
  /// Throws `nameCollision`; `limit` for a name that is empty, too long or holds a backslash, and for depth and space.
  package mutating func createKey(
    under parent: CellIndex, named name: Span<UInt16>, className: UnicodeName? = nil, time: FileTime
  ) throws(HiveError) -> CellIndex {
    try Self.checkKeyName(name)
    let classBytes = className?.units.span.stored(compressed: false) ?? []
    guard classBytes.count <= 0xFFFF else { throw .limit(problem: "a class name of \(classBytes.count) bytes") }
    guard try depth(of: parent) < Self.deepestKey else {
      throw .limit(problem: "keys nest \(Self.deepestKey) deep at most")
    }
    let compressed = name.isCompressible
    let stored = name.stored(compressed: compressed)
    // A span cannot go into the closure.
    let units = UnicodeName(units: Self.units(of: name))
    return try transaction { (hive) throws(HiveError) in
      let node = try hive.keyNode(at: parent)
      let position = try hive.locate(units.units.span, in: node)
      guard position?.match == nil else { throw .nameCollision }
      try hive.retainSecurity(node.security)

      let cell = try hive.allocate(KeyNode.Field.name + stored.count)
      hive.image.store(Signature.keyNode.rawValue, cell, 0)
      let flags: KeyFlags = compressed ? .compressedName : []
      hive.image.store(flags.rawValue, cell, KeyNode.Field.flags)
      hive.image.store(time.rawValue, cell, KeyNode.Field.lastWritten)
      hive.image.store(parent, cell, KeyNode.Field.parent)
      for field in [
        KeyNode.Field.subkeyList, KeyNode.Field.volatileSubkeyList, KeyNode.Field.valueList, KeyNode.Field.className,
      ] {
        hive.image.store(CellIndex.none, cell, field)
      }
      hive.image.store(node.security, cell, KeyNode.Field.security)
      hive.image.store(UInt16(stored.count), cell, KeyNode.Field.nameLength)
      hive.copy(stored, to: cell, KeyNode.Field.name)
      if !classBytes.isEmpty {
        let classCell = try hive.allocate(classBytes.count)
        hive.copy(classBytes, to: classCell, 0)
        hive.image.store(classCell.index, cell, KeyNode.Field.className)
        hive.image.store(UInt16(classBytes.count), cell, KeyNode.Field.classLength)
      }

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
      if let list = try hive.valueList(of: node) {
        if let damage = list.damage { throw damage }
        for place in 0..<list.count { try hive.freeValue(hive.entry(list, place)) }
        try hive.free(list.cell.index, "value list")
      }
      if node.classLength > 0 { try hive.free(node.className, "class name") }
      try hive.releaseSecurity(node.security)
      try hive.free(key, "key node")
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

  // MARK: Parts

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

  /// Keys from the root to `key`, the root 0; what is deeper than any hive may be is damaged.
  private func depth(of key: CellIndex) throws(HiveError) -> Int {
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

  // MARK: Security

  /// One key more refers to the security cell.
  mutating func retainSecurity(_ index: CellIndex) throws(HiveError) {
    let security = try image.security(at: index)
    let count = image.load(UInt32.self, security.cell, SecurityCell.Field.referenceCount)
    guard count < UInt32.max else { throw .limit(problem: "keys that share a security descriptor") }
    // A count of 0 on a cell in use is damage: one too many keeps the cell when this key goes again.
    image.store(max(2, count + 1), security.cell, SecurityCell.Field.referenceCount)
  }

  /// One key less refers to it; the last one takes it out of the ring.
  mutating func releaseSecurity(_ index: CellIndex) throws(HiveError) {
    // A key without security, or a count that was wrong before, is no reason to keep the key.
    guard index != .none, let security = try? image.security(at: index) else { return }
    let count = image.load(UInt32.self, security.cell, SecurityCell.Field.referenceCount)
    guard count > 0 else { return }
    image.store(count - 1, security.cell, SecurityCell.Field.referenceCount)
    guard count == 1 else { return }
    let next = image.index(security.cell, SecurityCell.Field.next)
    let previous = image.index(security.cell, SecurityCell.Field.previous)
    let after = try image.security(at: next)
    let before = try image.security(at: previous)
    guard next != index, image.index(after.cell, SecurityCell.Field.previous) == index,
      image.index(before.cell, SecurityCell.Field.next) == index
    else {
      throw .damaged(structure: "security cell", offset: index.fileOffset, problem: "the ring is broken here")
    }
    image.store(previous, after.cell, SecurityCell.Field.previous)
    image.store(next, before.cell, SecurityCell.Field.next)
    try free(index, "security cell")
  }
}
