internal import Executive

/// A strict look at a whole hive: what a clean hive fulfils, by number.
///
/// 1. Bins and cells cover the data exactly; no two free cells of a bin are neighbours.
/// 2. Every cell reached is allocated and reached once (security cells: once for each key that counts itself there).
/// 3. Every child's parent is its key; the root, and only the root, is the hive's entry.
/// 4. A list holds as many subkeys as its key counts, in ascending order without twins, with the right hints; no list
///    is empty, and a key without subkeys has none.
/// 5. Names and class names fit their cells and the limits; no two values of a key share a name.
/// 6. Data fits; long data is big data exactly where the version has it.
/// 7. The "longest" fields are upper bounds.
/// 8. The security cells in use form one ring, and each counts its keys.
package struct HiveChecker {
  package private(set) var findings: [HiveError] = []
  package private(set) var keys = 0
  package private(set) var values = 0
  /// Allocated cells that nothing refers to: legal, Windows leaves some after a crash.
  package private(set) var orphans: [CellIndex] = []

  private var allocated: Set<CellIndex> = []
  private var reached: Set<CellIndex> = []
  private var securityCounts: [CellIndex: UInt32] = [:]

  package init(_ hive: borrowing Hive) {
    checkCells(hive)
    var open: [(key: CellIndex, parent: CellIndex?)] = [(hive.rootKey, nil)]
    while let (key, parent) = open.popLast() {
      do throws(HiveError) {
        let node = try hive.keyNode(at: key)
        guard reach(key, "key node") else { continue }
        keys += 1
        checkKey(node, parent, hive)
        try checkValues(node, hive)
        try checkSubkeys(node, hive, &open)
      } catch { findings.append(error) }
    }
    checkSecurity(hive)
    orphans = allocated.subtracting(reached).sorted { $0.rawValue < $1.rawValue }
  }

  private mutating func find(_ structure: String, _ index: CellIndex, _ problem: String) {
    findings.append(.damaged(structure: structure, offset: index.fileOffset, problem: problem))
  }

  /// False when the cell must not be followed again.
  private mutating func reach(_ index: CellIndex, _ structure: String) -> Bool {
    guard allocated.contains(index) else {
      find(structure, index, "there is no allocated cell")
      return false
    }
    guard reached.insert(index).inserted else {
      find(structure, index, "the cell is used more than once")
      return false
    }
    return true
  }

  // MARK: 1

  private mutating func checkCells(_ hive: borrowing Hive) {
    var allocated: Set<CellIndex> = []
    var neighbours: [CellIndex] = []
    var freeEnd = -1
    do throws(HiveError) {
      try hive.image.walkCells { _ in
        freeEnd = -1
      } _: { cell, size, isAllocated in
        if isAllocated {
          allocated.insert(cell)
        } else {
          if freeEnd == Int(cell.rawValue) { neighbours.append(cell) }
          freeEnd = Int(cell.rawValue) + size
        }
      }
    } catch { findings.append(error) }
    for cell in neighbours { find("cell", cell, "the cell before it is free, too") }
    self.allocated = allocated
  }

  // MARK: 2, 3, 5

  private mutating func checkKey(_ node: KeyNode, _ parent: CellIndex?, _ hive: borrowing Hive) {
    if let parent {
      if node.parent != parent { find("key node", node.cell, "its parent is another key") }
      if node.flags.contains(.hiveEntry) { find("key node", node.cell, "it calls itself the root") }
      do throws(HiveError) {
        let name = try hive.keyName(at: node.cell)
        if name.isEmpty || name.units.count > 256 || name.units.contains(0x5C) {
          find("key node", node.cell, "its name is not allowed")
        }
      } catch { findings.append(error) }
    } else if !node.flags.contains(.hiveEntry) {
      find("key node", node.cell, "the root does not call itself so")
    }
    if !node.flags.contains(.compressedName), node.nameLength % 2 == 1 { find("key node", node.cell, "an odd name") }
    securityCounts[node.security, default: 0] += 1
    if node.classLength > 0 {
      do throws(HiveError) {
        _ = try hive.className(ofKey: node.cell)
        _ = reach(node.className, "class name")
      } catch { findings.append(error) }
    }
  }

  // MARK: 5, 6, 7

  private mutating func checkValues(_ node: KeyNode, _ hive: borrowing Hive) throws(HiveError) {
    guard let list = try hive.valueList(of: node) else {
      if !node.flags.contains(.predefinedHandle), node.valueList != .none, node.valueCount == 0 {
        find("key node", node.cell, "a value list without values")
      }
      return
    }
    guard reach(list.cell.index, "value list") else { return }
    if let damage = list.damage { findings.append(damage) }
    var names: Set<UnicodeName> = []
    for place in 0..<list.count {
      let index = hive.entry(list, place)
      do throws(HiveError) {
        let value = try hive.valueNode(at: index)
        guard reach(index, "value") else { continue }
        values += 1
        let name = try hive.valueName(at: index)
        if !names.insert(name.upcased).inserted { find("value", index, "another value has its name") }
        if name.units.count * 2 > node.longestValueName { find("value", index, "longer than the longest name") }
        if value.dataSize > node.longestValueData { find("value", index, "longer than the longest data") }
        if try hive.data(ofValue: index).count != value.dataSize { find("value", index, "data of another size") }
        guard !value.isInline, value.dataSize > 0 else { continue }
        guard reach(value.data, "value data") else { continue }
        guard value.dataSize > BigData.segmentSize, hive.minorVersion >= BigData.firstVersion else { continue }
        let big = try hive.image.bigData(at: value.data, dataSize: value.dataSize)
        _ = reach(big.list.index, "big data list")
        if (big.count - 1) * BigData.segmentSize >= value.dataSize { find("big data", value.data, "too many segments") }
        for segment in 0..<big.count { _ = reach(hive.image.index(big.list, segment * 4), "big data segment") }
      } catch { findings.append(error) }
    }
  }

  // MARK: 4, 7

  private mutating func checkSubkeys(
    _ node: KeyNode, _ hive: borrowing Hive, _ open: inout [(key: CellIndex, parent: CellIndex?)]
  ) throws(HiveError) {
    guard node.subkeyCount > 0 else {
      if node.subkeyList != .none { find("key node", node.cell, "a subkey list without subkeys") }
      return
    }
    let list = try hive.image.subkeyList(at: node.subkeyList)
    guard reach(list.cell.index, "subkey list") else { return }
    if let damage = list.damage { findings.append(damage) }
    var previous: UnicodeName?
    var count = 0
    for ordinal in 0..<(list.kind == .indexRoot ? list.count : 1) {
      do throws(HiveError) {
        let leaf = list.kind == .indexRoot ? try hive.image.leaf(at: hive.image.entry(list, ordinal)) : list
        if list.kind == .indexRoot { guard reach(leaf.cell.index, "subkey list") else { continue } }
        if let damage = leaf.damage { findings.append(damage) }
        if leaf.count == 0 { find("subkey list", leaf.cell.index, "it is empty") }
        for entry in 0..<leaf.count {
          count += 1
          let key = hive.image.entry(leaf, entry)
          let child = try hive.keyNode(at: key)
          let name = try hive.keyName(at: key)
          if let previous, UpcaseTable.compare(previous.units.span, name.units.span) >= 0 {
            find("subkey list", leaf.cell.index, "entry \(entry) is out of order")
          }
          previous = name
          if leaf.kind.stride == 8, hive.image.hint(leaf, entry) != leaf.kind.hint(for: name.units.span) {
            find("subkey list", leaf.cell.index, "entry \(entry) has a wrong hint")
          }
          if name.units.count * 2 > node.longestSubkeyName { find("key node", key, "longer than the longest name") }
          if child.classLength > node.longestSubkeyClass { find("key node", key, "longer than the longest class") }
          open.append((key, node.cell))
        }
      } catch { findings.append(error) }
    }
    if count != node.subkeyCount { find("key node", node.cell, "\(count) subkeys, \(node.subkeyCount) counted") }
  }

  // MARK: 8

  private mutating func checkSecurity(_ hive: borrowing Hive) {
    guard let start = securityCounts.keys.min(by: { $0.rawValue < $1.rawValue }) else { return }
    var ring: Set<CellIndex> = []
    var place = start
    do throws(HiveError) {
      while ring.insert(place).inserted {
        let security = try hive.image.security(at: place)
        let next = hive.image.index(security.cell, SecurityCell.Field.next)
        let after = try hive.image.security(at: next)
        if hive.image.index(after.cell, SecurityCell.Field.previous) != place {
          find("security cell", next, "it does not point back")
        }
        let count = hive.image.load(UInt32.self, security.cell, SecurityCell.Field.referenceCount)
        let keys = securityCounts[place] ?? 0
        if count != keys { find("security cell", place, "it counts \(count) keys, \(keys) refer to it") }
        _ = reach(place, "security cell")
        place = next
      }
    } catch { findings.append(error) }
    for used in securityCounts.keys where !ring.contains(used) { find("security cell", used, "it is not in the ring") }
  }
}
