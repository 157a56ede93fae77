package import Executive

// Whole trees: one key's content and everything below it, replaced by a copy from another hive.

extension Hive {
  /// Calls `body` with every key below `key`, a key before its subkeys; `key` itself is left out.
  ///
  /// Throws `damaged` where what lies below is no tree: a key that is another one's child, or is listed twice.
  package func forEachDescendant(
    of key: CellIndex, _ body: (CellIndex) throws(HiveError) -> Void
  ) throws(HiveError) {
    var open = [key]
    var seen: Set<CellIndex> = [key]
    while let parent = open.popLast() {
      try forEachSubkey(of: parent) { (_, child) throws(HiveError) in
        guard try keyNode(at: child).parent == parent, seen.insert(child).inserted else {
          throw .damaged(structure: "key node", offset: child.fileOffset, problem: "it is in a list of another key")
        }
        try body(child)
        open.append(child)
        return true
      }
    }
  }

  /// Makes the content of `target` a copy of the tree at `key` of `source`: values, class name, security descriptor,
  /// and every key below with its own time (NtRestoreKey). `target` keeps its name, its cell and its place; its time
  /// becomes `time`. A link stays a link. Its former subkeys are gone: `forEachDescendant` tells them beforehand.
  ///
  /// Throws `damaged` for damage in either tree, and `limit` where this hive cannot hold what the source can: depth,
  /// data, names, space, tombstones of layered keys.
  package mutating func restoreKey(
    _ target: CellIndex, from source: borrowing Hive, key: CellIndex, time: FileTime
  ) throws(HiveError) {
    try replaceContent(of: target, by: key, of: source, deepest: Self.deepestKey, time: time)
  }

  /// As `restoreKey`, with another limit to the depth.
  mutating func replaceContent(
    of target: CellIndex, by key: CellIndex, of source: borrowing Hive, deepest: Int, time: FileTime
  ) throws(HiveError) {
    try transaction { (hive) throws(HiveError) in
      let old = try hive.keyNode(at: target)
      let depth = try hive.depth(of: target)
      try hive.freeTree(below: old)
      // Keys of the source without security get the one that was here.
      var copy = TreeCopy(start: key, deepest: deepest, security: old.security)
      copy.open = [TreeCopy.Step(origin: try source.keyNode(at: key), target: old.body, depth: depth)]
      while let step = copy.open.popLast() { try hive.copyContent(step, from: source, &copy) }
      // Last, so that the ring is never empty meanwhile.
      try hive.releaseSecurity(old.security)
      hive.image.store(time.rawValue, old.body, KeyNode.Field.lastWritten)
      if target != hive.rootKey {
        let parent = try hive.keyNode(at: old.parent)
        let classLength = hive.image.load(UInt16.self, old.body, KeyNode.Field.classLength)
        hive.raise(KeyNode.Field.longestSubkeyClass, of: parent.body, to: UInt32(classLength))
      }
    }
  }

  // MARK: Freeing

  /// Frees everything that belongs to the key but its own cell and its share of the security cell: the key still points
  /// to it.
  private mutating func freeTree(below key: KeyNode) throws(HiveError) {
    var keys: [CellIndex] = []
    try forEachDescendant(of: key.cell) { keys.append($0) }
    try freeContent(of: key)
    for index in keys {
      let node = try keyNode(at: index)
      try freeContent(of: node)
      try releaseSecurity(node.security)
      try free(index, "key node")
    }
  }

  private mutating func freeContent(of key: KeyNode) throws(HiveError) {
    try freeValues(of: key)
    try freeSubkeyLists(of: key)
    if key.classLength > 0 { try free(key.className, "class name") }
    valueIndexes.forget(key.cell)
    sortedLists.remove(key.cell)
  }

  // MARK: Copying

  /// A copy that is being made. Keys wait in a list of their own: nothing but the limit bounds a tree's depth.
  private struct TreeCopy {
    struct Step {
      let origin: KeyNode
      /// The key's cell in the new tree; it has its name, and if it is not the first, its time.
      let target: Cell
      /// Keys from the root of the new tree's hive.
      let depth: Int
    }

    /// The key that the copy begins with; it cannot be its own descendant.
    let start: CellIndex
    let deepest: Int
    /// For keys that have no security cell.
    let security: CellIndex
    var open: [Step] = []
    /// Where the source's security cells went.
    var securities: [CellIndex: CellIndex] = [:]

    init(start: CellIndex, deepest: Int, security: CellIndex) {
      self.start = start
      self.deepest = deepest
      self.security = security
    }
  }

