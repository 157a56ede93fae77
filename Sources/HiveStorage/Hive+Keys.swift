package import Executive

extension Hive {
  package func keyNode(at key: CellIndex) throws(HiveError) -> KeyNode { try image.keyNode(at: key) }

  /// Lets `body` look at the key's name where it lies.
  package func withName<R>(
    ofKey key: CellIndex, _ body: (borrowing NameView) throws(HiveError) -> R
  ) throws(HiveError) -> R {
    try body(try image.keyName(at: key))
  }

  package func keyName(at key: CellIndex) throws(HiveError) -> UnicodeName { try image.keyName(at: key).name }

  /// The key's class name without an odd byte at its end; nil when it has none.
  package func className(ofKey key: CellIndex) throws(HiveError) -> UnicodeName? {
    let node = try keyNode(at: key)
    guard node.classLength > 0 else { return nil }
    let cell = try image.cell(node.className, as: "class name")
    guard node.classLength <= cell.count else {
      throw .damaged(
        structure: "class name", offset: node.className.fileOffset,
        problem: "\(node.classLength) bytes do not fit a cell of \(cell.count)")
    }
    return NameView(bytes: image.bytes(at: cell.start, count: node.classLength), compressed: false).name
  }

  /// The key's self-relative security descriptor; nil when it has no security cell.
  package func securityDescriptor(ofKey key: CellIndex) throws(HiveError) -> [UInt8]? {
    let index = try keyNode(at: key).security
    guard index != .none else { return nil }
    let security = try image.security(at: index)
    return Array(
      image.buffer(at: security.cell.start + SecurityCell.Field.descriptor, count: security.descriptorSize))
  }

  // MARK: Enumerating

  /// Calls `body` with the place and the key of every subkey from the one at `index` on, in the order of the list,
  /// until it returns false. Starting anywhere costs no more than the number of leaves.
  ///
  /// The keys are not looked at. A damaged list is served as far as it can be read, and its damage is thrown at the
  /// end.
  package func forEachSubkey(
    of key: CellIndex, from index: Int = 0, _ body: (Int, CellIndex) throws(HiveError) -> Bool
  ) throws(HiveError) {
    var damage: HiveError?
    try forEachSubkey(of: key, from: index, damaged: { damage = damage ?? $0 }, body)
    if let damage { throw damage }
  }

  /// As above, but tells `report` about every damage of the list.
  package func forEachSubkey(
    of key: CellIndex, from index: Int = 0, damaged report: (HiveError) -> Void,
    _ body: (Int, CellIndex) throws(HiveError) -> Bool
  ) throws(HiveError) {
    let node = try keyNode(at: key)
    guard node.subkeyCount > 0 else { return }
    let list: SubkeyList
    do throws(HiveError) {
      list = try image.subkeyList(at: node.subkeyList)
    } catch {
      report(error)
      return
    }
    var isWhole = true
    var position = 0
    for ordinal in 0..<(list.kind == .indexRoot ? list.count : 1) {
      let leaf: SubkeyList
      do throws(HiveError) {
        leaf = list.kind == .indexRoot ? try image.leaf(at: image.entry(list, ordinal)) : list
      } catch {
        isWhole = false
        report(error)
        continue
      }
      if let damage = leaf.damage {
        isWhole = false
        report(damage)
      }
      var entry = max(0, index - position)
      while entry < leaf.count {
        guard try body(position + entry, image.entry(leaf, entry)) else { return }
        entry += 1
      }
      position += leaf.count
    }
    if list.kind == .indexRoot, let damage = list.damage {
      report(damage)
    } else if isWhole, position != node.subkeyCount {
      report(
        .damaged(
          structure: "key node", offset: key.fileOffset,
          problem: "it counts \(node.subkeyCount) subkeys, its list holds \(position)"))
    }
  }

  /// The subkey that stands in the list of `key`. Damaged when it has no name, and when it belongs to another key: its
  /// parent field names that, which has it in its list, too. Followed, such a list would show a tree twice, or lead in
  /// circles.
  package func subkey(at child: CellIndex, of key: CellIndex) throws(HiveError) -> KeyNode {
    let node = try keyNode(at: child)
    guard node.nameLength > 0 else {
      throw .damaged(structure: "key node", offset: child.fileOffset, problem: "it has no name")
    }
    if node.parent != key, child == rootKey || lists(child, in: node.parent) {
      throw .damaged(structure: "key node", offset: child.fileOffset, problem: "it is in a list of another key")
    }
    return node
  }

  func lists(_ child: CellIndex, in key: CellIndex) -> Bool {
    var isListed = false
    try? forEachSubkey(of: key, damaged: { _ in }) { (_, other) throws(HiveError) in
      isListed = other == child
      return !isListed
    }
    return isListed
  }

  // MARK: Finding

