package import Executive

/// The bringing of a log to the primary file, while the hive goes on being changed (reconcile).
///
/// The header of the primary file says with which entry a replay begins: its second sequence number. Call it N, the log
/// from N on the old one, its last entry M, and the log that begins with M + 1 the new one. In this order:
///
/// 1. The header is durable. Then changes go to the new log, whose first entry holds the first page as it is. Both logs are durable before a page of
///    the primary file is written. So a replay from N gives every change up to M at least, whatever those pages hold: each
///    of them is in an entry of the old log.
/// 2. The pages that the old log's entries hold are written as they are by then. What they have of later changes is in the
///    new log: that is made durable after the last page was written, and before the header.
/// 3. The pages are durable before the header is written. From then on a replay begins with M + 1: no page holds
///    anything older than M, and all that is newer comes from the new log, which is durable up to it (2).
/// 4. The old log is not touched before the header is durable.
/// 5. A header that was torn makes a replay use the later log alone, and take the base block from it. So no new log is begun
///    while a header may be torn (1), and when the header is written the new log is enough (2, 3).
///
/// One that fails is gone on with from the pages on: both logs are needed until the header is durable.
struct Reconciliation {
  /// Those of the old log's entries.
  let pages: DirtyVector
  /// The same, in ascending order, each short enough for one hold of the lock.
  let runs: [Range<Int>]
  /// Of the new log's first entry.
  let sequence: UInt32
  /// When the new log was begun, bytes.
  let binsSize: Int
  let time: FileTime
  /// The primary file is being written: what is seen of it is ours.
  var isWriting = false

  /// A run has as many pages at most.
  private static let longestRun = 256

  init(pages: DirtyVector, sequence: UInt32, binsSize: Int, time: FileTime) {
    var sorted = pages
    var runs: [Range<Int>] = []
    sorted.forEachRun { run in
      for start in stride(from: run.lowerBound, to: run.upperBound, by: Self.longestRun) {
        runs.append(start..<min(start + Self.longestRun, run.upperBound))
      }
    }
    self.pages = sorted
    self.runs = runs
    self.sequence = sequence
    self.binsSize = binsSize
    self.time = time
  }
}

extension Hive {
  /// Brings every change so far to the primary file and makes it durable, while others read and change the hive; for one
  /// caller at a time. The log that this frees is the next one to be written.
  ///
  /// On an error nothing is lost, and the next `reconcile` or `commit` goes on. A hive without logs, or one that takes no
  /// changes any more, is committed instead.
  package static func reconcile(behind lock: PushLock<Hive>, time: FileTime = .now()) throws(HiveError) {
    var beginning = Beginning.mustSync
    while case .mustSync = beginning {
      if let log = lock.withShared({ $0.log }), log.failure == nil { try log.sync() }
      beginning = try lock.withExclusive { (hive) throws(HiveError) in try hive.beginReconcile(time) }
    }
    guard case .begun(let log, let runs) = beginning else { return }
    do throws(HiveError) {
      try log.sync()
      var place = 0
      while place < runs {
        try lock.withShared { (hive) throws(HiveError) in place = try hive.writePages(from: place) }
      }
      log.notePrimaryWritten()
      try log.sync()
      try lock.withExclusive { (hive) throws(HiveError) in try hive.writeReconciledHeader() }
      try log.sync()
    } catch {
      lock.withExclusive { $0.leaveReconcile(isDone: false) }
      throw error
    }
    lock.withExclusive { $0.leaveReconcile(isDone: true) }
  }

  private enum Beginning {
    case done
    /// The header is not durable.
    case mustSync
    case begun(TransactionLog, runs: Int)
  }

  private mutating func beginReconcile(_ time: FileTime) throws(HiveError) -> Beginning {
    guard needsCommit || log?.failure != nil else { return .done }
    guard let log, log.failure == nil else {
      try commit(time: time)
      return .done
    }
    try checkOutside()
    if isHeaderUncertain {
      try writeHeader(dirtySector)
      log.notePrimaryWritten()
    }
    guard !log.isPrimaryPending else { return .mustSync }
    if reconciliation == nil { try switchLogs(log, time) }
    guard let reconciliation else { return .done }
    try growFile(to: reconciliation.binsSize)
    self.reconciliation?.isWriting = true
    return .begun(log, runs: reconciliation.runs.count)
  }

  /// The new log's first entry: the first page, with the time that the header will have.
  private mutating func switchLogs(_ log: TransactionLog, _ time: FileTime) throws(HiveError) {
    image.beginTransaction()
    storeLastWritten(time)
    let sequence = log.nextSequence
    var sector = baseSector
    sector.lastWritten = lastWritten
    sector[BaseBlock.Field.binsSize] = UInt32(image.binsSize)
    do throws(HiveError) {
      try log.begin(
        LogEntry(
          sequence: sequence, flags: sector[BaseBlock.Field.flags], binsSize: image.binsSize,
          runs: image.touchedRuns()),
        for: sector)
    } catch {
      _ = image.rollBack()
      throw error
    }
    image.endTransaction()
    reconciliation = Reconciliation(
      pages: image.takeDirty(), sequence: sequence, binsSize: image.binsSize, time: sector.lastWritten)
  }

  /// Writes runs of pages from the one at `place` on, about a mebibyte; the next place.
  private func writePages(from place: Int) throws(HiveError) -> Int {
    guard let runs = reconciliation?.runs else { return place + 1 }
    var place = place
    var written = 0
    while place < runs.count, written < 256 {
      try writePages(runs[place])
      written += runs[place].count
      place += 1
    }
    return place
  }

  /// Clean, or dirty from the new log on when there were changes meanwhile.
  private mutating func writeReconciledHeader() throws(HiveError) {
    guard let reconciliation else { return }
    var sector = baseSector
    sector.lastWritten = reconciliation.time
    sector[BaseBlock.Field.binsSize] = UInt32(reconciliation.binsSize)
    let isClean = image.dirty.isEmpty
    sector.setSequence(
      primary: isClean ? reconciliation.sequence : reconciliation.sequence &+ 1, secondary: reconciliation.sequence)
    try writeHeader(sector)
    log?.notePrimaryWritten()
  }

  private mutating func leaveReconcile(isDone: Bool) {
    reconciliation?.isWriting = false
    if isDone { reconciliation = nil }
    device.rememberState()
  }
}
