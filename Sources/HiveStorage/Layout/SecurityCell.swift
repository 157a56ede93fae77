/// A security descriptor that keys share, in a ring of all of them (CM_KEY_SECURITY).
struct SecurityCell {
  enum Field {
    static let next = 4
    static let previous = 8
    static let referenceCount = 12
    static let descriptorSize = 16
    static let descriptor = 20
  }

  let cell: Cell
  let descriptorSize: Int
}

extension HiveImage {
  func security(at index: CellIndex) throws(HiveError) -> SecurityCell {
    let cell = try cell(index, as: "security cell", signature: .security, minimum: SecurityCell.Field.descriptor)
    let size = Int(load(UInt32.self, cell, SecurityCell.Field.descriptorSize))
    guard size > 0, SecurityCell.Field.descriptor + size <= cell.count else {
      throw .damaged(
        structure: "security cell", offset: index.fileOffset,
        problem: "a descriptor of \(size) bytes does not fit a cell of \(cell.count)")
    }
    return SecurityCell(cell: cell, descriptorSize: size)
  }
}