  /// The subkey of this name, without regard to case; of twins the first. Finds every name that can be read, also in
  /// lists that are damaged or out of order.
  package func findSubkey(of key: CellIndex, named name: Span<UInt16>) throws(HiveError) -> CellIndex? {
    let node = try keyNode(at: key)
    guard node.subkeyCount > 0 else { return nil }
    if sortedLists.contains(key) {
      return try lowerBound(of: name, in: node)?.match
    }
    return try scan(node, for: name, strict: false)?.match
  }

  /// Where a name stands in a list of subkeys, or would stand.
  struct SubkeyPosition {
    /// The index root above the leaf.
    var root: SubkeyList?
    var ordinal: Int
    var leaf: SubkeyList
    var entry: Int
    /// The key of that name.
    var match: CellIndex?
  }

  /// The place of the first name not below `name`, in a list that is sorted. Nil when the key has no list.
  func lowerBound(of name: Span<UInt16>, in node: KeyNode) throws(HiveError) -> SubkeyPosition? {
    guard node.subkeyCount > 0 else { return nil }
    let list = try image.subkeyList(at: node.subkeyList)
    var leaf = list
    var ordinal = 0
    if list.kind == .indexRoot {
      // The first leaf whose last name is not below `name`, else the last leaf.
      var low = 0
      var high = list.count - 1
      while low < high {
        let middle = (low + high) / 2
        let candidate = try image.leaf(at: image.entry(list, middle))
        let last = image.entry(candidate, max(0, candidate.count - 1))
        if try image.keyName(at: last).compareIgnoringCase(name) < 0 { low = middle + 1 } else { high = middle }
      }
      ordinal = low
      leaf = try image.leaf(at: image.entry(list, ordinal))
    }
    var low = 0
    var high = leaf.count
    while low < high {
      let middle = (low + high) / 2
      if try image.keyName(at: image.entry(leaf, middle)).compareIgnoringCase(name) < 0 {
        low = middle + 1
      } else {
        high = middle
      }
    }
    var position = SubkeyPosition(
      root: list.kind == .indexRoot ? list : nil, ordinal: ordinal, leaf: leaf, entry: low, match: nil)
    if low < leaf.count {
      let candidate = image.entry(leaf, low)
      if try image.keyName(at: candidate).equalsIgnoringCase(name) { position.match = candidate }
    }
    return position
  }

  /// As `lowerBound`, by reading the whole list; remembers the list when it is sorted. Nil when nothing can be read.
  ///
  /// With `strict` damage of the lists is thrown, as befits a caller who is going to change them; damaged keys in a
  /// list are passed over in any case.
  func scan(_ node: KeyNode, for name: Span<UInt16>, strict: Bool) throws(HiveError) -> SubkeyPosition? {
    guard node.subkeyCount > 0 else { return nil }
    let list: SubkeyList
    do {
      list = try image.subkeyList(at: node.subkeyList)
    } catch {
      if strict { throw error }
      return nil
    }
    let root: SubkeyList? = list.kind == .indexRoot ? list : nil
    if strict, let damage = list.damage { throw damage }
    var isSorted = list.damage == nil
    var previous: CellIndex?
    var found: SubkeyPosition?
    var place: SubkeyPosition?
    var end: SubkeyPosition?
    for ordinal in 0..<(root == nil ? 1 : list.count) {
      let leaf: SubkeyList
      do {
        leaf = root == nil ? list : try image.leaf(at: image.entry(list, ordinal))
      } catch {
        isSorted = false
        if strict { throw error }
        continue
      }
      if strict, let damage = leaf.damage { throw damage }
      if leaf.count == 0 || leaf.damage != nil { isSorted = false }
      for entry in 0..<leaf.count {
        let key = image.entry(leaf, entry)
        do {
          let view = try image.keyName(at: key)
          let order = view.compareIgnoringCase(name)
          if order >= 0, place == nil {
            place = SubkeyPosition(root: root, ordinal: ordinal, leaf: leaf, entry: entry, match: nil)
          }
          if order == 0, found == nil {
            found = SubkeyPosition(root: root, ordinal: ordinal, leaf: leaf, entry: entry, match: key)
          }
          if isSorted, let previous, try image.keyName(at: previous).compareIgnoringCase(view) > 0 {
            isSorted = false
          }
          previous = key
        } catch {
          isSorted = false
        }
      }
      end = SubkeyPosition(root: root, ordinal: ordinal, leaf: leaf, entry: leaf.count, match: nil)
    }
    if isSorted { sortedLists.insert(node.cell) }
    return found ?? place ?? end
  }

  /// Where `name` stands or belongs, for a change of the list.
  func locate(_ name: Span<UInt16>, in node: KeyNode) throws(HiveError) -> SubkeyPosition? {
    sortedLists.contains(node.cell)
      ? try lowerBound(of: name, in: node) : try scan(node, for: name, strict: true)
  }
}
