/// Where the free cells are, by size.
///
/// 1. A bit of `starts` is set exactly where a free cell begins; a bit of `bins` where a bin begins.
/// 2. Every free cell stands in the stack of its size class. A stack may also hold cells that are free no more, or of
///    another size by now; what is taken from it is checked against `starts` and the cell's size.
struct FreeCells {
  /// One bit for every 8 bytes of bins.
  private var starts = Bitmap()
  /// One bit for every 4096 bytes of bins.
  private var bins = Bitmap()
  private var stacks: [[UInt32]]
  private var entries = 0

  private(set) var freeBytes = 0
  private(set) var freeCount = 0
  private(set) var cellCount = 0
  private(set) var binCount = 0

  /// Sizes below 4096 have a class each, larger ones share one from a power of two to the next.
  private static let exactClasses = 512
  private static let classes = exactClasses + 20

  private static func sizeClass(_ size: Int) -> Int {
    size < 4096 ? size >> 3 : exactClasses + (Int.bitWidth - 1 - size.leadingZeroBitCount) - 12
  }

  /// Visits every cell, and tells the image where they begin; throws when bins or cells are damaged, for then nothing
  /// can be allocated safely.
  init(_ image: inout HiveImage) throws(HiveError) {
    stacks = Array(repeating: [], count: Self.classes)
    var starts = Bitmap()
    var bins = Bitmap()
    var cells = Bitmap()
    var (freeBytes, freeCount, cellCount, binCount, entries) = (0, 0, 0, 0, 0)
    var stacks = self.stacks
    try image.walkCells { bin in
      bins.insert(bin.offset >> 12)
      binCount += 1
    } _: { cell, size, isAllocated in
      cellCount += 1
      cells.insert(Int(cell.rawValue) >> 3)
      guard !isAllocated else { return }
      starts.insert(Int(cell.rawValue) >> 3)
      stacks[Self.sizeClass(size)].append(cell.rawValue)
      entries += 1
      freeBytes += size
      freeCount += 1
    }
    self.starts = starts
    self.bins = bins
    self.stacks = stacks
    self.entries = entries
    self.freeBytes = freeBytes
    self.freeCount = freeCount
    self.cellCount = cellCount
    self.binCount = binCount
    image.cellStarts = cells
  }

  func statistics(fileBytes: Int) -> Hive.Statistics {
    Hive.Statistics(
      fileBytes: fileBytes, freeBytes: freeBytes, freeCells: freeCount, cells: cellCount, bins: binCount)
  }

  /// The start and the end of the bin that `offset` lies in.
  func bin(around offset: Int, binsSize: Int) -> Range<Int> {
    let start = bins.last(atOrBefore: offset >> 12, notBelow: 0) ?? 0
    let end = bins.first(after: offset >> 12) ?? binsSize >> 12
    return start << 12..<min(end << 12, binsSize)
  }

  mutating func addBin(at offset: Int) {
    bins.insert(offset >> 12)
    binCount += 1
  }

  func isFree(at offset: Int) -> Bool { starts.contains(offset >> 3) }

  /// The free cell that ends no later than `offset` and begins last, not below `bin`.
  func freeCell(before offset: Int, notBelow bin: Int) -> Int? {
    starts.last(atOrBefore: offset >> 3 - 1, notBelow: bin >> 3).map { $0 << 3 }
  }

  mutating func insert(_ offset: Int, size: Int) {
    starts.insert(offset >> 3)
    stacks[Self.sizeClass(size)].append(UInt32(offset))
    entries += 1
    freeBytes += size
    freeCount += 1
    cellCount += 1
  }

  mutating func remove(_ offset: Int, size: Int) {
    starts.remove(offset >> 3)
    freeBytes -= size
    freeCount -= 1
    cellCount -= 1
  }

  mutating func countAllocated(_ difference: Int) { cellCount += difference }

  /// A free cell of at least `size` bytes, the tightest class first; `sizeOf` tells how large the one at an offset is.
  /// The cell stays in the index until `remove`.
  mutating func find(_ size: Int, sizeOf: (Int) -> Int) -> Int? {
    if entries > 2 * freeCount + 4096 { dropStale(sizeOf) }
    for number in Self.sizeClass(size)..<Self.classes {
      // A cell of a shared class may be too small: look at some of them, then at the next class.
      var tries = 0
      var place = stacks[number].count - 1
      while place >= 0, tries < 32 {
        let offset = Int(stacks[number][place])
        let found = starts.contains(offset >> 3) ? sizeOf(offset) : 0
        if found == 0 || Self.sizeClass(found) != number {
          stacks[number].swapAt(place, stacks[number].count - 1)
          stacks[number].removeLast()
          entries -= 1
        } else if found >= size {
          return offset
        } else {
          tries += 1
        }
        place -= 1
      }
    }
    return nil
  }

  private mutating func dropStale(_ sizeOf: (Int) -> Int) {
    for number in stacks.indices { stacks[number].removeAll(keepingCapacity: true) }
    entries = 0
    var next = starts.first(after: -1)
    while let start = next {
      stacks[Self.sizeClass(sizeOf(start << 3))].append(UInt32(start << 3))
      entries += 1
      next = starts.first(after: start)
    }
  }
}
