package import Executive

extension Hive {
  package func valueNode(at value: CellIndex) throws(HiveError) -> ValueNode { try image.valueNode(at: value) }

  /// Lets `body` look at the value's name where it lies; the default value's is empty.
  package func withName<R>(
    ofValue value: CellIndex, _ body: (borrowing NameView) throws(HiveError) -> R
  ) throws(HiveError) -> R {
    try body(try image.valueName(at: value))
  }

  package func valueName(at value: CellIndex) throws(HiveError) -> UnicodeName { try image.valueName(at: value).name }

  /// A key's list of values: no header, any order, maybe longer than the count.
  struct ValueList {
    let cell: Cell
    /// Entries inside the cell.
    let count: Int
    /// Entries as the key says.
    let claimed: Int

    var damage: HiveError? {
      claimed == count
        ? nil
        : .damaged(
          structure: "value list", offset: cell.index.fileOffset,
          problem: "\(claimed) values do not fit a cell of \(cell.count) bytes")
    }
  }

  /// Nil when the key has no values.
  func valueList(of node: KeyNode) throws(HiveError) -> ValueList? {
    guard node.valueCount > 0 else { return nil }
    let cell = try image.cell(node.valueList, as: "value list")
    return ValueList(cell: cell, count: min(node.valueCount, cell.count / 4), claimed: node.valueCount)
  }

  func entry(_ list: ValueList, _ entry: Int) -> CellIndex { image.index(list.cell, entry * 4) }

  /// Calls `body` with the place and the cell of every value from the one at `index` on until it returns false. The
  /// values are not looked at; a list that is too short for its count is served first and thrown then.
  package func forEachValue(
    of key: CellIndex, from index: Int = 0, _ body: (Int, CellIndex) throws(HiveError) -> Bool
  ) throws(HiveError) {
    guard let list = try valueList(of: keyNode(at: key)) else { return }
    var place = max(0, index)
    while place < list.count {
      guard try body(place, entry(list, place)) else { return }
      place += 1
    }
    if let damage = list.damage { throw damage }
  }

  /// The value of this name, without regard to case; of twins the first. Values that cannot be read are passed over.
  package func findValue(of key: CellIndex, named name: Span<UInt16>) throws(HiveError) -> CellIndex? {
    guard let list = try valueList(of: keyNode(at: key)) else { return nil }
    let limit = ValueIndexes.mostEntries(inBytes: image.binsSize)
    let answer = valueIndexes.find(UpcaseTable.hash(name), in: key, count: list.count, limit: limit) { note in
      for place in 0..<list.count {
        let value = entry(list, place)
        // One that cannot be read has no name to be found by.
        if let hash = try? image.valueName(at: value).upcasedHash { note(value, hash) }
      }
    }
    switch answer {
    case .absent: return nil
    case .candidate(let value): return try image.valueName(at: value).equalsIgnoringCase(name) ? value : nil
    case .unknown: break
    }
    for place in 0..<list.count {
      let value = entry(list, place)
      do {
        if try image.valueName(at: value).equalsIgnoringCase(name) { return value }
      } catch {
        continue
      }
    }
    return nil
  }

  package func data(ofValue value: CellIndex) throws(HiveError) -> [UInt8] {
    var data: [UInt8] = []
    try readData(ofValue: value, into: &data)
    return data
  }

  /// Replaces what is in `data` by the value's data; on an error it is left empty.
  package func readData(ofValue value: CellIndex, into data: inout [UInt8]) throws(HiveError) {
    data.removeAll(keepingCapacity: true)
    do throws(HiveError) { try forEachPiece(ofValue: value) { data.append(contentsOf: $0) } } catch {
      data.removeAll(keepingCapacity: true)
      throw error
    }
  }

  /// Calls `body` for the value's data as it lies, one piece after the other; only big data has more than one, each but the last of
  /// `BigData.segmentSize` bytes. Damage of a later piece is thrown after those before it.
  package func forEachPiece(
    ofValue value: CellIndex, _ body: (UnsafeRawBufferPointer) -> Void
  ) throws(HiveError) {
    let node = try valueNode(at: value)
    if node.isInline {
      guard node.dataSize <= ValueNode.longestInline else {
        throw .damaged(
          structure: "value", offset: value.fileOffset, problem: "inline data of \(node.dataSize) bytes")
      }
      return body(image.buffer(at: node.body.start + ValueNode.Field.data, count: node.dataSize))
    }
    guard node.dataSize > 0 else { return }
    guard node.dataSize > BigData.segmentSize, minorVersion >= BigData.firstVersion else {
      let cell = try image.cell(node.data, as: "value data")
      guard node.dataSize <= cell.count else {
        throw .damaged(
          structure: "value data", offset: node.data.fileOffset,
          problem: "\(node.dataSize) bytes do not fit a cell of \(cell.count)")
      }
      return body(image.buffer(at: cell.start, count: node.dataSize))
    }
    let big = try image.bigData(at: node.data, dataSize: node.dataSize)
    // The size may be a lie: a segment is checked before it is believed.
    let needed = (node.dataSize + BigData.segmentSize - 1) / BigData.segmentSize
    for place in 0..<needed {
      let cell = try image.cell(image.index(big.list, place * 4), as: "big data segment")
      let count = min(BigData.segmentSize, node.dataSize - place * BigData.segmentSize)
      guard count <= cell.count else {
        throw HiveError.damaged(
          structure: "big data segment", offset: cell.index.fileOffset,
          problem: "\(count) bytes do not fit a cell of \(cell.count)")
      }
      body(image.buffer(at: cell.start, count: count))
    }
  }
}
