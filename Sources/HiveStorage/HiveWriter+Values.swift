package import Executive

extension Hive {
  /// Characters of a value's name.
  package static let longestValueName = 16383

  /// Bytes of data a value can have in this version.
  package var longestData: Int {
    minorVersion >= BigData.firstVersion ? BigData.maximumSegments * BigData.segmentSize : 1 << 20
  }

  /// Gives a value its type and data and returns it; makes it when there is none of this name. The cell of a value that
  /// exists stays where it is, and so does the case of its name.
  ///
  /// Throws `limit` for name, data and space, and for a key that is a predefined handle.
  package mutating func setValue(
    of key: CellIndex, named name: Span<UInt16>, type: ValueType, data: UnsafeRawBufferPointer, time: FileTime
  ) throws(HiveError) -> CellIndex {
    try Self.checkValueName(name)
    try checkDataLength(data.count)
    let units = UnicodeName(units: Self.units(of: name))
    return try transaction { (hive) throws(HiveError) in
      let node = try hive.keyNode(at: key)
      guard !node.flags.contains(.predefinedHandle) else {
        throw .limit(problem: "a predefined handle has no values")
      }
      let cell: Cell
      let old: ValueNode?
      if let existing = try hive.findValue(of: key, named: units.units.span) {
        let value = try hive.valueNode(at: existing)
        cell = value.body
        old = value
      } else {
        cell = try hive.makeValue(named: units)
        try hive.append(cell.index, to: node)
        hive.valueIndexes.insert(cell.index, hash: UpcaseTable.hash(units.units.span), in: key)
        hive.raise(KeyNode.Field.longestValueName, of: node.body, to: UInt32(units.units.count * 2))
        old = nil
      }
      try hive.replaceData(of: cell, old: old, by: data)
      hive.image.store(type.rawValue, cell, ValueNode.Field.type)
      if let old, old.isTombstone {
        hive.image.store(old.flags & ~ValueNode.Flag.tombstone, cell, ValueNode.Field.flags)
      }
      hive.raise(KeyNode.Field.longestValueData, of: node.body, to: UInt32(data.count))
      hive.image.store(time.rawValue, node.body, KeyNode.Field.lastWritten)
      return cell.index
    }
  }

  package mutating func setValue(
    of key: CellIndex, named name: Span<UInt16>, type: ValueType, data: [UInt8], time: FileTime
  ) throws(HiveError) -> CellIndex {
    // The buffer is ours for the call; an error has to come out by hand, as withUnsafeBytes throws any.
    var result: Result<CellIndex, HiveError> = .failure(.keyNotFound)
    let units = Self.units(of: name)
    data.withUnsafeBytes { bytes in
      do throws(HiveError) {
        result = .success(try setValue(of: key, named: units.span, type: type, data: bytes, time: time))
      } catch {
        result = .failure(error)
      }
    }
    return try result.get()
  }

  /// Throws `keyNotFound` when `value` is none of the key's.
  package mutating func deleteValue(of key: CellIndex, value: CellIndex, time: FileTime) throws(HiveError) {
    try transaction { (hive) throws(HiveError) in
      let node = try hive.keyNode(at: key)
      let (list, place) = try hive.place(of: value, in: node)
      let hash = try? hive.image.valueName(at: value).upcasedHash
      if list.count > 1 {
        let field = list.cell.start + place * 4
        hive.image.move(from: field + 4, to: field, count: (list.count - place - 1) * 4)
      } else {
        try hive.free(list.cell.index, "value list")
        hive.image.store(CellIndex.none, node.body, KeyNode.Field.valueList)
      }
      hive.image.store(UInt32(list.count - 1), node.body, KeyNode.Field.valueCount)
      try hive.freeValue(value)
      hive.image.store(time.rawValue, node.body, KeyNode.Field.lastWritten)
      // Last, when nothing can fail any more: an undone change forgets all indexes, one that was refused leaves them.
      if let hash {
        hive.valueIndexes.remove(value, hash: hash, in: key)
      } else {
        hive.valueIndexes.forget(key)
      }
    }
  }

