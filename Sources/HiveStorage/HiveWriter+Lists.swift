internal import Executive

// Subkey lists: kept sorted, with the right hints, each leaf within the size that Windows keeps.

extension Hive {
  private struct ListEntry {
    var key: CellIndex
    var hint: UInt32
  }

  /// Puts `key`, of this name, into the list of `parent` where `position` says (nil: there is no list), and raises the
  /// parent's count.
  mutating func insert(
    _ key: CellIndex, named name: Span<UInt16>, into parent: KeyNode, at position: SubkeyPosition?
  ) throws(HiveError) {
    guard parent.subkeyCount < 0xFFFF_FFFF else { throw .limit(problem: "the key's subkeys") }
    if let position {
      let leaf = position.leaf
      if leaf.count < leaf.kind.maximum {
        let moved = try insert(
          ListEntry(key: key, hint: leaf.kind.hint(for: name)), into: leaf, at: position.entry)
        if moved != leaf.cell.index { repoint(position, of: parent, to: moved) }
      } else {
        try split(position, of: parent, inserting: key, named: name)
      }
    } else {
      let kind: SubkeyList.Kind = minorVersion >= 5 ? .hashLeaf : .fastLeaf
      let list = try makeList(kind, [ListEntry(key: key, hint: kind.hint(for: name))], capacity: 1)
      image.store(list, parent.body, KeyNode.Field.subkeyList)
      // A single name is in order.
      sortedLists.insert(parent.cell)
    }
    image.store(UInt32(parent.subkeyCount + 1), parent.body, KeyNode.Field.subkeyCount)
  }

  struct NamedSubkey {
    let name: UnicodeName
    let key: CellIndex
  }

  /// The list of these subkeys, which are in order: one leaf, or an index root over equal ones. `none` for no subkeys.
  mutating func makeSubkeyList(of subkeys: [NamedSubkey]) throws(HiveError) -> CellIndex {
    guard !subkeys.isEmpty else { return .none }
    var kind: SubkeyList.Kind = minorVersion >= 5 ? .hashLeaf : .fastLeaf
    let isOne = subkeys.count <= kind.maximum
    // As when a leaf is split: below a root, versions up to 1.4 have `li`.
    if !isOne, kind == .fastLeaf { kind = .indexLeaf }
    let leaves = isOne ? 1 : max(2, (subkeys.count + kind.maximum - 1) / kind.maximum)
    guard leaves <= SubkeyList.Kind.indexRoot.maximum else { throw .limit(problem: "the key's subkeys") }
    var entries: [ListEntry] = []
    entries.reserveCapacity(leaves)
    for leaf in 0..<leaves {
      let range = leaf * subkeys.count / leaves..<(leaf + 1) * subkeys.count / leaves
      let list = try makeList(
        kind, subkeys[range].map { ListEntry(key: $0.key, hint: kind.hint(for: $0.name.units.span)) },
        capacity: range.count)
      entries.append(ListEntry(key: list, hint: 0))
    }
    return isOne ? entries[0].key : try makeList(.indexRoot, entries, capacity: leaves)
  }

  /// Frees the list of subkeys, to which the key still points.
  mutating func freeSubkeyLists(of key: KeyNode) throws(HiveError) {
    guard key.subkeyCount > 0 else { return }
    let list = try image.subkeyList(at: key.subkeyList)
    if list.kind == .indexRoot {
      for ordinal in 0..<list.count { try free(image.entry(list, ordinal), "subkey list") }
    }
    try free(list.cell.index, "subkey list")
  }

  /// Takes `key` out of the list of `parent` and lowers the count; damaged when it is not in there.
  mutating func remove(_ key: CellIndex, from parent: KeyNode) throws(HiveError) {
    guard let position = try place(of: key, in: parent) else {
      throw .damaged(
        structure: "key node", offset: parent.cell.fileOffset,
        problem: "its list lacks the subkey at file offset 0x\(String(key.fileOffset, radix: 16))")
    }
    let leaf = position.leaf
    if leaf.count > 1 {
      removeEntry(position.entry, from: leaf)
    } else {
      try free(leaf.cell.index, "subkey list")
      if let root = position.root, root.count > 1 {
        removeEntry(position.ordinal, from: root)
      } else {
        if let root = position.root { try free(root.cell.index, "subkey list") }
        image.store(CellIndex.none, parent.body, KeyNode.Field.subkeyList)
      }
    }
    image.store(UInt32(max(0, parent.subkeyCount - 1)), parent.body, KeyNode.Field.subkeyCount)
  }

  /// Points the entry of `old` in the parent's list to `new`: the key has moved and kept its name.
  mutating func replace(_ old: CellIndex, by new: CellIndex, in parent: KeyNode) throws(HiveError) {
    guard let position = try place(of: old, in: parent) else {
      throw .damaged(
        structure: "key node", offset: parent.cell.fileOffset,
        problem: "its list lacks the subkey at file offset 0x\(String(old.fileOffset, radix: 16))")
    }
    image.store(new, position.leaf.cell, position.leaf.field(of: position.entry))
  }

