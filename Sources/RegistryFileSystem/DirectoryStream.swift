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
  private(set) var listing: Listing?
  /// Of the listing.
  private var tag: UInt64 = 0

  /// The key as it was opened, where somebody wants to know of that.
  let object: KeyObject?

  package let caching: ListingCache

  init(_ object: KeyObject?, _ caching: ListingCache) {
    self.object = object
    self.caching = caching
  }

  /// It has been read.
  package var isFilled: Bool { listing != nil }

  func fill(with listing: Listing) {
    self.listing = listing
    tag = listing.tag
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

  package var count: Int { listing?.count ?? 0 }

  /// Calls `body` with the entry at `index` and its name, NUL-terminated.
  package func withEntry<Result>(
    at index: Int, _ body: (Listing.Entry, UnsafePointer<CChar>) -> Result
  ) -> Result? {
    listing?.withEntry(at: index, body) ?? nil
  }
}
