/// A set of pages of 4096 bytes of hive bins, by number (dirty vector).
struct DirtyVector {
  private var words: [UInt64] = []
  /// As they came, or sorted.
  private var pages: [Int] = []

  var isEmpty: Bool { pages.isEmpty }
  var count: Int { pages.count }

  func contains(_ page: Int) -> Bool {
    page >> 6 < words.count && words[page >> 6] >> UInt64(page & 63) & 1 == 1
  }

  mutating func insert(_ page: Int) {
    while words.count <= page >> 6 { words.append(0) }
    let bit: UInt64 = 1 << UInt64(page & 63)
    guard words[page >> 6] & bit == 0 else { return }
    words[page >> 6] |= bit
    pages.append(page)
  }

  /// Costs what is in it, not the size of the hive.
  mutating func removeAll() {
    for page in pages { words[page >> 6] = 0 }
    pages.removeAll(keepingCapacity: true)
  }

  func forEach(_ body: (Int) -> Void) {
    for page in pages { body(page) }
  }

  /// Neighbouring pages as ranges, in ascending order.
  mutating func forEachRun(_ body: (Range<Int>) -> Void) {
    pages.sort()
    var place = 0
    while place < pages.count {
      let first = pages[place]
      var end = first + 1
      place += 1
      while place < pages.count, pages[place] == end {
        end += 1
        place += 1
      }
      body(first..<end)
    }
  }
}
