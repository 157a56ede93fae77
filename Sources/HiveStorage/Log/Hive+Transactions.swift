internal import Executive

// Every change is a transaction, and every transaction an entry of the log.

extension Hive {
  /// Runs `body` as one change: it is done, and in the log, when this returns, and when it throws the hive is as it was.
  /// What `body` changes joins it; an error of that must leave `body`.
  ///
  /// Throws what `body` does, `device` when the log cannot be written, `changedOutside`, and `stopped` after a failure
  /// that is not just a full disk.
  package mutating func transaction<Result>(
    _ body: (inout Hive) throws(HiveError) -> Result
  ) throws(HiveError) -> Result {
    guard access == .readWrite else { throw .readOnly }
    guard !image.isInTransaction else { return try body(&self) }
    if let log {
      if let failure = log.failure { throw .stopped(failure) }
      let size = log.size
      guard size < log.limits.largest else {
        throw .limit(problem: "the transaction log has \(size) bytes and cannot be brought to the hive's file")
      }
    }
    if freeCells == nil { freeCells = try FreeCells(&image) }
    image.beginTransaction()
    do {
      let result = try body(&self)
      try logTransaction()
      image.endTransaction()
      return result
    } catch {
      // What is known about the bytes was learnt while they were others. A refusal before any change costs nothing.
      if image.rollBack() {
        freeCells = nil
        sortedLists.removeAll()
        valueIndexes.forgetAll()
        counts.forget()
      }
      throw error
    }
  }

  /// Hands the transaction's pages to the log.
  private mutating func logTransaction() throws(HiveError) {
    guard let log, !image.touched.isEmpty else { return }
    do throws(HiveError) {
      try lookOutside(atMostEvery: Self.lookInterval)
      if !log.isBegun { try begin(log) }
      if isHeaderClean || isHeaderUncertain {
        try writeHeader(dirtySector)
        log.notePrimaryWritten()
      }
      try log.append(
        LogEntry(
          sequence: log.nextSequence, flags: baseSector[BaseBlock.Field.flags], binsSize: image.binsSize,
          runs: image.touchedRuns()))
    } catch {
      if !error.isPassing { log.stop(error) }
      throw error
    }
  }

  /// Before the first change: a log that makes the hive what it is now, durable before the header can say that there is
  /// one. Its one entry holds the first page as it was, for readers that take a log without entries for none.
  private mutating func begin(_ log: TransactionLog) throws(HiveError) {
    try refuseOutsideChange()
    try emptyStaleLogs()
    try log.emptyUnused()
    let before = image.beforeTransaction
    var failure: HiveError?
    before.firstPage.withUnsafeBytes { page in
      let entry = LogEntry(
        sequence: baseSector.secondarySequence, flags: baseSector[BaseBlock.Field.flags], binsSize: before.binsSize,
        runs: [LogEntry.Run(binsOffset: 0, bytes: page)])
      do throws(HiveError) { try log.begin(entry, for: baseSector) } catch { failure = error }
    }
    if let failure { throw failure }
    try log.sync()
  }

  private mutating func emptyStaleLogs() throws(HiveError) {
    for stale in staleLogs { try TransactionLog.empty(stale) }
    staleLogs = []
  }

  var isHeaderClean: Bool { baseSector.primarySequence == baseSector.secondarySequence }

  /// With the sequence numbers of a hive that is being written.
  var dirtySector: BaseBlockSector {
    var sector = baseSector
    sector.setSequence(primary: sector.secondarySequence &+ 1, secondary: sector.secondarySequence)
    return sector
  }

  /// Without a sync.
  mutating func writeHeader(_ sector: BaseBlockSector) throws(HiveError) {
    // Whatever was written of it, was written by us.
    defer { if reconciliation?.isWriting != true { device.rememberState() } }
    isHeaderUncertain = true
    try device.write(sector.bytes, at: 0)
    isHeaderUncertain = false
    baseSector = sector
  }
}
