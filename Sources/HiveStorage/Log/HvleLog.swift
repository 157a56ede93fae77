/// A transaction log of the new format ("HvLE", Windows 8.1 and later) as it is read: entries, each with the pages of one
/// flush.
///
/// An entry counts when its hashes are right and its number is the one before it and one; behind the last one lie zeros,
/// entries of earlier runs, or what was being written when the power went.
struct HvleLog {
  static let signatureHvle: UInt32 = 0x454C_7648

  enum Field {
    static let signature = 0
    static let size = 4
    static let flags = 8
    static let sequence = 12
    static let binsSize = 16
    static let pageCount = 20
    /// Of what follows the header, padding included.
    static let bodyHash = 24
    /// Of the header before this field.
    static let headerHash = 32
    static let pages = 40
  }

  private struct Entry {
    let sequence: UInt32
    /// Only bit 0 means anything: the base block's.
    let flags: UInt32
    let binsSize: Int
    let runs: [LogReplay.Run]
  }

  private let head: LogHead
  private let entries: [Entry]
  private let end: HiveError

  // MARK: Replay

  /// What new logs make of the hive; nil when none of them belongs to it.
  static func replay(_ heads: [LogHead], for dirty: inout DirtyHive) throws(HiveError) -> LogReplay? {
    var logs: [HvleLog] = []
    for head in heads { logs.append(try HvleLog(head)) }
    // Oldest first. There are two of them, or one: no order of three is asked of numbers that wrap.
    logs.sort { $0.head.sequence != $1.head.sequence && isInOrder($0.head.sequence, $1.head.sequence) }
    if dirty.hasBaseBlock {
      logs = try following(logs, for: &dirty)
    } else if let latest = logs.last(where: { !$0.entries.isEmpty }) ?? logs.last {
      // The base block cannot tell which are older: the latest one alone, whose base block is taken.
      for log in logs where log.head.device !== latest.head.device {
        try dirty.passOver(log.head.problem(0, "the base block is bad, and another log is later"))
      }
      logs = [latest]
    }
    guard let first = logs.first else { return nil }

    var sector = dirty.hasBaseBlock ? dirty.sector : first.head.sector
    sector[BaseBlock.Field.fileType] = BaseBlock.FileType.primary
    var unfinished = sector
    if !dirty.hasBaseBlock {
      unfinished.setSequence(primary: first.head.sequence &+ 1, secondary: first.head.sequence)
    }
    var next = dirty.hasBaseBlock ? dirty.sector.secondarySequence : first.head.sequence
    for entry in logs.flatMap(\.entries) {
      sector[BaseBlock.Field.binsSize] = UInt32(entry.binsSize)
      sector[BaseBlock.Field.flags] = sector[BaseBlock.Field.flags] & ~1 | entry.flags & 1
      next = entry.sequence &+ 1
    }
    // As Windows leaves it: one above the last entry.
    sector.setSequence(primary: next, secondary: next)
    let binsSize = Int(sector[BaseBlock.Field.binsSize])
    return LogReplay(
      sector: sector, unfinished: unfinished,
      runs: logs.flatMap(\.entries).flatMap(\.runs).compactMap { $0.clipped(to: binsSize) },
      used: logs.map { $0.head.device },
      report: Recovery(
        cause: dirty.cause, logs: logs.map(\.report), passedOver: dirty.passedOver, sequence: next))
  }

  /// Those that belong to the hive, each beginning where the one before it ends.
  private static func following(_ logs: [HvleLog], for dirty: inout DirtyHive) throws(HiveError) -> [HvleLog] {
    var used: [HvleLog] = []
    var next: UInt32?
    for log in logs {
      let first = log.head.sequence
      if !isInOrder(dirty.sector.secondarySequence, first) {
        try dirty.passOver(
          log.head.problem(
            BaseBlock.Field.primarySequence,
            "it begins with number \(first), the hive has all before \(dirty.sector.secondarySequence)"))
      } else if let next, first != next {
        try dirty.passOver(
          log.head.problem(
            BaseBlock.Field.primarySequence, "it begins with number \(first), the log before it ends before \(next)"))
      } else {
        used.append(log)
        next = first &+ UInt32(truncatingIfNeeded: log.entries.count)
      }
    }
    return used
  }

  /// Sequence numbers wrap: `a` is `b` or lies in the half circle before it.
  private static func isInOrder(_ a: UInt32, _ b: UInt32) -> Bool { b &- a <= 0x7FFF_FFFF }

  private var report: Recovery.Log {
    var sequences: Recovery.ClosedSequences?
    if let first = entries.first, let last = entries.last {
      sequences = Recovery.ClosedSequences(first: first.sequence, last: last.sequence)
    }
    return Recovery.Log(
      name: head.device.name, entries: entries.count,
      bytes: entries.reduce(0) { $0 + $1.runs.reduce(0) { $0 + $1.count } }, sequences: sequences, end: end)
  }