  /// Layered keys (differencing hives) may say that a key or value of the layer below is gone.
  var hasLayeredKeys: Bool { minorVersion >= 6 && baseSector[BaseBlock.Field.flags] & 2 != 0 }

  private mutating func copyContent(
    _ step: TreeCopy.Step, from source: borrowing Hive, _ copy: inout TreeCopy
  ) throws(HiveError) {
    let (origin, target) = (step.origin, step.target)
    try copyTraits(of: origin, from: source, to: target)
    let security = try copySecurity(of: origin, from: source, &copy)
    image.store(security, target, KeyNode.Field.security)
    try copyClassName(of: origin, from: source, to: target)
    try copyValues(of: origin, from: source, to: target)
    try copySubkeys(of: step, from: source, &copy)
  }

  /// Flags and the bytes of virtualization and debugging. What tells a root from other keys, and how a name is stored,
  /// stays the target's; what belongs to memory only is left behind.
  private mutating func copyTraits(
    of origin: KeyNode, from source: borrowing Hive, to target: Cell
  ) throws(HiveError) {
    let own: KeyFlags = [.hiveEntry, .noDelete, .compressedName]
    let flags = KeyFlags(rawValue: image.load(UInt16.self, target, KeyNode.Field.flags)).intersection(own)
    let copied = origin.flags.subtracting(own.union([.volatile, .hiveExit]))
    image.store(flags.union(copied).rawValue, target, KeyNode.Field.flags)
    image.store(origin.userFlags, target, KeyNode.Field.userFlags)
    let debugFlags = source.image.load(UInt8.self, origin.body, KeyNode.Field.debugFlags)
    image.store(debugFlags, target, KeyNode.Field.debugFlags)
    let layer = source.hasLayeredKeys ? source.image.load(UInt8.self, origin.body, KeyNode.Field.layer) : 0
    guard hasLayeredKeys || layer & KeyNode.layerKind != KeyNode.layerTombstone else {
      throw .limit(problem: "a layered key's tombstone, in a hive without layers")
    }
    image.store(hasLayeredKeys ? layer : 0, target, KeyNode.Field.layer)
  }

  private mutating func copySecurity(
    of origin: KeyNode, from source: borrowing Hive, _ copy: inout TreeCopy
  ) throws(HiveError) -> CellIndex {
    if origin.security == .none {
      if copy.security != .none { try retainSecurity(copy.security) }
      return copy.security
    }
    if let known = copy.securities[origin.security] {
      try retainSecurity(known)
      return known
    }
    let security = try source.image.security(at: origin.security)
    let descriptor = source.image.buffer(
      at: security.cell.start + SecurityCell.Field.descriptor, count: security.descriptorSize)
    // One that nobody could set by itself does not come in with a tree either.
    do throws(HiveError) { try SecurityDescriptor.check(Array(descriptor).span) } catch {
      throw .damaged(structure: "security cell", offset: origin.security.fileOffset, problem: "\(error)")
    }
    let shared = try shareSecurity(descriptor)
    copy.securities[origin.security] = shared
    return shared
  }

  private mutating func copyClassName(
    of origin: KeyNode, from source: borrowing Hive, to target: Cell
  ) throws(HiveError) {
    var index = CellIndex.none
    if origin.classLength > 0 {
      let name = try source.image.cell(origin.className, as: "class name")
      guard origin.classLength <= name.count else {
        throw .damaged(
          structure: "class name", offset: origin.className.fileOffset,
          problem: "\(origin.classLength) bytes do not fit a cell of \(name.count)")
      }
      let cell = try allocate(origin.classLength)
      image.copy(source.image.buffer(at: name.start, count: origin.classLength), to: cell.start)
      index = cell.index
    }
    image.store(index, target, KeyNode.Field.className)
    image.store(UInt16(origin.classLength), target, KeyNode.Field.classLength)
  }

