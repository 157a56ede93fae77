/// Data too long for one cell, in segments (CM_BIG_DATA), from version 1.4 on.
struct BigData {
  enum Field {
    static let count = 2
    static let list = 4
  }

  static let size = 8
  /// Bytes of data in every segment but the last.
  static let segmentSize = 16344
  /// The payload Windows gives every segment, the last one too; some readers count on it.
  static let segmentPayload = 16348
  static let maximumSegments = 65535

  /// Data longer than a segment is split from this minor version on.
  static let firstVersion = 4

  let cell: Cell
  let list: Cell
  let count: Int
}

extension HiveImage {
  /// The big data cell at `index` and its list, checked to hold `dataSize` bytes by their counts.
  func bigData(at index: CellIndex, dataSize: Int) throws(HiveError) -> BigData {
    let cell = try cell(index, as: "big data", signature: .bigData, minimum: BigData.size)
    let list = try self.cell(self.index(cell, BigData.Field.list), as: "big data list")
    let count = Int(load(UInt16.self, cell, BigData.Field.count))
    guard count * 4 <= list.count, count * BigData.segmentSize >= dataSize else {
      throw .damaged(
        structure: "big data", offset: index.fileOffset,
        problem: "\(count) segments, in a list of \(list.count) bytes, do not hold \(dataSize) bytes")
    }
    return BigData(cell: cell, list: list, count: count)
  }
}
