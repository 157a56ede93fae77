import HiveStorage

/// Makes logs of the new format as Windows 8.1 and later write them, from the states of a hive; its own hash and its own
/// arithmetic, so that a mistake of the replay is not repeated here.
struct LogWriter {
  /// Sector 0, and what follows.
  private(set) var bytes: [UInt8]
  private(set) var sequence: UInt32

  /// A log beside the hive `base`, beginning with the entry numbered `sequence`.
  init(base: [UInt8], sequence: UInt32) {
    self.sequence = sequence
    bytes = Array(base.prefix(512))
    put32(sequence, at: 4, in: &bytes)
    put32(sequence, at: 8, in: &bytes)
    put32(6, at: 28, in: &bytes)
    checksum(&bytes)
  }

  /// An entry with every page of 4096 bytes in which the hive `new` differs from `old`.
  mutating func append(from old: [UInt8], to new: [UInt8]) {
    var pages: [(offset: Int, count: Int)] = []
    for page in 0..<(new.count - 4096) / 4096 {
      let range = 4096 + page * 4096..<8192 + page * 4096
      guard range.upperBound > old.count || old[range] != new[range] else { continue }
      if let last = pages.last, last.offset + last.count == page * 4096 {
        pages[pages.count - 1].count += 4096
      } else {
        pages.append((page * 4096, 4096))
      }
    }
    let contents = pages.map { page in
      (offset: page.offset, bytes: Array(new[4096 + page.offset..<4096 + page.offset + page.count]))
    }
    append(binsSize: new.count - 4096, contents)
  }

  mutating func append(binsSize: Int, flags: UInt32 = 0, _ pages: [(offset: Int, bytes: [UInt8])]) {
    var entry = [UInt8](repeating: 0, count: 40)
    entry.replaceSubrange(0..<4, with: Array("HvLE".utf8))
    put32(flags, at: 8, in: &entry)
    put32(sequence, at: 12, in: &entry)
    put32(UInt32(binsSize), at: 16, in: &entry)
    put32(UInt32(pages.count), at: 20, in: &entry)
    for page in pages {
      entry += [UInt8](repeating: 0, count: 8)
      put32(UInt32(page.offset), at: entry.count - 8, in: &entry)
      put32(UInt32(page.bytes.count), at: entry.count - 4, in: &entry)
    }
    for page in pages { entry += page.bytes }
    while (bytes.count + entry.count) % 4096 != 0 { entry.append(0) }
    put32(UInt32(entry.count), at: 4, in: &entry)
    Self.sign(&entry, at: 0)
    bytes += entry
    sequence &+= 1
  }

  /// Makes the hashes of the entry at `offset` of a log right again.
  static func sign(_ log: inout [UInt8], at offset: Int) {
    let size = Int(get32(offset + 4, in: log))
    put64(marvin32(log[offset + 40..<offset + size]), at: offset + 24, in: &log)
    put64(marvin32(log[offset..<offset + 32]), at: offset + 32, in: &log)
  }

  static func marvin32(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    func rotate(_ a: UInt32, _ n: UInt32) -> UInt32 { a << n | a >> (32 - n) }
    var (low, high): (UInt32, UInt32) = (0x7A4E_55C5, 0x82EF_4D88)
    var padded = Array(bytes) + [0x80]
    while padded.count % 4 != 0 { padded.append(0) }
    padded += [0, 0, 0, 0]
    for word in stride(from: 0, to: padded.count, by: 4) {
      low &+= get32(word, in: padded)
      high ^= low
      low = rotate(low, 20) &+ high
      high = rotate(high, 9) ^ low
      low = rotate(low, 27) &+ high
      high = rotate(high, 19)
    }
    return UInt64(high) << 32 | UInt64(low)
  }
}

func put32(_ value: UInt32, at offset: Int, in bytes: inout [UInt8]) {
  for byte in 0..<4 { bytes[offset + byte] = UInt8(truncatingIfNeeded: value >> UInt32(8 * byte)) }
}

func put64(_ value: UInt64, at offset: Int, in bytes: inout [UInt8]) {
  put32(UInt32(truncatingIfNeeded: value), at: offset, in: &bytes)
  put32(UInt32(truncatingIfNeeded: value >> 32), at: offset + 4, in: &bytes)
}

func get32(_ offset: Int, in bytes: [UInt8]) -> UInt32 {
  (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
}

/// The base block's checksum made right.
func checksum(_ bytes: inout [UInt8]) {
  var sum: UInt32 = 0
  for field in stride(from: 0, to: 508, by: 4) { sum ^= get32(field, in: bytes) }
  put32(sum == 0 ? 1 : sum == 0xFFFF_FFFF ? 0xFFFF_FFFE : sum, at: 508, in: &bytes)
}
