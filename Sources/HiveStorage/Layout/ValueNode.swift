package import Executive

/// A value as it lies in the hive, without its data (CM_KEY_VALUE); `Hive.valueNode` makes it.
package struct ValueNode: Sendable {
  enum Field {
    static let nameLength = 2
    static let dataSize = 4
    static let data = 8
    static let type = 12
    static let flags = 16
    static let name = 20
  }

  enum Flag {
    static let compressedName: UInt16 = 1
    static let tombstone: UInt16 = 2
  }

  /// The bit of the size field that says: the data stands in the data field.
  static let inlineBit: UInt32 = 0x8000_0000
  static let longestInline = 4

  package let cell: CellIndex
  package let type: ValueType
  /// In bytes, as the value says.
  package let dataSize: Int
  /// In a layered key: the value of the layer below is deleted.
  package let isTombstone: Bool

  let sizeField: UInt32
  let data: CellIndex
  package let flags: UInt16
  let nameLength: Int
  let body: Cell

  var isInline: Bool { sizeField & Self.inlineBit != 0 }
}

extension HiveImage {
  func valueNode(at index: CellIndex) throws(HiveError) -> ValueNode {
    let cell = try cell(index, as: "value", signature: .value, minimum: ValueNode.Field.name)
    let nameLength = Int(load(UInt16.self, cell, ValueNode.Field.nameLength))
    guard ValueNode.Field.name + nameLength <= cell.count else {
      throw .damaged(
        structure: "value", offset: index.fileOffset,
        problem: "a name of \(nameLength) bytes does not fit a cell of \(cell.count)")
    }
    let size = load(UInt32.self, cell, ValueNode.Field.dataSize)
    // Version 1.1 has a title index in the place of the flags.
    let flags = cellHeader == 4 ? load(UInt16.self, cell, ValueNode.Field.flags) : 0
    return ValueNode(
      cell: index,
      type: ValueType(rawValue: load(UInt32.self, cell, ValueNode.Field.type)),
      dataSize: Int(size & ~ValueNode.inlineBit),
      isTombstone: flags & ValueNode.Flag.tombstone != 0,
      sizeField: size,
      data: self.index(cell, ValueNode.Field.data),
      flags: flags,
      nameLength: nameLength,
      body: cell)
  }

  @_lifetime(borrow self)
  func valueName(at index: CellIndex) throws(HiveError) -> NameView {
    let node = try valueNode(at: index)
    return NameView(
      bytes: bytes(at: node.body.start + ValueNode.Field.name, count: node.nameLength),
      compressed: node.flags & ValueNode.Flag.compressedName != 0)
  }
}