  /// Gives the value another name, or the same in another case, and returns where it lies then. Throws `keyNotFound`,
  /// `nameCollision` and `limit`.
  package mutating func renameValue(
    of key: CellIndex, value: CellIndex, to name: Span<UInt16>, time: FileTime
  ) throws(HiveError) -> CellIndex {
    try Self.checkValueName(name)
    let units = UnicodeName(units: Self.units(of: name))
    return try transaction { (hive) throws(HiveError) in
      let node = try hive.keyNode(at: key)
      let (list, place) = try hive.place(of: value, in: node)
      if let taken = try hive.findValue(of: key, named: units.units.span), taken != value { throw .nameCollision }
      let old = try hive.valueNode(at: value)
      let compressed = units.units.span.isCompressible
      let stored = units.units.span.stored(compressed: compressed)
      var cell = old.body
      if ValueNode.Field.name + stored.count > cell.count {
        cell = try hive.allocate(ValueNode.Field.name + stored.count)
        hive.image.move(from: old.body.start, to: cell.start, count: ValueNode.Field.name)
        hive.image.store(cell.index, list.cell, place * 4)
        try hive.free(value, "value")
      }
      var flags = old.flags & ~ValueNode.Flag.compressedName
      if compressed, !stored.isEmpty { flags |= ValueNode.Flag.compressedName }
      hive.image.store(flags, cell, ValueNode.Field.flags)
      hive.image.store(UInt16(stored.count), cell, ValueNode.Field.nameLength)
      hive.copy(stored, to: cell, ValueNode.Field.name)
      hive.raise(KeyNode.Field.longestValueName, of: node.body, to: UInt32(units.units.count * 2))
      hive.image.store(time.rawValue, node.body, KeyNode.Field.lastWritten)
      hive.valueIndexes.forget(key)
      return cell.index
    }
  }

  // MARK: Parts

  static func checkValueName(_ name: Span<UInt16>) throws(HiveError) {
    guard name.count <= longestValueName else {
      throw .limit(problem: "a value name of \(name.count) characters, \(longestValueName) are allowed")
    }
  }

  func checkDataLength(_ count: Int) throws(HiveError) {
    guard count <= longestData else {
      throw .limit(problem: "\(count) bytes of data, \(longestData) are allowed")
    }
  }

  /// The list that holds `value`, and its place in it.
  private func place(of value: CellIndex, in node: KeyNode) throws(HiveError) -> (ValueList, Int) {
    guard let list = try valueList(of: node) else { throw .keyNotFound }
    if let damage = list.damage { throw damage }
    for place in 0..<list.count where entry(list, place) == value { return (list, place) }
    throw .keyNotFound
  }

  /// A value that no list holds yet.
  mutating func makeValue(
    named name: UnicodeName, type: ValueType, data: UnsafeRawBufferPointer
  ) throws(HiveError) -> Cell {
    let cell = try makeValue(named: name)
    try replaceData(of: cell, old: nil, by: data)
    image.store(type.rawValue, cell, ValueNode.Field.type)
    return cell
  }

  /// A value with a name, of empty data.
  private mutating func makeValue(named name: UnicodeName) throws(HiveError) -> Cell {
    let compressed = name.units.span.isCompressible
    let stored = name.units.span.stored(compressed: compressed)
    let cell = try allocate(ValueNode.Field.name + stored.count)
    counts.add(values: 1)
    image.store(Signature.value.rawValue, cell, 0)
    image.store(UInt16(stored.count), cell, ValueNode.Field.nameLength)
    image.store(ValueNode.inlineBit, cell, ValueNode.Field.dataSize)
    // Windows leaves the flag clear for the default value.
    let flags = compressed && !stored.isEmpty ? ValueNode.Flag.compressedName : 0
    image.store(flags, cell, ValueNode.Field.flags)
    copy(stored, to: cell, ValueNode.Field.name)
    return cell
  }

