internal import ConfigurationManager
internal import Executive

/// Whether the kernel may keep what is read through an open directory.
package enum ListingCache: Sendable {
  case none
  /// From now on.
  case new
  /// And what it has still holds.
  case kept
}

/// What one open directory lists: the names as they were when it was read from the start.
///
/// A snapshot, not a cursor: `rm -r` deletes between two reads, and positions in a hive's lists move when it does.
package final class DirectoryStream: @unchecked Sendable {
  // SAFETY: the kernel serialises the reads of one open directory.
  private(set) var bytes: [UInt8] = []
  private(set) var entries: [Entry] = []

  /// How often the hive had been changed when the directory was read.
  var changes: UInt64 = 0

  package struct Entry: Sendable {
    package var kind: Attributes.Kind
    package var inode: UInt64
    /// The number of the key or value whose own name this is; 0 for what has a suffix, or no number.
    var identity: UInt64
    var start: Int
    var end: Int
  }

  /// The key as it was opened, where somebody wants to know of that.
  let object: KeyObject?

  package let caching: ListingCache

  init(_ object: KeyObject?, _ caching: ListingCache) {
    self.object = object
    self.caching = caching
  }

  /// It has been read.
  package var isFilled: Bool { !entries.isEmpty }

  /// Tells this listing from another: of the names and what they stand for, 31 bits.
  private var tag: UInt64 {
    if knownTag == nil { knownTag = makeTag() }
    return knownTag ?? 0
  }
  private var knownTag: UInt64?

  private func makeTag() -> UInt64 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for entry in entries { hash = (hash ^ entry.inode) &* 0x100_0000_01B3 }
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    return (hash ^ hash >> 32) & 0x7FFF_FFFF
  }

  /// The place of an entry for the kernel, which may show it to another stream: where the entry is, and in which listing.
  package func offset(ofPosition position: Int) -> Int { Int(tag << 32 | UInt64(position)) }

  /// The entry that an offset of the kernel's means. Throws ESTALE for one of a listing that is not this one: what it would give belongs to
  /// something else.
  package func position(ofOffset offset: Int) throws(Errno) -> Int {
    guard offset != 0 else { return 0 }
    guard offset > 0, UInt64(offset) >> 32 == tag else { throw .stale }
    return offset & 0xFFFF_FFFF
  }

  func reset() {
    knownTag = nil
    bytes.removeAll(keepingCapacity: true)
    entries.removeAll(keepingCapacity: true)
  }

  /// Adds an entry whose name `encode` appends.
  func append(
    inode: UInt64, _ kind: Attributes.Kind, identity: UInt64 = 0, _ encode: (inout [UInt8]) -> Void
  ) {
    let start = bytes.count
    encode(&bytes)
    entries.append(Entry(kind: kind, inode: inode, identity: identity, start: start, end: bytes.count))
    // For the C side: names end with a NUL, which no encoded name holds.
    bytes.append(0)
  }

  package var count: Int { entries.count }

  /// Calls `body` with the entry at `index` and its name, NUL-terminated.
  package func withEntry<Result>(
    at index: Int, _ body: (Entry, UnsafePointer<CChar>) -> Result
  ) -> Result? {
    guard entries.indices.contains(index) else { return nil }
    let entry = entries[index]
    return bytes.withUnsafeBytes { raw in
      raw.baseAddress.map { body(entry, ($0 + entry.start).assumingMemoryBound(to: CChar.self)) }
    }
  }
}
