package import Executive

extension Hive {
  /// Whether the primary file differs from what is in memory, or says that it does.
  var needsCommit: Bool { hasUncommittedChanges || !isHeaderClean || isHeaderUncertain }

  /// Brings every change to the primary file and leaves it clean, and the logs empty: for the end, and for hives without
  /// logs. The hive is held all the while; `reconcile` is for a hive in use.
  ///
  /// On an error the next `commit` tries again, and the log still has what it had: the device holds the old hive, or one
  /// that its log makes the new hive. Without logs a power cut in the middle leaves a mixture. `changedOutside`, when
  /// somebody else has changed the file, comes before anything is written.
  ///
  /// After a failure that stopped changes it tries all the same, and changes are taken again when it has succeeded. Were
  /// that failure the log's, and the power cut in the middle of this, nothing may make the hive whole.
  package mutating func commit(time: FileTime = .now()) throws(HiveError) {
    guard access == .readWrite else { throw .readOnly }
    if needsCommit {
      try checkOutside()
      do throws(HiveError) {
        try writeAll(time: time)
      } catch {
        // Whatever was written of it, was written by us.
        device.rememberState()
        throw error
      }
      // After the last sync: file systems that keep the time of writing for later have told it by now.
      device.rememberState()
    }
    log?.end()
  }

  private mutating func writeAll(time: FileTime) throws(HiveError) {
    // Without pages only a header is on the way: it failed before.
    if hasUncommittedChanges { try writeDirtyPages(time: time) }
    var sector = baseSector
    sector.lastWritten = lastWritten
    sector[BaseBlock.Field.binsSize] = UInt32(image.binsSize)
    let next = log.map(\.nextSequence) ?? baseSector.secondarySequence &+ 1
    sector.setSequence(primary: next, secondary: next)
    do throws(HiveError) {
      try writeHeader(sector)
      try device.sync()
    } catch {
      // It is on the disk, or not: a replay might pass over the log that is written, so no change may come into it.
      isHeaderUncertain = true
      log?.stop(error)
      throw error
    }
  }

  /// And makes them durable.
  private mutating func writeDirtyPages(time: FileTime) throws(HiveError) {
    try growFile(to: image.binsSize)
    if let log, log.failure == nil {
      try log.sync()
      if reconciliation == nil { try log.emptyUnused() }
    } else {
      // That the hive is dirty is on the disk before a page is.
      try writeHeader(dirtySector)
      try device.sync()
    }
    try setLastWritten(time)
    var pages = image.dirty
    reconciliation?.pages.forEach { pages.insert($0) }
    var runs: [Range<Int>] = []
    pages.forEachRun { runs.append($0) }
    for run in runs { try writePages(run) }
    try device.sync()
    _ = image.takeDirty()
    reconciliation = nil
  }

  /// Of the first bin, where a spare copy of the base block's lies.
  var lastWritten: FileTime {
    FileTime(rawValue: image.load(UInt64.self, at: BaseBlock.size + HiveBin.Field.lastWritten))
  }

  /// Not in the log: a replay leaves the time as it was before. A clock that was set back counts for nothing.
  private mutating func setLastWritten(_ time: FileTime) throws(HiveError) {
    image.beginTransaction()
    storeLastWritten(time)
    image.endTransaction()
  }

  /// Inside a transaction.
  mutating func storeLastWritten(_ time: FileTime) {
    image.store(max(time, baseSector.lastWritten).rawValue, at: BaseBlock.size + HiveBin.Field.lastWritten)
  }

  /// A file that is longer than its bins is legal: a full disk shows here, before anything is written.
  func growFile(to binsSize: Int) throws(HiveError) {
    let size = BaseBlock.size + binsSize
    if try device.size() < size { try device.resize(to: size) }
  }

  func writePages(_ run: Range<Int>) throws(HiveError) {
    let start = BaseBlock.size + run.lowerBound * HiveImage.pageSize
    try device.write(image.buffer(at: start, count: run.count * HiveImage.pageSize), at: start)
  }
}
