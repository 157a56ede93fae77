/// Where a cell lies: bytes from the first hive bin to the cell's size field, a multiple of 8 (HCELL_INDEX).
package struct CellIndex: RawRepresentable, Hashable, Sendable {
  package let rawValue: UInt32

  package init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Points nowhere (HCELL_NIL).
  package static let none = CellIndex(rawValue: 0xFFFF_FFFF)

  /// The cell's place in the primary file, in bytes.
  package var fileOffset: Int { BaseBlock.size + Int(rawValue) }
}

/// An allocated cell that was found whole: `start` (file offset) and `count` tell where its payload lies.
struct Cell {
  let index: CellIndex
  let start: Int
  let count: Int
}

extension HiveImage {
  /// The allocated cell at `index`; `structure` says in an error what was looked for there.
  func cell(_ index: CellIndex, as structure: String) throws(HiveError) -> Cell {
    let offset = Int(index.rawValue)
    guard index != .none else {
      throw .damaged(structure: structure, offset: BaseBlock.size + offset, problem: "the offset points nowhere")
    }
    guard offset & 7 == 0, offset + 8 <= binsSize else {
      throw .damaged(structure: structure, offset: index.fileOffset, problem: "the offset lies outside the hive bins")
    }
    let size = -Int(Int32(bitPattern: load(UInt32.self, at: index.fileOffset)))
    guard size > 0 else {
      throw .damaged(structure: structure, offset: index.fileOffset, problem: "the cell is free")
    }
    guard size >= 8, offset + size <= binsSize else {
      throw .damaged(structure: structure, offset: index.fileOffset, problem: "the cell has a size of \(size) bytes")
    }
    // A reference into the middle of a cell may find a likely size there. For reading that is as good as any other;
    // what is written or freed there would run over the cells around it.
    if isInTransaction, cellStarts?.contains(offset >> 3) == false {
      throw .damaged(structure: structure, offset: index.fileOffset, problem: "no cell begins there")
    }
    return Cell(index: index, start: index.fileOffset + cellHeader, count: max(0, size - cellHeader))
  }

  /// As `cell`, of at least `minimum` bytes and beginning with `signature`.
  func cell(
    _ index: CellIndex, as structure: String, signature: Signature, minimum: Int
  ) throws(HiveError) -> Cell {
    let cell = try cell(index, as: structure)
    guard cell.count >= minimum, load(UInt16.self, cell, 0) == signature.rawValue else {
      throw .damaged(
        structure: structure, offset: index.fileOffset, problem: "the signature \"\(signature)\" is missing")
    }
    return cell
  }

  /// The field at `field` of the cell's payload.
  func load<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type, _ cell: Cell, _ field: Int) -> T {
    precondition(field >= 0 && field + MemoryLayout<T>.size <= cell.count)
    return load(type, at: cell.start + field)
  }

  func index(_ cell: Cell, _ field: Int) -> CellIndex { CellIndex(rawValue: load(UInt32.self, cell, field)) }

  mutating func store<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, _ cell: Cell, _ field: Int) {
    precondition(field >= 0 && field + MemoryLayout<T>.size <= cell.count)
    store(value, at: cell.start + field)
  }

  mutating func store(_ value: CellIndex, _ cell: Cell, _ field: Int) { store(value.rawValue, cell, field) }
}

/// The two letters that most cells begin with.
enum Signature: UInt16, CustomStringConvertible {
  case keyNode = 0x6B6E
  case value = 0x6B76
  case security = 0x6B73
  case fastLeaf = 0x666C
  case hashLeaf = 0x686C
  case indexLeaf = 0x696C
  case indexRoot = 0x6972
  case bigData = 0x6264

  var description: String {
    let bytes = [UInt8(truncatingIfNeeded: rawValue), UInt8(truncatingIfNeeded: rawValue >> 8)]
    return String(decoding: bytes, as: UTF8.self)
  }
}