  private func place(of key: CellIndex, in parent: KeyNode) throws(HiveError) -> SubkeyPosition? {
    guard parent.subkeyCount > 0 else { return nil }
    let name = try keyName(at: key)
    // Not the first of twins: go through the whole list.
    if let position = try locate(name.units.span, in: parent), position.match == key { return position }
    let list = try image.subkeyList(at: parent.subkeyList)
    if let damage = list.damage { throw damage }
    let root: SubkeyList? = list.kind == .indexRoot ? list : nil
    for ordinal in 0..<(root == nil ? 1 : list.count) {
      let leaf = root == nil ? list : try image.leaf(at: image.entry(list, ordinal))
      if let damage = leaf.damage { throw damage }
      for entry in 0..<leaf.count where image.entry(leaf, entry) == key {
        return SubkeyPosition(root: root, ordinal: ordinal, leaf: leaf, entry: entry, match: key)
      }
    }
    return nil
  }

  /// Room for growth, so that a list does not move with each insertion.
  private func roomy(_ count: Int, kind: SubkeyList.Kind) -> Int {
    max(count, min(kind.maximum, count + count / 4))
  }

  private mutating func makeList(
    _ kind: SubkeyList.Kind, _ entries: some Collection<ListEntry>, capacity: Int
  ) throws(HiveError) -> CellIndex {
    let cell = try allocate(SubkeyList.header + max(capacity, entries.count) * kind.stride)
    image.store(kind.signature.rawValue, cell, 0)
    image.store(UInt16(entries.count), cell, 2)
    var field = SubkeyList.header
    for entry in entries {
      image.store(entry.key, cell, field)
      if kind.stride == 8 { image.store(entry.hint, cell, field + 4) }
      field += kind.stride
    }
    return cell.index
  }

  /// Inserts into a list that is not full; the list moves when its cell is. Returns where it lies then.
  private mutating func insert(
    _ entry: ListEntry, into list: SubkeyList, at place: Int
  ) throws(HiveError) -> CellIndex {
    var list = list
    let stride = list.kind.stride
    if SubkeyList.header + (list.count + 1) * stride > list.cell.count {
      let capacity = roomy(list.count + 1, kind: list.kind)
      let cell = try allocate(SubkeyList.header + capacity * stride)
      image.move(from: list.cell.start, to: cell.start, count: SubkeyList.header + list.count * stride)
      try free(list.cell.index, "subkey list")
      list = SubkeyList(cell: cell, kind: list.kind, count: list.count, claimed: list.count)
    }
    let field = list.field(of: place)
    image.move(
      from: list.cell.start + field, to: list.cell.start + field + stride, count: (list.count - place) * stride)
    image.store(entry.key, list.cell, field)
    if stride == 8 { image.store(entry.hint, list.cell, field + 4) }
    image.store(UInt16(list.count + 1), list.cell, 2)
    return list.cell.index
  }

  private mutating func removeEntry(_ place: Int, from list: SubkeyList) {
    let field = list.field(of: place)
    let after = list.field(of: place + 1)
    image.move(
      from: list.cell.start + after, to: list.cell.start + field, count: (list.count - place - 1) * list.kind.stride)
    image.store(UInt16(list.count - 1), list.cell, 2)
  }

  /// The leaf at `position` lies elsewhere now.
  private mutating func repoint(_ position: SubkeyPosition, of parent: KeyNode, to leaf: CellIndex) {
    if let root = position.root {
      image.store(leaf, root.cell, root.field(of: position.ordinal))
    } else {
      image.store(leaf, parent.body, KeyNode.Field.subkeyList)
    }
  }

  /// A full leaf becomes two halves below an index root. Up to version 1.4 the leaves below a root are `li`.
  private mutating func split(
    _ position: SubkeyPosition, of parent: KeyNode, inserting key: CellIndex, named name: Span<UInt16>
  ) throws(HiveError) {
    let leaf = position.leaf
    if let root = position.root, root.count >= SubkeyList.Kind.indexRoot.maximum {
      throw .limit(problem: "the key's subkeys")
    }
    var kind = leaf.kind
    if position.root == nil, kind == .fastLeaf, minorVersion <= 4 { kind = .indexLeaf }
    var entries: [ListEntry] = []
    entries.reserveCapacity(leaf.count + 1)
    for entry in 0..<leaf.count {
      entries.append(ListEntry(key: image.entry(leaf, entry), hint: image.hint(leaf, entry)))
    }
    entries.insert(ListEntry(key: key, hint: kind.hint(for: name)), at: position.entry)
    let half = entries.count / 2
    let low = try makeList(kind, entries[..<half], capacity: roomy(half, kind: kind))
    let high = try makeList(kind, entries[half...], capacity: roomy(entries.count - half, kind: kind))
    try free(leaf.cell.index, "subkey list")
    if let root = position.root {
      image.store(low, root.cell, root.field(of: position.ordinal))
      let moved = try insert(ListEntry(key: high, hint: 0), into: root, at: position.ordinal + 1)
      if moved != root.cell.index { image.store(moved, parent.body, KeyNode.Field.subkeyList) }
    } else {
      let root = try makeList(
        .indexRoot, [ListEntry(key: low, hint: 0), ListEntry(key: high, hint: 0)], capacity: 8)
      image.store(root, parent.body, KeyNode.Field.subkeyList)
    }
  }
}