  // MARK: Reading

  private init(_ head: LogHead) throws(HiveError) {
    self.head = head
    var entries: [Entry] = []
    var offset = BaseBlock.sectorSize
    var sequence = head.sequence
    while true {
      do throws(HiveError) {
        let (entry, size) = try Self.entry(at: offset, of: head, sequence: sequence)
        entries.append(entry)
        offset += size
        sequence &+= 1
      } catch {
        guard case .damaged = error else { throw error }
        end = error
        break
      }
    }
    self.entries = entries
  }

  /// Throws `damaged` for what is no entry of this run, and `device`.
  private static func entry(
    at offset: Int, of head: LogHead, sequence: UInt32
  ) throws(HiveError) -> (entry: Entry, size: Int) {
    guard offset + Field.pages <= head.size else { throw head.problem(offset, "the log ends") }
    var header = [UInt8](repeating: 0, count: Field.pages)
    try head.device.read(at: offset, into: &header)
    guard number(header, Field.signature) == signatureHvle else {
      throw head.problem(offset, "the signature \"HvLE\" is missing")
    }
    let found = number(header, Field.sequence)
    guard found == sequence else { throw head.problem(offset, "an entry with number \(found), not \(sequence)") }
    let size = Int(number(header, Field.size))
    guard size >= BaseBlock.sectorSize, size % BaseBlock.sectorSize == 0, offset + size <= head.size else {
      throw head.problem(offset, "an entry of \(size) bytes, in a log of \(head.size)")
    }
    let binsSize = Int(number(header, Field.binsSize))
    guard binsSize > 0, binsSize % HiveImage.pageSize == 0, binsSize <= HiveImage.maximumBinsSize else {
      throw head.problem(offset, "an entry for \(binsSize) bytes of hive bins")
    }
    let pageCount = Int(number(header, Field.pageCount))
    guard pageCount > 0, Field.pages + 8 * pageCount <= size else {
      throw head.problem(offset, "an entry of \(size) bytes with \(pageCount) runs of pages")
    }
    guard hash(header.prefix(Field.headerHash)) == wide(header, Field.headerHash) else {
      throw head.problem(offset, "the hash of the entry's header is wrong")
    }
    guard try hash(head, offset + Field.pages, size - Field.pages) == wide(header, Field.bodyHash) else {
      throw head.problem(offset, "the hash of the entry's pages is wrong")
    }
    var list = [UInt8](repeating: 0, count: 8 * pageCount)
    try head.device.read(at: offset + Field.pages, into: &list)
    var runs: [LogReplay.Run] = []
    var inEntry = Field.pages + list.count
    for place in stride(from: 0, to: list.count, by: 8) {
      let count = Int(number(list, place + 4))
      guard count <= size - inEntry else { throw head.problem(offset, "the entry's pages do not fit it") }
      runs.append(
        LogReplay.Run(
          log: head.device, logOffset: offset + inEntry, binsOffset: Int(number(list, place)), count: count))
      inEntry += count
    }
    let entry = Entry(sequence: sequence, flags: number(header, Field.flags), binsSize: binsSize, runs: runs)
    return (entry, size)
  }

  /// Of `count` bytes of the log, read in pieces.
  private static func hash(_ head: LogHead, _ offset: Int, _ count: Int) throws(HiveError) -> UInt64 {
    var hash = Marvin32()
    var done = 0
    var piece = [UInt8](repeating: 0, count: min(1 << 20, count))
    while done < count {
      if piece.count > count - done { piece.removeLast(piece.count - (count - done)) }
      try head.device.read(at: offset + done, into: &piece)
      piece.withUnsafeBytes { hash.update($0) }
      done += piece.count
    }
    return hash.value
  }

  private static func hash(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    var hash = Marvin32()
    bytes.withUnsafeBytes { hash.update($0) }
    return hash.value
  }

  private static func number(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
    (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
  }

  private static func wide(_ bytes: [UInt8], _ offset: Int) -> UInt64 {
    UInt64(number(bytes, offset)) | UInt64(number(bytes, offset + 4)) << 32
  }
}

extension LogReplay.Run {
  /// Without what lies behind the hive bins: a later entry may have made them smaller.
  fileprivate func clipped(to binsSize: Int) -> LogReplay.Run? {
    guard count > 0, binsOffset < binsSize else { return nil }
    return LogReplay.Run(
      log: log, logOffset: logOffset, binsOffset: binsOffset, count: min(count, binsSize - binsOffset))
  }
}
