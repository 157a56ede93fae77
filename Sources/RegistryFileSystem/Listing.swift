/// The names in a directory, one behind the other, and what they stand for.
package struct Listing: Sendable {
  package struct Entry: Sendable {
    package var kind: Attributes.Kind
    package var inode: UInt64
    /// The number of the key or value whose own name this is; 0 for what has a suffix, or no number.
    var identity: UInt64
    var start: Int
    var end: Int
  }

  private var bytes: [UInt8] = []
  private var entries: [Entry] = []
  /// How often the hive had been changed when the directory was read.
  var changes: UInt64 = 0

  /// Room for what most directories have: growing would copy it several times.
  init() {
    bytes.reserveCapacity(512)
    entries.reserveCapacity(24)
  }

  var count: Int { entries.count }

  /// Tells this listing from another: of the names and what they stand for, 31 bits.
  var tag: UInt64 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for entry in entries { hash = (hash ^ entry.inode) &* 0x100_0000_01B3 }
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    return (hash ^ hash >> 32) & 0x7FFF_FFFF
  }

  /// Adds an entry whose name `encode` appends.
  mutating func append(inode: UInt64, _ kind: Attributes.Kind, identity: UInt64 = 0, _ encode: (inout [UInt8]) -> Void) {
    let start = bytes.count
    encode(&bytes)
    entries.append(Entry(kind: kind, inode: inode, identity: identity, start: start, end: bytes.count))
    // For the C side: names end with a NUL, which no encoded name holds.
    bytes.append(0)
  }

  /// Calls `body` with the entry at `index` and its name, NUL-terminated.
  func withEntry<Result>(at index: Int, _ body: (Entry, UnsafePointer<CChar>) -> Result) -> Result? {
    guard entries.indices.contains(index) else { return nil }
    let entry = entries[index]
    return bytes.withUnsafeBytes { raw in
      raw.baseAddress.map { body(entry, ($0 + entry.start).assumingMemoryBound(to: CChar.self)) }
    }
  }
}