  private mutating func append(_ value: CellIndex, to node: KeyNode) throws(HiveError) {
    guard let list = try valueList(of: node) else {
      let cell = try allocate(4)
      image.store(value, cell, 0)
      image.store(cell.index, node.body, KeyNode.Field.valueList)
      image.store(UInt32(1), node.body, KeyNode.Field.valueCount)
      return
    }
    if let damage = list.damage { throw damage }
    var cell = list.cell
    if (list.count + 1) * 4 > cell.count {
      // Half as much again, so that many appends copy each entry a few times only.
      cell = try allocate((list.count + 1 + list.count / 2) * 4)
      image.move(from: list.cell.start, to: cell.start, count: list.count * 4)
      try free(list.cell.index, "value list")
      image.store(cell.index, node.body, KeyNode.Field.valueList)
    }
    image.store(value, cell, list.count * 4)
    image.store(UInt32(list.count + 1), node.body, KeyNode.Field.valueCount)
  }

  /// Frees the key's values with their list, to which it still points.
  mutating func freeValues(of node: KeyNode) throws(HiveError) {
    guard let list = try valueList(of: node) else { return }
    if let damage = list.damage { throw damage }
    for place in 0..<list.count { try freeValue(entry(list, place)) }
    try free(list.cell.index, "value list")
  }

  /// Frees a value that no list holds any more, with its data.
  mutating func freeValue(_ value: CellIndex) throws(HiveError) {
    try freeData(of: image.valueNode(at: value))
    try free(value, "value")
    counts.add(values: -1)
  }

  private mutating func freeData(of value: ValueNode) throws(HiveError) {
    guard !value.isInline, value.dataSize > 0, value.data != .none else { return }
    guard value.dataSize > BigData.segmentSize, minorVersion >= BigData.firstVersion else {
      try free(value.data, "value data")
      return
    }
    let big = try image.bigData(at: value.data, dataSize: value.dataSize)
    for place in 0..<big.count { try free(image.index(big.list, place * 4), "big data segment") }
    try free(big.list.index, "big data list")
    try free(big.cell.index, "big data")
  }

  private mutating func replaceData(
    of cell: Cell, old: ValueNode?, by data: UnsafeRawBufferPointer
  ) throws(HiveError) {
    if data.count <= ValueNode.longestInline {
      if let old { try freeData(of: old) }
      image.store(UInt32(data.count) | ValueNode.inlineBit, cell, ValueNode.Field.dataSize)
      image.store(UInt32(0), cell, ValueNode.Field.data)
      image.copy(data, to: cell.start + ValueNode.Field.data)
      return
    }
    let isBig = data.count > BigData.segmentSize && minorVersion >= BigData.firstVersion
    if let old, !isBig, let plain = plainData(of: old), data.count <= plain.count, data.count * 2 >= plain.count {
      image.copy(data, to: plain.start)
      image.store(UInt32(data.count), cell, ValueNode.Field.dataSize)
      return
    }
    if let old { try freeData(of: old) }
    let target: CellIndex
    if isBig {
      target = try makeBigData(data)
    } else {
      let plain = try allocate(data.count)
      image.copy(data, to: plain.start)
      target = plain.index
    }
    image.store(UInt32(data.count), cell, ValueNode.Field.dataSize)
    image.store(target, cell, ValueNode.Field.data)
  }

  /// The one cell that holds a value's data; nil when it is inline, big, or not to be trusted.
  private func plainData(of value: ValueNode) -> Cell? {
    guard !value.isInline, value.dataSize > 0,
      value.dataSize <= BigData.segmentSize || minorVersion < BigData.firstVersion
    else { return nil }
    return try? image.cell(value.data, as: "value data")
  }

  private mutating func makeBigData(_ data: UnsafeRawBufferPointer) throws(HiveError) -> CellIndex {
    let count = (data.count + BigData.segmentSize - 1) / BigData.segmentSize
    let big = try allocate(BigData.size)
    let list = try allocate(count * 4)
    image.store(Signature.bigData.rawValue, big, 0)
    image.store(UInt16(count), big, BigData.Field.count)
    image.store(list.index, big, BigData.Field.list)
    for place in 0..<count {
      let start = place * BigData.segmentSize
      let segment = try allocate(BigData.segmentPayload)
      image.copy(
        UnsafeRawBufferPointer(rebasing: data[start..<min(start + BigData.segmentSize, data.count)]),
        to: segment.start)
      image.store(segment.index, list, place * 4)
    }
    return big.index
  }
}
