extension Hive {
  /// A new cell with room for `payload` bytes, all zero; grows the hive by a bin when nothing free is large enough.
  ///
  /// Only inside a transaction.
  mutating func allocate(_ payload: Int) throws(HiveError) -> Cell {
    guard payload < HiveImage.maximumBinsSize else { throw .limit(problem: "a cell of \(payload) bytes") }
    let size = max(8, (payload + image.cellHeader + 7) & ~7)
    let offset = try freeCell(of: size)
    let found = sizeOfFreeCell(offset)
    freeCells?.remove(offset, size: found)
    if found - size >= 8 {
      storeSize(found - size, at: offset + size)
      freeCells?.insert(offset + size, size: found - size)
      image.cellStarts?.insert((offset + size) >> 3)
      storeSize(-size, at: offset)
    } else {
      storeSize(-found, at: offset)
    }
    freeCells?.countAllocated(1)
    let index = CellIndex(rawValue: UInt32(offset))
    sortedLists.remove(index)
    valueIndexes.forget(index)
    let cell = try image.cell(index, as: "cell")
    image.clear(at: cell.start, count: cell.count)
    return cell
  }

  /// Gives the cell back and merges it with its free neighbours in the bin. Damaged when it is not allocated.
  ///
  /// Only inside a transaction.
  mutating func free(_ index: CellIndex, _ structure: String) throws(HiveError) {
    let cell = try image.cell(index, as: structure)
    var start = Int(index.rawValue)
    var end = start + cell.count + image.cellHeader
    guard let bin = freeCells?.bin(around: start, binsSize: image.binsSize),
      start >= bin.lowerBound + HiveBin.headerSize, end <= bin.upperBound
    else {
      throw .damaged(structure: structure, offset: index.fileOffset, problem: "the cell crosses its bin")
    }
    freeCells?.countAllocated(-1)
    // What is merged below begins elsewhere: its own size field must not go on saying that it is allocated, or damage
    // that leads here twice would free it twice.
    storeSize(end - start, at: start)
    if end < bin.upperBound, freeCells?.isFree(at: end) == true {
      let size = sizeOfFreeCell(end)
      freeCells?.remove(end, size: size)
      image.cellStarts?.remove(end >> 3)
      end += size
    }
    if let before = freeCells?.freeCell(before: start, notBelow: bin.lowerBound) {
      let size = sizeOfFreeCell(before)
      if before + size == start {
        freeCells?.remove(before, size: size)
        image.cellStarts?.remove(start >> 3)
        start = before
      }
    }
    storeSize(end - start, at: start)
    freeCells?.insert(start, size: end - start)
  }

  private func sizeOfFreeCell(_ offset: Int) -> Int { Self.size(at: offset, in: image) }

  private static func size(at offset: Int, in image: borrowing HiveImage) -> Int {
    Int(Int32(bitPattern: image.load(UInt32.self, at: BaseBlock.size + offset)))
  }

  private mutating func storeSize(_ size: Int, at offset: Int) {
    image.store(UInt32(bitPattern: Int32(truncatingIfNeeded: size)), at: BaseBlock.size + offset)
  }

  private mutating func freeCell(of size: Int) throws(HiveError) -> Int {
    // The index is taken out for the call, which reads the image.
    guard var index = freeCells.take() else { throw .readOnly }
    let found = index.find(size) { Self.size(at: $0, in: image) }
    // Consumed: a copy left here would make what follows copy the whole index.
    freeCells = consume index
    if let found { return found }
    let start = image.binsSize
    let binSize = (size + HiveBin.headerSize + HiveImage.pageSize - 1) & ~(HiveImage.pageSize - 1)
    guard start + binSize <= HiveImage.maximumBinsSize else { throw .limit(problem: "the hive would exceed 2 GiB") }
    image.resize(binsSize: start + binSize)
    let header = BaseBlock.size + start
    image.store(HiveBin.signatureHbin, at: header + HiveBin.Field.signature)
    image.store(UInt32(start), at: header + HiveBin.Field.offset)
    image.store(UInt32(binSize), at: header + HiveBin.Field.size)
    image.markTouched(at: header, count: binSize)
    let cell = start + HiveBin.headerSize
    storeSize(binSize - HiveBin.headerSize, at: cell)
    freeCells?.addBin(at: start)
    image.cellStarts?.insert(cell >> 3)
    freeCells?.insert(cell, size: binSize - HiveBin.headerSize)
    return cell
  }
}
