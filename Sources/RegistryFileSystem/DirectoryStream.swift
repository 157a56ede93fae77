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

  func reset() {
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
