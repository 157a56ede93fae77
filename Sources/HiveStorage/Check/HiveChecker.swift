internal import Executive

/// A strict look at a whole hive: what a clean hive fulfils, by number.
///
/// 0. The base block has a right checksum and one sequence number, and the file holds the bins that it tells of.
/// 1. Bins and cells cover the data exactly; no two free cells of a bin are neighbours.
/// 2. Every cell reached is allocated and reached once (security cells: once for each key that counts itself there).
/// 3. Keys are keys: names and class names fit their cells and the limits, every child's parent is its key, and the
///    root, and only the root, is the hive's entry.
/// 4. A list holds as many subkeys as its key counts, in ascending order without twins, with the right hints; no list
///    is empty, and a key without subkeys has none.
/// 5. Value lists hold as many values as their key counts; no two values of a key share a name.
/// 6. Data fits; long data is big data exactly where the version has it.
/// 7. The "longest" fields are upper bounds.
/// 8. The security cells in use form one ring, and each holds a descriptor and counts its keys.
/// 9. The target of a link key is a REG_LINK. What it says is not looked at: Windows makes any.
package struct HiveChecker {
  package private(set) var findings: [HiveFinding] = []
  package private(set) var keys = 0
  package private(set) var values = 0
  /// Allocated cells that nothing refers to: legal, Windows leaves some after a crash.
  package private(set) var orphans: [CellIndex] = []

  private var allocated: Set<CellIndex> = []
  private var reached: Set<CellIndex> = []
  private var securityCounts: [CellIndex: UInt32] = [:]

  private struct OpenKey {
    let cell: CellIndex
    let parent: CellIndex?
    let depth: Int
    /// Where the key stands in the trail.
    let place: Int
  }

  private var trail = KeyTrail()
  /// The key that is being looked at, and for each finding the one that was; nil outside of keys.
  private var place: Int?
  private var places: [Int?] = []

  private static let deepest = 512

  /// `progress` is told from time to time how many cells of how many have been seen.
  package init(_ hive: borrowing Hive, progress: (_ done: Int, _ all: Int) -> Void = { _, _ in }) {
    checkBaseBlock(hive)
    checkCells(hive)
    var open = [OpenKey(cell: hive.rootKey, parent: nil, depth: 0, place: trail.add(hive.rootKey, below: nil))]
    while let key = open.popLast() {
      place = key.place
      if keys % 256 == 0 { progress(reached.count, allocated.count) }
      guard reach(key.cell, "key node"),
        cell(key.cell, "key node", .keyNode, KeyNode.Field.name, else: .keySignature, hive) != nil,
        let node = load(.keyNameSize, { () throws(HiveError) in try hive.keyNode(at: key.cell) })
      else { continue }
      keys += 1
      checkKey(node, key, hive)
      checkValues(node, hive)
      checkSubkeys(node, key, hive, &open)
    }
    place = nil
    checkSecurity(hive)
    for (number, place) in places.enumerated() {
      findings[number].cell = place.map { trail.cell(at: $0) }
      findings[number].key = place.map { trail.path(of: $0, in: hive) }
    }
    orphans = allocated.subtracting(reached).sorted { $0.rawValue < $1.rawValue }
    progress(allocated.count, allocated.count)
  }

  private mutating func note(_ finding: HiveFinding) {
    findings.append(finding)
    places.append(place)
  }

  private mutating func find(_ rule: HiveFinding.Rule, _ structure: String, _ index: CellIndex, _ problem: String) {
    note(HiveFinding(rule, structure, at: index.fileOffset, problem))
  }

  /// What `body` finds; nil, and a finding of `rule`, when it throws.
  private mutating func load<Result>(
    _ rule: HiveFinding.Rule, _ body: () throws(HiveError) -> Result
  ) -> Result? {
    do throws(HiveError) { return try body() } catch {
      note(HiveFinding(rule, error))
      return nil
    }
  }

  /// The cell at `index`, when it is of that kind; nil, and a finding of `rule`, when it is not.
  private mutating func cell(
    _ index: CellIndex, _ structure: String, _ signature: Signature, _ minimum: Int, else rule: HiveFinding.Rule,
    _ hive: borrowing Hive
  ) -> Cell? {
    do throws(HiveError) {
      return try hive.image.cell(index, as: structure, signature: signature, minimum: minimum)
    } catch {
      note(HiveFinding(rule, error))
      return nil
    }
  }

  /// False when the cell must not be followed: it is none, or was met before.
  private mutating func reach(_ index: CellIndex, _ structure: String) -> Bool {
    guard allocated.contains(index) else {
      let problem = index == .none ? "the offset points nowhere" : "there is no allocated cell"
      find(.cellReference, structure, index, problem)
      return false
    }
    guard reached.insert(index).inserted else {
      find(.cellShared, structure, index, "the cell is used more than once")
      return false
    }
    return true
  }

  // MARK: 0

  private mutating func checkBaseBlock(_ hive: borrowing Hive) {
    if let unrecovered = hive.unrecovered, let finding = HiveFinding(opening: unrecovered) { note(finding) }
    let sector = hive.baseSector
    for (name, field, wanted) in [
      ("file format", BaseBlock.Field.fileFormat, 1), ("clustering factor", BaseBlock.Field.clusteringFactor, 1),
    ] as [(String, Int, UInt32)] where sector[field] != wanted {
      note(HiveFinding(.baseFormat, "base block", at: field, "\(name) \(sector[field]), not \(wanted)"))
    }
    // While the hive is being changed, the base block tells of the bins as they were committed.
    guard !hive.hasUncommittedChanges else { return }
    let size = Int(sector[BaseBlock.Field.binsSize])
    if size == 0 || size % HiveImage.pageSize != 0 || size != hive.image.binsSize {
      note(
        HiveFinding(
          .binsSize, "base block", at: BaseBlock.Field.binsSize,
          "\(size) bytes of hive bins, the file has \(hive.image.binsSize)"))
    }
  }

  // MARK: 1

  /// Goes on behind a bad bin with the next one that says it lies where it lies.
  private mutating func checkCells(_ hive: borrowing Hive) {
    let end = hive.image.binsSize
    var offset = 0
    while offset < end {
      let start = BaseBlock.size + offset
      guard offset + HiveImage.pageSize <= end,
        hive.image.load(UInt32.self, at: start + HiveBin.Field.signature) == HiveBin.signatureHbin
      else {
        note(HiveFinding(.binSignature, "hive bin", at: start, "the signature \"hbin\" is missing"))
        offset = nextBin(after: offset, hive)
        continue
      }
      let own = Int(hive.image.load(UInt32.self, at: start + HiveBin.Field.offset))
      if own != offset {
        note(
          HiveFinding(.binOffset, "hive bin", at: start, "it says it lies at \(own), not at \(offset)"))
      }
      let size = Int(hive.image.load(UInt32.self, at: start + HiveBin.Field.size))
      guard size >= HiveImage.pageSize, size % HiveImage.pageSize == 0, offset + size <= end else {
        note(HiveFinding(.binSize, "hive bin", at: start, "it has a size of \(size) bytes"))
        offset = nextBin(after: offset, hive)
        continue
      }
      checkCells(in: HiveBin(offset: offset, size: size), hive)
      offset += size
    }
  }

  private func nextBin(after offset: Int, _ hive: borrowing Hive) -> Int {
    var next = offset + HiveImage.pageSize
    while next + HiveImage.pageSize <= hive.image.binsSize {
      let start = BaseBlock.size + next
      if hive.image.load(UInt32.self, at: start + HiveBin.Field.signature) == HiveBin.signatureHbin,
        Int(hive.image.load(UInt32.self, at: start + HiveBin.Field.offset)) == next
      {
        return next
      }
      next += HiveImage.pageSize
    }
    return hive.image.binsSize
  }

  private mutating func checkCells(in bin: HiveBin, _ hive: borrowing Hive) {
    let alignment = hive.image.cellHeader == 8 ? 16 : 8
    let end = bin.offset + bin.size
    var place = bin.offset + HiveBin.headerSize
    var isBehindFree = false
    while place < end {
      let cell = CellIndex(rawValue: UInt32(place))
      let field = Int(Int32(bitPattern: hive.image.load(UInt32.self, at: cell.fileOffset)))
      guard abs(field) >= alignment, abs(field) % alignment == 0, place + abs(field) <= end else {
        return find(.cellSize, "cell", cell, "it has a size of \(field) bytes")
      }
      if field < 0 { allocated.insert(cell) }
      if field > 0, isBehindFree { find(.freeNeighbours, "cell", cell, "the cell before it is free, too") }
      isBehindFree = field > 0
      place += abs(field)
    }
  }

  // MARK: 3, 9

  private mutating func checkKey(_ node: KeyNode, _ key: OpenKey, _ hive: borrowing Hive) {
    if let parent = key.parent {
      if node.parent != parent { find(.keyParent, "key node", node.cell, "its parent is another key") }
      if node.flags.contains(.hiveEntry) { find(.keyFlags, "key node", node.cell, "it calls itself the root") }
      if let name = load(.keyNameSize, { () throws(HiveError) in try hive.keyName(at: node.cell) }) {
        if name.isEmpty || name.units.count > 256 || name.units.contains(0x5C) {
          find(.keyName, "key node", node.cell, "its name is empty, too long or has a backslash")
        }
      }
    } else if !node.flags.contains(.hiveEntry) {
      find(.keyFlags, "key node", node.cell, "the root does not call itself so")
    }
    if key.depth > Self.deepest {
      find(.keyDepth, "key node", node.cell, "it lies \(key.depth) keys deep, \(Self.deepest) are allowed")
    }
    if !node.flags.contains(.compressedName), node.nameLength % 2 == 1 {
      find(.keyNameSize, "key node", node.cell, "a UTF-16 name of \(node.nameLength) bytes")
    }
    securityCounts[node.security, default: 0] += 1
    if node.classLength > 0, reach(node.className, "class name") {
      _ = load(.classSize) { () throws(HiveError) in _ = try hive.className(ofKey: node.cell) }
    }
    if node.isLink { checkLink(node, hive) }
  }

  /// A link without a target is one that is being made.
  private mutating func checkLink(_ node: KeyNode, _ hive: borrowing Hive) {
    let name = UnicodeName("SymbolicLinkValue")
    guard let value = try? hive.findValue(of: node.cell, named: name.units.span),
      let type = try? hive.valueNode(at: value).type, type != .link
    else { return }
    find(.linkTarget, "value", value, "a link's target of type \(type.rawValue), not REG_LINK")
  }

  // MARK: 5, 6, 7

  private mutating func checkValues(_ node: KeyNode, _ hive: borrowing Hive) {
    guard node.valueCount > 0 else {
      if !node.flags.contains(.predefinedHandle), node.valueList != .none {
        find(.valueListUnused, "key node", node.cell, "a value list without values")
      }
      return
    }
    guard reach(node.valueList, "value list"),
      let found = load(.valueListSize, { () throws(HiveError) in try hive.valueList(of: node) }), let list = found
    else { return }
    if let damage = list.damage { note(HiveFinding(.valueListSize, damage)) }
    var names: Set<UnicodeName> = []
    for place in 0..<list.count {
      let index = hive.entry(list, place)
      guard reach(index, "value"),
        cell(index, "value", .value, ValueNode.Field.name, else: .valueSignature, hive) != nil
      else { continue }
      values += 1
      guard let value = load(.valueNameSize, { () throws(HiveError) in try hive.valueNode(at: index) }),
        let name = load(.valueNameSize, { () throws(HiveError) in try hive.valueName(at: index) })
      else { continue }
      if !names.insert(name.upcased).inserted { find(.valueDuplicate, "value", index, "another value has its name") }
      if name.units.count * 2 > node.longestValueName {
        find(.longestValueName, "key node", node.cell, "a value's name has \(name.units.count * 2) bytes")
      }
      if value.dataSize > node.longestValueData {
        find(.longestValueData, "key node", node.cell, "a value's data has \(value.dataSize) bytes")
      }
      checkData(value, hive)
    }
  }

  private mutating func checkData(_ value: ValueNode, _ hive: borrowing Hive) {
    if value.isInline {
      if value.dataSize > ValueNode.longestInline {
        find(.inlineData, "value", value.cell, "inline data of \(value.dataSize) bytes")
      }
      return
    }
    guard value.dataSize > 0, reach(value.data, "value data") else { return }
    guard value.dataSize > BigData.segmentSize, hive.minorVersion >= BigData.firstVersion else {
      if let cell = load(.dataSize, { () throws(HiveError) in try hive.image.cell(value.data, as: "value data") }),
        cell.count < value.dataSize
      {
        find(.dataSize, "value data", value.data, "\(value.dataSize) bytes do not fit a cell of \(cell.count)")
      }
      return
    }
    guard cell(value.data, "big data", .bigData, BigData.size, else: .bigDataSignature, hive) != nil,
      let big = load(
        .bigDataCount,
        { () throws(HiveError) in try hive.image.bigData(at: value.data, dataSize: value.dataSize) })
    else { return }
    _ = reach(big.list.index, "big data list")
    if (big.count - 1) * BigData.segmentSize >= value.dataSize {
      find(.bigDataCount, "big data", value.data, "\(big.count) segments are more than \(value.dataSize) bytes need")
    }
    var rest = value.dataSize
    for place in 0..<big.count {
      let segment = hive.image.index(big.list, place * 4)
      let count = min(rest, BigData.segmentSize)
      rest -= count
      guard reach(segment, "big data segment"),
        let cell = load(
          .bigDataSegment,
          { () throws(HiveError) in
            try hive.image.cell(segment, as: "big data segment")
          })
      else { continue }
      if cell.count < count {
        find(.bigDataSegment, "big data segment", segment, "\(count) bytes do not fit a cell of \(cell.count)")
      }
    }
  }

  // MARK: 4, 7

  private mutating func checkSubkeys(
    _ node: KeyNode, _ above: OpenKey, _ hive: borrowing Hive, _ open: inout [OpenKey]
  ) {
    guard node.subkeyCount > 0 else {
      if node.subkeyList != .none { find(.listUnused, "key node", node.cell, "a subkey list without subkeys") }
      return
    }
    var previous: UnicodeName?
    var count = 0
    for leaf in leaves(of: node, hive) {
      for entry in 0..<leaf.count {
        count += 1
        let key = hive.image.entry(leaf, entry)
        open.append(
          OpenKey(
            cell: key, parent: node.cell, depth: above.depth + 1, place: trail.add(key, below: above.place)))
        // What is wrong with the key itself is found when it is its turn.
        guard let child = try? hive.keyNode(at: key), let name = try? hive.keyName(at: key) else { continue }
        if let previous {
          let order = UpcaseTable.compare(previous.units.span, name.units.span)
          let list = leaf.cell.index
          if order == 0 { find(.listDuplicate, "subkey list", list, "entry \(entry) has the name before it") }
          if order > 0 { find(.listOrder, "subkey list", list, "entry \(entry) is out of order") }
        }
        previous = name
        if leaf.kind.stride == 8, hive.image.hint(leaf, entry) != leaf.kind.hint(for: name.units.span) {
          find(.listHint, "subkey list", leaf.cell.index, "entry \(entry) has a wrong hint")
        }
        if name.units.count * 2 > node.longestSubkeyName {
          find(.longestSubkeyName, "key node", node.cell, "a subkey's name has \(name.units.count * 2) bytes")
        }
        if child.classLength > node.longestSubkeyClass {
          find(.longestSubkeyClass, "key node", node.cell, "a subkey's class name has \(child.classLength) bytes")
        }
      }
    }
    if count != node.subkeyCount {
      find(.subkeyCount, "key node", node.cell, "\(count) subkeys, \(node.subkeyCount) counted")
    }
  }

  private mutating func leaves(of node: KeyNode, _ hive: borrowing Hive) -> [SubkeyList] {
    guard let list = subkeyList(at: node.subkeyList, hive) else { return [] }
    guard list.kind == .indexRoot else { return [list] }
    var leaves: [SubkeyList] = []
    for ordinal in 0..<list.count {
      guard let leaf = subkeyList(at: hive.image.entry(list, ordinal), hive) else { continue }
      if leaf.kind == .indexRoot {
        find(.listNested, "subkey list", leaf.cell.index, "an index root lies below another")
      } else {
        leaves.append(leaf)
      }
    }
    return leaves
  }

  private mutating func subkeyList(at index: CellIndex, _ hive: borrowing Hive) -> SubkeyList? {
    guard reach(index, "subkey list"),
      let list = load(.listSignature, { () throws(HiveError) in try hive.image.subkeyList(at: index) })
    else { return nil }
    if let damage = list.damage { note(HiveFinding(.listSize, damage)) }
    if list.claimed == 0 { find(.listEmpty, "subkey list", index, "it is empty") }
    return list
  }

  // MARK: 8

  private mutating func checkSecurity(_ hive: borrowing Hive) {
    let used = securityCounts.keys.sorted { $0.rawValue < $1.rawValue }
    guard let start = used.first(where: { allocated.contains($0) }) ?? used.first else { return }
    var ring: Set<CellIndex> = []
    var place = start
    while ring.insert(place).inserted {
      guard let next = checkSecurity(at: place, hive) else { break }
      place = next
    }
    if ring.contains(place), place != start, used.contains(start) {
      find(.securityRing, "security cell", place, "the ring does not come back to where it began")
    }
    for other in used where !ring.contains(other) {
      if checkSecurity(at: other, hive) != nil { find(.securityRing, "security cell", other, "it is not in the ring") }
    }
  }

  /// The next cell of the ring; nil when that cannot be read.
  private mutating func checkSecurity(at place: CellIndex, _ hive: borrowing Hive) -> CellIndex? {
    guard reach(place, "security cell"),
      let cell = cell(
        place, "security cell", .security, SecurityCell.Field.descriptor, else: .securitySignature, hive)
    else { return nil }
    if let security = load(.securityDescriptor, { () throws(HiveError) in try hive.image.security(at: place) }) {
      let descriptor = Array(
        hive.image.buffer(at: cell.start + SecurityCell.Field.descriptor, count: security.descriptorSize))
      do throws(HiveError) { try SecurityDescriptor.check(descriptor.span) } catch {
        find(.securityDescriptor, "security cell", place, "\(error)")
      }
    }
    let count = hive.image.load(UInt32.self, cell, SecurityCell.Field.referenceCount)
    let keys = securityCounts[place] ?? 0
    if count != keys { find(.securityCount, "security cell", place, "it counts \(count) keys, \(keys) refer to it") }
    let next = hive.image.index(cell, SecurityCell.Field.next)
    if let after = try? hive.image.cell(
      next, as: "security cell", signature: .security, minimum: SecurityCell.Field.descriptor),
      hive.image.index(after, SecurityCell.Field.previous) != place
    {
      find(.securityRing, "security cell", next, "it does not point back")
    }
    return next
  }
}
