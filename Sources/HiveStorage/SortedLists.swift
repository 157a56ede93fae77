internal import Glibc
internal import Synchronization

/// Which keys' subkey lists were seen to be sorted as Windows sorts them: one bit a key node, set by readers.
///
/// A sorted list is searched by halves, and what is not found there is not in the list. Lists of other tools, and
/// damaged ones, may be in any order: they are read through every time. Our own changes keep a sorted list sorted.
struct SortedLists: ~Copyable, @unchecked Sendable {
  // SAFETY: the memory at `words` belongs to this value alone and is unmapped once. It is made of zeros, which is what
  // Atomic<UInt64>(0) is, and touched only through those atomics, so readers on many threads may set bits.
  private let words: UnsafeMutablePointer<Atomic<UInt64>>

  /// One bit for every multiple of 8 below the largest legal size of the bins.
  private static let size = HiveImage.maximumBinsSize / 64

  init() throws(HiveError) {
    let memory = mmap(nil, Self.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let memory, memory != MAP_FAILED else {
      throw .device(operation: "reserve memory for", name: "the hive", errno: errno)
    }
    words = memory.assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  deinit { munmap(UnsafeMutableRawPointer(words), Self.size) }

  private func place(_ key: CellIndex) -> (word: Int, bit: UInt64)? {
    let offset = Int(key.rawValue)
    guard offset < HiveImage.maximumBinsSize else { return nil }
    return (offset >> 9, 1 << UInt64((offset >> 3) & 63))
  }

  func contains(_ key: CellIndex) -> Bool {
    guard let (word, bit) = place(key) else { return false }
    return words[word].load(ordering: .relaxed) & bit != 0
  }

  func insert(_ key: CellIndex) {
    guard let (word, bit) = place(key) else { return }
    words[word].bitwiseOr(bit, ordering: .relaxed)
  }

  func remove(_ key: CellIndex) {
    guard let (word, bit) = place(key) else { return }
    words[word].bitwiseAnd(~bit, ordering: .relaxed)
  }

  /// Forgets everything; nobody else may be reading.
  func removeAll() {
    // Private anonymous memory reads as zeros after this.
    if madvise(UnsafeMutableRawPointer(words), Self.size, MADV_DONTNEED) != 0 {
      memset(UnsafeMutableRawPointer(words), 0, Self.size)
    }
  }
}
