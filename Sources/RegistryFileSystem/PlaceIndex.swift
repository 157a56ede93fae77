/// Which slot of the inode table stands for a key or value: a hash table of slot numbers alone, 5 to 11 bytes for each entry. The keys
/// are in the slots: `place` gives that of a slot.
struct PlaceIndex {
  /// 0 is an empty bucket: slot 0 stands for nothing.
  private var buckets: [UInt32] = Array(repeating: 0, count: 1024)
  private var count = 0

  private var mask: Int { buckets.count - 1 }

  /// The bucket where the search for a place begins.
  private func start(_ place: UInt64) -> Int {
    // The upper bits of the product depend on all of the place's.
    Int(truncatingIfNeeded: (place &* 0x9E37_79B9_7F4A_7C15) >> 32) & mask
  }

  private func bucket(of wanted: UInt64, _ place: (UInt32) -> UInt64) -> Int? {
    var bucket = start(wanted)
    while buckets[bucket] != 0 {
      if place(buckets[bucket]) == wanted { return bucket }
      bucket = (bucket + 1) & mask
    }
    return nil
  }

  func find(_ wanted: UInt64, _ place: (UInt32) -> UInt64) -> UInt32? {
    bucket(of: wanted, place).map { buckets[$0] }
  }

  /// `slot` has the place already, and no other slot has it.
  mutating func insert(_ slot: UInt32, _ place: (UInt32) -> UInt64) {
    if (count + 1) * 4 > buckets.count * 3 {
      let old = buckets
      buckets = Array(repeating: 0, count: old.count * 2)
      for slot in old where slot != 0 { put(slot, place(slot)) }
    }
    put(slot, place(slot))
    count += 1
  }

  private mutating func put(_ slot: UInt32, _ place: UInt64) {
    var bucket = start(place)
    while buckets[bucket] != 0 { bucket = (bucket + 1) & mask }
    buckets[bucket] = slot
  }

  /// The slot at `gone` still has its place. What stands behind it moves up, so that no search ends too early.
  mutating func remove(_ gone: UInt64, _ place: (UInt32) -> UInt64) {
    guard var hole = bucket(of: gone, place) else { return }
    count -= 1
    var next = (hole + 1) & mask
    while buckets[next] != 0 {
      let home = start(place(buckets[next]))
      // Whether its search passes the hole.
      if (next - home) & mask >= (next - hole) & mask {
        buckets[hole] = buckets[next]
        hole = next
      }
      next = (next + 1) & mask
    }
    buckets[hole] = 0
  }
}
