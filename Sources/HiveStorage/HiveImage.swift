internal import Glibc

/// The whole primary file in memory, as it will be written: the base block, then the hive bins.
///
/// 1. It lies in one reservation that holds the largest legal hive, so growing never moves a byte.
/// 2. Every change goes through `store`, `copy`, `move` or `clear`, inside a transaction: the pages that it touches are
///    noted, and the old bytes kept for `rollBack`. With the transaction's end these pages become dirty.
/// 3. Offsets are file offsets in bytes; loads and stores outside base block and bins are our bugs and trap.
struct HiveImage: ~Copyable, @unchecked Sendable {
  // SAFETY: the memory at `base` belongs to this value alone and is unmapped once, in deinit. Reading methods only load
  // from it; changing it takes a mutating method, so the law of exclusivity (a PushLock around the hive) orders them.

  /// Bit 31 of an offset marks volatile storage, so the bins end below it.
  static let maximumBinsSize = 0x8000_0000
  static let pageSize = 4096

  private let base: UnsafeMutableRawPointer
  /// Bytes of hive bins.
  private(set) var binsSize: Int
  /// Bytes before a cell's payload: the size, and in version 1.1 the previous cell.
  var cellHeader = 4
  /// Where cells begin, one bit for every 8 bytes of bins; nil before the first change.
  var cellStarts: Bitmap?
  /// Pages that differ from the primary file.
  private(set) var dirty = DirtyVector()
  /// Pages that the transaction has changed.
  private(set) var touched = DirtyVector()
  private var undo: UndoLog?

