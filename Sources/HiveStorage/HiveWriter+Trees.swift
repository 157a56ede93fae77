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
    var copy = TreeCopy(start: key, deepest: deepest)
    try replaceContent(of: target, by: &copy, of: source, time: time)
  }

  /// As `restoreKey`, in the way that `copy` says; `progress` is told how many bytes this hive has.
  mutating func replaceContent(
    of target: CellIndex, by copy: inout TreeCopy, of source: borrowing Hive, time: FileTime,
    progress: (_ bytes: Int) -> Void = { _ in }
  ) throws(HiveError) {
    // The closure of a transaction cannot change what it was given from outside.
    var work = copy
    copy = try transaction { (hive) throws(HiveError) in
      let old = try hive.keyNode(at: target)
      let depth = try hive.depth(of: target)
      try hive.freeTree(below: old)
      // Keys of the source without security get the one that was here.
      work.security = old.security
      work.begin(with: try source.keyNode(at: work.start), at: old.body, depth: depth)
      while let step = work.next() {
        try hive.copyContent(step, from: source, &work)
        progress(hive.image.count)
      }
      // Last, so that the ring is never empty meanwhile.
      try hive.releaseSecurity(old.security)
      hive.image.store(time.rawValue, old.body, KeyNode.Field.lastWritten)
      if target != hive.rootKey {
        let parent = try hive.keyNode(at: old.parent)
        let classLength = hive.image.load(UInt16.self, old.body, KeyNode.Field.classLength)
        hive.raise(KeyNode.Field.longestSubkeyClass, of: parent.body, to: UInt32(classLength))
      }
      return work
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
      counts.add(keys: -1)
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

  /// Layered keys (differencing hives) may say that a key or value of the layer below is gone.
  var hasLayeredKeys: Bool { minorVersion >= 6 && baseSector[BaseBlock.Field.flags] & 2 != 0 }

  private mutating func copyContent(
    _ step: TreeCopy.Step, from source: borrowing Hive, _ copy: inout TreeCopy
  ) throws(HiveError) {
    try copyTraits(of: step, from: source, copy)
    let security = try copySecurity(of: step, from: source, &copy)
    image.store(security, step.target, KeyNode.Field.security)
    try copyClassName(of: step, from: source, &copy)
    try copyValues(of: step, from: source, &copy)
    try copySubkeys(of: step, from: source, &copy)
  }

  /// Flags and the bytes of virtualization and debugging. What tells a root from other keys, and how a name is stored,
  /// stays the target's; what belongs to memory only is left behind.
  private mutating func copyTraits(
    of step: TreeCopy.Step, from source: borrowing Hive, _ copy: TreeCopy
  ) throws(HiveError) {
    let (origin, target) = (step.origin, step.target)
    var own: KeyFlags = [.hiveEntry, .noDelete, .compressedName]
    if copy.isOfWholeHive, copy.salvage == nil { own.remove(.noDelete) }
    let flags = KeyFlags(rawValue: image.load(UInt16.self, target, KeyNode.Field.flags)).intersection(own)
    let copied = origin.flags.subtracting(own.union([.volatile, .hiveExit]))
    image.store(flags.union(copied).rawValue, target, KeyNode.Field.flags)
    image.store(origin.userFlags, target, KeyNode.Field.userFlags)
    let debugFlags = source.image.load(UInt8.self, origin.body, KeyNode.Field.debugFlags)
    image.store(debugFlags, target, KeyNode.Field.debugFlags)
    if copy.isOfWholeHive {
      let access = source.image.load(UInt8.self, origin.body, KeyNode.Field.accessBits)
      image.store(access, target, KeyNode.Field.accessBits)
    }
    let layer = source.hasLayeredKeys ? source.image.load(UInt8.self, origin.body, KeyNode.Field.layer) : 0
    guard hasLayeredKeys || layer & KeyNode.layerKind != KeyNode.layerTombstone else {
      throw .limit(problem: "a layered key's tombstone, in a hive without layers")
    }
    image.store(hasLayeredKeys ? layer : 0, target, KeyNode.Field.layer)
  }

  private mutating func copySecurity(
    of step: TreeCopy.Step, from source: borrowing Hive, _ copy: inout TreeCopy
  ) throws(HiveError) -> CellIndex {
    let origin = step.origin.security
    var found = copy.securities[origin]
    if found == nil, origin != .none {
      do throws(HiveError) {
        let shared = try shareSecurity(source.descriptor(at: origin))
        copy.securities[origin] = shared
        return shared
      } catch {
        try copy.meet(.changed("its security is that of the key above"), .securityDescriptor, error, in: step)
        // Windows gives a new key its parent's, too.
        if step.depth > 0 { found = try keyNode(at: image.index(step.target, KeyNode.Field.parent)).security }
      }
    }
    let security = found ?? copy.security
    if security != .none { try retainSecurity(security) }
    return security
  }

  /// The bytes of a security cell's descriptor. One that nobody could set by itself does not come in with a tree
  /// either.
  private func descriptor(at index: CellIndex) throws(HiveError) -> UnsafeRawBufferPointer {
    let security = try image.security(at: index)
    let descriptor = image.buffer(
      at: security.cell.start + SecurityCell.Field.descriptor, count: security.descriptorSize)
    do throws(HiveError) { try SecurityDescriptor.check(Array(descriptor).span) } catch {
      throw .damaged(structure: "security cell", offset: index.fileOffset, problem: "\(error)")
    }
    return descriptor
  }

  private mutating func copyClassName(
    of step: TreeCopy.Step, from source: borrowing Hive, _ copy: inout TreeCopy
  ) throws(HiveError) {
    let (origin, target) = (step.origin, step.target)
    var index = CellIndex.none
    if origin.classLength > 0 {
      do throws(HiveError) {
        let name = try source.image.cell(origin.className, as: "class name")
        guard origin.classLength <= name.count else {
          throw HiveError.damaged(
            structure: "class name", offset: origin.className.fileOffset,
            problem: "\(origin.classLength) bytes do not fit a cell of \(name.count)")
        }
        let cell = try allocate(origin.classLength)
        image.copy(source.image.buffer(at: name.start, count: origin.classLength), to: cell.start)
        index = cell.index
      } catch {
        try copy.meet(.dropped, .classSize, error, in: step)
      }
    }
    image.store(index, target, KeyNode.Field.className)
    image.store(UInt16(index == .none ? 0 : origin.classLength), target, KeyNode.Field.classLength)
  }

  private mutating func copyValues(
    of step: TreeCopy.Step, from source: borrowing Hive, _ copy: inout TreeCopy
  ) throws(HiveError) {
    let (origin, target) = (step.origin, step.target)
    // A predefined handle's count is the handle.
    let handle = source.image.load(UInt32.self, origin.body, KeyNode.Field.valueCount)
    image.store(origin.flags.contains(.predefinedHandle) ? handle : 0, target, KeyNode.Field.valueCount)
    image.store(CellIndex.none, target, KeyNode.Field.valueList)
    image.store(UInt32(0), target, KeyNode.Field.longestValueName)
    image.store(UInt32(0), target, KeyNode.Field.longestValueData)
    let list: ValueList
    do throws(HiveError) {
      guard let found = try source.valueList(of: origin) else { return }
      list = found
    } catch {
      return try copy.meet(.dropped, .cellReference, error, in: step)
    }
    if let damage = list.damage {
      try copy.meet(.changed("what its cell holds is kept"), .valueListSize, damage, in: step)
    }
    let cell = try allocate(list.count * 4)
    var count = 0
    var names: Set<UnicodeName> = []
    for place in 0..<list.count {
      let index = source.entry(list, place)
      do throws(HiveError) {
        let value = try copyValue(index, of: step, from: source, names: &names, &copy)
        image.store(value, cell, count * 4)
        count += 1
      } catch {
        try copy.meet(.dropped, .valueSignature, error, in: step)
      }
    }
    guard count > 0 else { return try free(cell.index, "value list") }
    image.store(cell.index, target, KeyNode.Field.valueList)
    image.store(UInt32(count), target, KeyNode.Field.valueCount)
  }

  private mutating func copyValue(
    _ index: CellIndex, of step: TreeCopy.Step, from source: borrowing Hive, names: inout Set<UnicodeName>,
    _ copy: inout TreeCopy
  ) throws(HiveError) -> CellIndex {
    let node = try source.valueNode(at: index)
    var name = try source.valueName(at: index)
    try Self.checkValueName(name.units.span)
    let isTombstone = source.hasLayeredKeys && node.isTombstone
    guard hasLayeredKeys || !isTombstone else {
      throw .limit(problem: "a layered value's tombstone, in a hive without layers")
    }
    try source.readData(ofValue: index, into: &copy.data)
    if !copy.isOfWholeHive { try checkDataLength(copy.data.count) }
    if names.contains(name.upcased) {
      let twin = HiveError.damaged(structure: "value", offset: index.fileOffset, problem: "another value has its name")
      name = name.madeUnique(among: names, longest: Self.longestValueName)
      try copy.meet(.changed("its name is \(name)"), .valueDuplicate, twin, in: step)
    }
    names.insert(name.upcased)
    // Only what the checker calls damage anyway: a link that leads nowhere leads there as text, too.
    let isTarget =
      copy.salvage != nil && step.origin.isLink && name.equalsIgnoringCase(UnicodeName("SymbolicLinkValue"))
    let type = isTarget ? .link : node.type
    let value = try copy.data.span.withUnsafeBytes { (data) throws(HiveError) in
      try makeValue(named: name, type: type, data: data)
    }
    if isTombstone {
      let flags = image.load(UInt16.self, value, ValueNode.Field.flags)
      image.store(flags | ValueNode.Flag.tombstone, value, ValueNode.Field.flags)
    }
    raise(KeyNode.Field.longestValueName, of: step.target, to: UInt32(name.units.count * 2))
    raise(KeyNode.Field.longestValueData, of: step.target, to: UInt32(copy.data.count))
    return value.index
  }

  /// Makes the subkeys of a key with their list; their content waits in `copy`.
  private mutating func copySubkeys(
    of step: TreeCopy.Step, from source: borrowing Hive, _ copy: inout TreeCopy
  ) throws(HiveError) {
    let target = step.target
    var children = try source.sortedSubkeys(of: step, &copy)
    if !children.isEmpty, step.depth >= copy.deepest {
      guard copy.salvage != nil else { throw .limit(problem: "keys nest \(copy.deepest) deep at most") }
      for (_, node) in children {
        let depth = HiveError.damaged(
          structure: "key node", offset: node.cell.fileOffset, problem: "it lies more than \(copy.deepest) keys deep")
        try copy.meet(.dropped, .keyDepth, depth, in: step)
      }
      children = []
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
      copy.append(node, at: cell, below: step)
      raise(KeyNode.Field.longestSubkeyName, of: target, to: UInt16(name.units.count * 2))
      raise(KeyNode.Field.longestSubkeyClass, of: target, to: UInt32(node.classLength))
    }
    image.store(try makeSubkeyList(of: names), target, KeyNode.Field.subkeyList)
    if !names.isEmpty { sortedLists.insert(target.index) }
  }

  /// The key's subkeys in the order of a list. Damage are twins, names that no key may have, and a subkey that has
  /// another parent or was met before.
  private func sortedSubkeys(
    of step: TreeCopy.Step, _ copy: inout TreeCopy
  ) throws(HiveError) -> [(name: UnicodeName, node: KeyNode)] {
    let key = step.origin.cell
    var listed: [CellIndex] = []
    var damages: [HiveError] = []
    try forEachSubkey(of: key, damaged: { damages.append($0) }) { (_, child) throws(HiveError) in
      listed.append(child)
      return true
    }
    for damage in damages {
      try copy.meet(.changed("what can be found of its subkeys is kept"), .listSize, damage, in: step)
    }
    // Keys that no list holds any more, but that know where they belong.
    if !damages.isEmpty, let lost = copy.salvage?.unlisted[key] {
      let found = Set(listed)
      listed += lost.filter { !found.contains($0) }
    }
    var subkeys: [(name: UnicodeName, node: KeyNode)] = []
    for child in listed {
      do throws(HiveError) {
        guard let node = try ownSubkey(child, in: step, &copy) else { continue }
        let name = try keyName(at: child)
        subkeys.append((try allowedName(name, of: child, in: step, &copy), node))
      } catch {
        try copy.meet(.dropped, .keySignature, error, in: step)
      }
    }
    // Other tools leave lists in other orders.
    if !zip(subkeys, subkeys.dropFirst()).allSatisfy({ Self.order($0.name, $1.name) <= 0 }) {
      subkeys.sort { Self.order($0.name, $1.name) < 0 }
    }
    try partTwins(&subkeys, in: step, &copy)
    return subkeys
  }

  /// The subkey, once; nil for one that is left out. A key that stands in the lists of two is that one's that its
  /// parent field names.
  private func ownSubkey(
    _ child: CellIndex, in step: TreeCopy.Step, _ copy: inout TreeCopy
  ) throws(HiveError) -> KeyNode? {
    let node = try keyNode(at: child)
    let problem: String
    if node.parent != step.origin.cell, copy.salvage == nil || lists(child, in: node.parent) {
      problem = "it is in a list of another key"
    } else if child == copy.start || !copy.seen.insert(child).inserted {
      problem = "it is listed more than once"
    } else {
      return node
    }
    let damage = HiveError.damaged(structure: "key node", offset: child.fileOffset, problem: problem)
    try copy.meet(.dropped, .cellShared, damage, in: step)
    return nil
  }

  /// The key's name, or for one that no key may have the next that it may.
  private func allowedName(
    _ name: UnicodeName, of key: CellIndex, in step: TreeCopy.Step, _ copy: inout TreeCopy
  ) throws(HiveError) -> UnicodeName {
    // Windows has stored one character more than it allows.
    if !name.isEmpty, name.units.count <= Self.longestKeyName + 1, !name.units.contains(0x5C) { return name }
    let damage = HiveError.damaged(structure: "key node", offset: key.fileOffset, problem: "its name is not allowed")
    let units = name.units.prefix(Self.longestKeyName).map { $0 == 0x5C ? 0x5F : $0 }
    let allowed = units.isEmpty ? "unnamed" : UnicodeName(units: units)
    try copy.meet(.changed("its name is \(allowed)"), .keyName, damage, in: step)
    return allowed
  }

  /// Of subkeys, in order, that share a name all but the first get another.
  private func partTwins(
    _ subkeys: inout [(name: UnicodeName, node: KeyNode)], in step: TreeCopy.Step, _ copy: inout TreeCopy
  ) throws(HiveError) {
    let twins = subkeys.indices.dropFirst().filter { Self.order(subkeys[$0 - 1].name, subkeys[$0].name) == 0 }
    guard !twins.isEmpty else { return }
    var names = Set(subkeys.map(\.name.upcased))
    for place in twins {
      let damage = HiveError.damaged(
        structure: "key node", offset: subkeys[place].node.cell.fileOffset, problem: "another key has its name")
      let name = subkeys[place].name.madeUnique(among: names, longest: Self.longestKeyName)
      try copy.meet(.changed("its name is \(name)"), .listDuplicate, damage, in: step)
      names.insert(name.upcased)
      subkeys[place].name = name
    }
    subkeys.sort { Self.order($0.name, $1.name) < 0 }
  }

  private static func order(_ a: UnicodeName, _ b: UnicodeName) -> Int {
    UpcaseTable.compare(a.units.span, b.units.span)
  }
}

extension UnicodeName {
  /// `NAME~2`, or the first number that makes it another than `names`, which are upper-case.
  fileprivate func madeUnique(among names: Set<UnicodeName>, longest: Int) -> UnicodeName {
    var number = 2
    while true {
      let ending = Array("~\(number)".utf16)
      let unique = UnicodeName(units: Array(units.prefix(longest - ending.count)) + ending)
      if !names.contains(unique.upcased) { return unique }
      number += 1
    }
  }
}
