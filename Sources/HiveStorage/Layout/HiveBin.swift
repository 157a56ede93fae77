internal import Executive

/// A run of cells with a header of 32 bytes, a multiple of 4096 bytes long (HBIN).
struct HiveBin {
  static let headerSize = 32
  static let signatureHbin: UInt32 = 0x6E69_6268

  enum Field {
    static let signature = 0
    static let offset = 4
    static let size = 8
    /// Only in the first bin: a spare copy of the base block's time.
    static let lastWritten = 20
  }

  /// Bytes from the first bin to this one.
  let offset: Int
  let size: Int
}

extension HiveImage {
  /// The bin at `offset` bytes from the first; damaged when header or size do not hold.
  func bin(at offset: Int) throws(HiveError) -> HiveBin {
    let start = BaseBlock.size + offset
    guard offset + HiveBin.headerSize <= binsSize,
      load(UInt32.self, at: start + HiveBin.Field.signature) == HiveBin.signatureHbin
    else { throw .damaged(structure: "hive bin", offset: start, problem: "the signature \"hbin\" is missing") }
    let own = load(UInt32.self, at: start + HiveBin.Field.offset)
    guard Int(own) == offset else {
      throw .damaged(structure: "hive bin", offset: start, problem: "it says it lies at \(own), not at \(offset)")
    }
    let size = Int(load(UInt32.self, at: start + HiveBin.Field.size))
    guard size >= 4096, size % 4096 == 0, offset + size <= binsSize else {
      throw .damaged(structure: "hive bin", offset: start, problem: "it has a size of \(size) bytes")
    }
    return HiveBin(offset: offset, size: size)
  }

  /// Every bin in order, and every cell in it: `body` gets the cell's place, its size, and whether it is allocated.
  func walkCells(
    bin visit: (HiveBin) -> Void = { _ in },
    _ body: (_ cell: CellIndex, _ size: Int, _ isAllocated: Bool) -> Void
  ) throws(HiveError) {
    let alignment = cellHeader == 8 ? 16 : 8
    var offset = 0
    while offset < binsSize {
      let bin = try bin(at: offset)
      visit(bin)
      var place = offset + HiveBin.headerSize
      let end = offset + bin.size
      while place < end {
        let field = Int(Int32(bitPattern: load(UInt32.self, at: BaseBlock.size + place)))
        let size = abs(field)
        guard size >= alignment, size % alignment == 0, place + size <= end else {
          throw .damaged(structure: "cell", offset: BaseBlock.size + place, problem: "it has a size of \(field) bytes")
        }
        body(CellIndex(rawValue: UInt32(place)), size, field < 0)
        place += size
      }
      offset = end
    }
  }
}