  private mutating func copyValues(
    of origin: KeyNode, from source: borrowing Hive, to target: Cell
  ) throws(HiveError) {
    // A predefined handle's count is the handle.
    image.store(
      source.image.load(UInt32.self, origin.body, KeyNode.Field.valueCount), target, KeyNode.Field.valueCount)
    image.store(CellIndex.none, target, KeyNode.Field.valueList)
    image.store(UInt32(0), target, KeyNode.Field.longestValueName)
    image.store(UInt32(0), target, KeyNode.Field.longestValueData)
    guard let list = try source.valueList(of: origin) else { return }
    if let damage = list.damage { throw damage }
    let cell = try allocate(list.count * 4)
    image.store(cell.index, target, KeyNode.Field.valueList)
    var names: Set<UnicodeName> = []
    var data: [UInt8] = []
    for place in 0..<list.count {
      let index = source.entry(list, place)
      let node = try source.valueNode(at: index)
      let name = try source.valueName(at: index)
      try Self.checkValueName(name.units.span)
      guard names.insert(name.upcased).inserted else {
        throw .damaged(structure: "value", offset: index.fileOffset, problem: "another value has its name")
      }
      let isTombstone = source.hasLayeredKeys && node.isTombstone
      guard hasLayeredKeys || !isTombstone else {
        throw .limit(problem: "a layered value's tombstone, in a hive without layers")
      }
      try source.readData(ofValue: index, into: &data)
      try checkDataLength(data.count)
      let value = try data.span.withUnsafeBytes { (data) throws(HiveError) in
        try makeValue(named: name, type: node.type, data: data)
      }
      if isTombstone {
        let flags = image.load(UInt16.self, value, ValueNode.Field.flags)
        image.store(flags | ValueNode.Flag.tombstone, value, ValueNode.Field.flags)
      }
      image.store(value.index, cell, place * 4)
      raise(KeyNode.Field.longestValueName, of: target, to: UInt32(name.units.count * 2))
      raise(KeyNode.Field.longestValueData, of: target, to: UInt32(data.count))
    }
  }

  /// Makes the subkeys of a key with their list; their content waits in `copy`.
  private mutating func copySubkeys(
    of step: TreeCopy.Step, from source: borrowing Hive, _ copy: inout TreeCopy
  ) throws(HiveError) {
    let target = step.target
    let children = try source.sortedSubkeys(of: step.origin, start: copy.start)
    guard children.isEmpty || step.depth < copy.deepest else {
      throw .limit(problem: "keys nest \(copy.deepest) deep at most")
    }
    image.store(UInt32(children.count), target, KeyNode.Field.subkeyCount)
    image.store(UInt16(0), target, KeyNode.Field.longestSubkeyName)
    image.store(UInt32(0), target, KeyNode.Field.longestSubkeyClass)
    var names: [NamedSubkey] = []
    names.reserveCapacity(children.count)
    for (name, node) in children {
      let flags = node.flags.intersection(.noDelete)
      let cell = try makeKey(named: name, flags: flags, under: target.index, time: node.lastWriteTime)
      names.append(NamedSubkey(name: name, key: cell.index))
      copy.open.append(TreeCopy.Step(origin: node, target: cell, depth: step.depth + 1))
      raise(KeyNode.Field.longestSubkeyName, of: target, to: UInt16(name.units.count * 2))
      raise(KeyNode.Field.longestSubkeyClass, of: target, to: UInt32(node.classLength))
    }
    image.store(try makeSubkeyList(of: names), target, KeyNode.Field.subkeyList)
    if !names.isEmpty { sortedLists.insert(target.index) }
  }

  /// The key's subkeys in the order of a list. Throws `damaged` for twins, for names that no key may have, and for a
  /// subkey that has another parent or is `start`.
  private func sortedSubkeys(
    of key: KeyNode, start: CellIndex
  ) throws(HiveError) -> [(name: UnicodeName, node: KeyNode)] {
    var subkeys: [(name: UnicodeName, node: KeyNode)] = []
    try forEachSubkey(of: key.cell) { (_, child) throws(HiveError) in
      let node = try keyNode(at: child)
      guard node.parent == key.cell, child != start else {
        throw .damaged(structure: "key node", offset: child.fileOffset, problem: "it is in a list of another key")
      }
      let name = try keyName(at: child)
      // Windows has stored one character more than it allows.
      guard !name.isEmpty, name.units.count <= Self.longestKeyName + 1, !name.units.contains(0x5C) else {
        throw .damaged(structure: "key node", offset: child.fileOffset, problem: "its name is not allowed")
      }
      subkeys.append((name, node))
      return true
    }
    // Other tools leave lists in other orders.
    if !zip(subkeys, subkeys.dropFirst()).allSatisfy({ Self.order($0.name, $1.name) <= 0 }) {
      subkeys.sort { Self.order($0.name, $1.name) < 0 }
    }
    for (before, after) in zip(subkeys, subkeys.dropFirst()) where Self.order(before.name, after.name) == 0 {
      throw .damaged(structure: "key node", offset: after.node.cell.fileOffset, problem: "another key has its name")
    }
    return subkeys
  }

  private static func order(_ a: UnicodeName, _ b: UnicodeName) -> Int {
    UpcaseTable.compare(a.units.span, b.units.span)
  }
}
