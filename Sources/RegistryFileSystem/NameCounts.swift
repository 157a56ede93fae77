internal import Executive

/// How often each name came, without regard to case. A hash table of places in a list of names: one listing makes one of each kind, and
/// must neither hash nor copy names as a Dictionary does.
struct NameCounts {
  private var names: [(name: UnicodeName, hash: UInt32, count: Int)] = []
  /// Places in `names`, one up; 0 is an empty bucket.
  private var buckets: [UInt32] = []

  /// The bucket of the name, or the empty one where it belongs.
  private func bucket(of name: UnicodeName, _ hash: UInt32) -> Int {
    let mask = buckets.count - 1
    var bucket = Int(hash &* 0x9E37_79B1 >> 7) & mask
    while buckets[bucket] != 0 {
      let known = names[Int(buckets[bucket]) - 1]
      if known.hash == hash, known.name.equalsIgnoringCase(name) { break }
      bucket = (bucket + 1) & mask
    }
    return bucket
  }

  /// One more of the name; how often it came, this one included.
  mutating func add(_ name: UnicodeName) -> Int {
    if names.count * 2 >= buckets.count { grow() }
    let hash = UpcaseTable.hash(name.units.span)
    let bucket = bucket(of: name, hash)
    guard buckets[bucket] == 0 else {
      let place = Int(buckets[bucket]) - 1
      names[place].count += 1
      return names[place].count
    }
    names.append((name, hash, 1))
    buckets[bucket] = UInt32(names.count)
    return 1
  }

  func contains(_ name: UnicodeName) -> Bool {
    !names.isEmpty && buckets[bucket(of: name, UpcaseTable.hash(name.units.span))] != 0
  }

  private mutating func grow() {
    buckets = Array(repeating: 0, count: max(32, buckets.count * 2))
    names.reserveCapacity(buckets.count / 2)
    for (place, known) in names.enumerated() { buckets[bucket(of: known.name, known.hash)] = UInt32(place + 1) }
  }
}