  init(binsSize: Int) throws(HiveError) {
    precondition(binsSize >= 0 && binsSize <= Self.maximumBinsSize)
    let reservation = BaseBlock.size + Self.maximumBinsSize
    // Anonymous memory costs nothing until it is touched.
    let memory = mmap(
      nil, reservation, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let memory, memory != MAP_FAILED else {
      throw .device(operation: "reserve memory for", name: "the hive", errno: errno)
    }
    base = memory
    self.binsSize = binsSize
  }

  deinit { munmap(base, BaseBlock.size + Self.maximumBinsSize) }

  /// Bytes of base block and bins.
  var count: Int { BaseBlock.size + binsSize }

  // MARK: Reading

  @inline(__always)
  func load<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type, at offset: Int) -> T {
    precondition(offset >= 0 && offset + MemoryLayout<T>.size <= count)
    // SAFETY: inside the reservation, by the line above; every bit pattern is an integer.
    return T(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: T.self))
  }

  @_lifetime(borrow self)
  func bytes(at offset: Int, count: Int) -> RawSpan {
    precondition(offset >= 0 && count >= 0 && offset + count <= self.count)
    // SAFETY: inside the reservation, which lives as long as self, the owner that the span's lifetime is tied to.
    return _overrideLifetime(
      RawSpan(_unsafeStart: UnsafeRawPointer(base + offset), byteCount: count), borrowing: self)
  }

  /// The bytes for C and for devices; they must not be kept longer than this value.
  func buffer(at offset: Int, count: Int) -> UnsafeRawBufferPointer {
    precondition(offset >= 0 && count >= 0 && offset + count <= self.count)
    return UnsafeRawBufferPointer(start: base + offset, count: count)
  }

  // MARK: Filling, before the hive is in use

  /// The bytes to read the file or a log's pages into: no page becomes dirty.
  mutating func fillableBuffer(at offset: Int, count: Int) -> UnsafeMutableRawBufferPointer {
    precondition(offset >= 0 && count >= 0 && offset + count <= self.count)
    return UnsafeMutableRawBufferPointer(start: base + offset, count: count)
  }

  mutating func resize(binsSize: Int) {
    precondition(binsSize >= 0 && binsSize <= Self.maximumBinsSize)
    // What lay behind the old end may be left from a change that was rolled back.
    if binsSize > self.binsSize { memset(base + count, 0, binsSize - self.binsSize) }
    self.binsSize = binsSize
  }

  // MARK: Changing

  mutating func store<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at offset: Int) {
    touch(offset, MemoryLayout<T>.size)
    // SAFETY: `touch` checked the range.
    base.storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
  }

  mutating func copy(_ bytes: UnsafeRawBufferPointer, to offset: Int) {
    touch(offset, bytes.count)
    if let source = bytes.baseAddress { memmove(base + offset, source, bytes.count) }
  }

  mutating func move(from source: Int, to target: Int, count: Int) {
    precondition(source >= 0 && count >= 0 && source + count <= self.count)
    touch(target, count)
    memmove(base + target, base + source, count)
  }

  mutating func clear(at offset: Int, count: Int) {
    touch(offset, count)
    memset(base + offset, 0, count)
  }

  /// Notes pages as changed by the transaction, with whatever bytes they have.
  mutating func markTouched(at offset: Int, count: Int) {
    guard count > 0 else { return }
    let first = (offset - BaseBlock.size) / Self.pageSize
    let last = (offset + count - 1 - BaseBlock.size) / Self.pageSize
    for page in first...last { touched.insert(page) }
  }

  /// Who takes the pages brings them to the primary file.
  mutating func takeDirty() -> DirtyVector {
    defer { dirty = DirtyVector() }
    return dirty
  }

  private mutating func touch(_ offset: Int, _ count: Int) {
    precondition(offset >= BaseBlock.size && count >= 0 && offset + count <= self.count)
    precondition(undo != nil, "a change outside a transaction")
    undo?.save(offset, UnsafeRawBufferPointer(start: base + offset, count: count))
    markTouched(at: offset, count: count)
  }

  // MARK: Transactions

  var isInTransaction: Bool { undo != nil }

  mutating func beginTransaction() {
    precondition(undo == nil)
    undo = UndoLog(binsSize: binsSize)
  }

  mutating func endTransaction() {
    touched.forEach { dirty.insert($0) }
    touched.removeAll()
    undo = nil
  }

  /// Gives every byte changed since `beginTransaction` its old value, last change first; false when there was none.
  mutating func rollBack() -> Bool {
    guard let undo else { return false }
    undo.putBack(into: UnsafeMutableRawBufferPointer(start: base, count: count), at: 0)
    let hadGrown = binsSize != undo.binsSize
    binsSize = undo.binsSize
    touched.removeAll()
    self.undo = nil
    return hadGrown || !undo.entries.isEmpty
  }

  /// The pages that the transaction has changed, as a log takes them.
  mutating func touchedRuns() -> [LogEntry.Run] {
    var runs: [LogEntry.Run] = []
    var pages = DirtyVector()
    swap(&pages, &touched)
    pages.forEachRun { run in
      let start = run.lowerBound * Self.pageSize
      runs.append(
        LogEntry.Run(binsOffset: start, bytes: buffer(at: BaseBlock.size + start, count: run.count * Self.pageSize)))
    }
    swap(&pages, &touched)
    return runs
  }

  /// The first page of the bins and their size as they were before the transaction.
  var beforeTransaction: (firstPage: [UInt8], binsSize: Int) {
    var page = [UInt8](buffer(at: BaseBlock.size, count: Self.pageSize))
    page.withUnsafeMutableBytes { undo?.putBack(into: $0, at: BaseBlock.size) }
    return (page, undo?.binsSize ?? binsSize)
  }
}

/// The bytes that a transaction overwrote.
private struct UndoLog {
  let binsSize: Int
  var entries: [(offset: Int, range: Range<Int>)] = []
  var bytes: [UInt8] = []

  /// Room for what most changes overwrite: growing would copy it several times.
  init(binsSize: Int) {
    self.binsSize = binsSize
    entries.reserveCapacity(32)
    bytes.reserveCapacity(512)
  }

  mutating func save(_ offset: Int, _ old: UnsafeRawBufferPointer) {
    // Bytes behind the old end of the bins need no keeping.
    guard !old.isEmpty, offset < BaseBlock.size + binsSize else { return }
    let start = bytes.count
    bytes.append(contentsOf: old)
    entries.append((offset, start..<bytes.count))
  }

  /// Gives the bytes from file offset `start` on, as many as `target` holds, their old values, last change first.
  func putBack(into target: UnsafeMutableRawBufferPointer, at start: Int) {
    bytes.withUnsafeBytes { saved in
      for (offset, range) in entries.reversed() {
        let first = max(offset, start)
        let end = min(offset + range.count, start + target.count)
        guard first < end else { continue }
        let old = saved[range.lowerBound + first - offset..<range.lowerBound + end - offset]
        UnsafeMutableRawBufferPointer(rebasing: target[first - start..<end - start])
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: old))
      }
    }
  }
}
