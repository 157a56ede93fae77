/// Which pages of 4096 bytes of hive bins differ from the primary file (dirty vector).
struct DirtyVector {
  private var words: [UInt64] = []
  private(set) var count = 0

  var isEmpty: Bool { count == 0 }

  func contains(_ page: Int) -> Bool {
    page >> 6 < words.count && words[page >> 6] >> UInt64(page & 63) & 1 == 1
  }

  /// True when the page was clean before.
  mutating func insert(_ page: Int) -> Bool {
    while words.count <= page >> 6 { words.append(0) }
    let bit: UInt64 = 1 << UInt64(page & 63)
    guard words[page >> 6] & bit == 0 else { return false }
    words[page >> 6] |= bit
    count += 1
    return true
  }

  mutating func remove(_ page: Int) {
    guard contains(page) else { return }
    words[page >> 6] &= ~(1 << UInt64(page & 63))
    count -= 1
  }

  mutating func removeAll() {
    words.removeAll(keepingCapacity: true)
    count = 0
  }

  /// Neighbouring dirty pages as ranges, in ascending order.
  var runs: [Range<Int>] {
    var runs: [Range<Int>] = []
    for (number, word) in words.enumerated() where word != 0 {
      for bit in 0..<64 where word >> UInt64(bit) & 1 == 1 {
        let page = number * 64 + bit
        if let last = runs.last, last.upperBound == page {
          runs[runs.count - 1] = last.lowerBound..<page + 1
        } else {
          runs.append(page..<page + 1)
        }
      }
    }
    return runs
  }
}
