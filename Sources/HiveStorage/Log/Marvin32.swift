/// The hash that guards the entries of new-format logs (Marvin32), with the seed that Windows gives it there.
///
/// Source: Maxim Suhanov's specification of the format, checked against entries that Windows wrote.
struct Marvin32 {
  private var low: UInt32 = 0x7A4E_55C5
  private var high: UInt32 = 0x82EF_4D88

  /// Takes in whole dwords: what is hashed in a log is a multiple of four bytes long.
  mutating func update(_ bytes: UnsafeRawBufferPointer) {
    precondition(bytes.count % 4 == 0)
    guard var next = bytes.baseAddress else { return }
    let end = next + bytes.count
    // Each step waits for the one before it, so nothing else may stand in the loop.
    var hash = self
    // SAFETY: `next` moves by whole dwords from the buffer's start to its end, which the line above makes one of them.
    while next < end {
      hash.mix(UInt32(littleEndian: next.loadUnaligned(as: UInt32.self)))
      next += 4
    }
    self = hash
  }

  /// The hash of what was taken in, the high half first.
  var value: UInt64 {
    var last = self
    last.mix(0x80)
    last.mix(0)
    return UInt64(last.high) << 32 | UInt64(last.low)
  }

  @inline(__always)
  private mutating func mix(_ word: UInt32) {
    low &+= word
    high ^= low
    low = Self.rotate(low, 20) &+ high
    high = Self.rotate(high, 9) ^ low
    low = Self.rotate(low, 27) &+ high
    high = Self.rotate(high, 19)
  }

  @inline(__always)
  private static func rotate(_ word: UInt32, _ count: UInt32) -> UInt32 { word &<< count | word &>> (32 &- count) }
}
