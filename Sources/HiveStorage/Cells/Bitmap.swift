/// A set of small numbers, one bit each.
struct Bitmap {
  private var words: [UInt64] = []

  func contains(_ bit: Int) -> Bool {
    bit >= 0 && bit >> 6 < words.count && words[bit >> 6] >> UInt64(bit & 63) & 1 == 1
  }

  mutating func insert(_ bit: Int) {
    while words.count <= bit >> 6 { words.append(0) }
    words[bit >> 6] |= 1 << UInt64(bit & 63)
  }

  mutating func remove(_ bit: Int) {
    if bit >> 6 < words.count { words[bit >> 6] &= ~(1 << UInt64(bit & 63)) }
  }

  func first(after bit: Int) -> Int? {
    let from = bit + 1
    var word = from >> 6
    guard word < words.count else { return nil }
    var rest = words[word] & (~0 << UInt64(from & 63))
    while rest == 0 {
      word += 1
      guard word < words.count else { return nil }
      rest = words[word]
    }
    return word << 6 + rest.trailingZeroBitCount
  }

  func last(atOrBefore bit: Int, notBelow limit: Int) -> Int? {
    guard bit >= limit, !words.isEmpty else { return nil }
    var word = min(bit >> 6, words.count - 1)
    var rest = word == bit >> 6 ? words[word] & (~0 >> UInt64(63 - bit & 63)) : words[word]
    while rest == 0 {
      word -= 1
      guard word >= limit >> 6 else { return nil }
      rest = words[word]
    }
    let found = word << 6 + 63 - rest.leadingZeroBitCount
    return found >= limit ? found : nil
  }
}
