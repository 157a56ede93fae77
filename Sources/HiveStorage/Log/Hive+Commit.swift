package import Executive

extension Hive {
  /// Brings every change to the device, as Windows up to 8 does it: the log in full, made durable; the first sequence
  /// number; the pages, made durable; the second sequence number.
  ///
  /// On an error the changes stay uncommitted and the next `commit` tries again; the device holds the old hive, or one
  /// that its log makes the new hive. `changedOutside`, when somebody else has changed the file, comes before anything
  /// is written.
  package mutating func commit(time: FileTime = .now()) throws(HiveError) {
    guard access == .readWrite else { throw .readOnly }
    guard hasUncommittedChanges else { return }
    try refuseOutsideChange()
    do throws(HiveError) {
      try write(time: time)
    } catch {
      // Whatever was written of it, was written by us.
      device.rememberState()
      throw error
    }
    // After the last sync: file systems that keep the time of writing for later have told it by now.
    device.rememberState()
  }

  private mutating func write(time: FileTime) throws(HiveError) {
    try finishInterruptedCommit()
    try emptyStaleLogs()
    // A log older than its hive is not replayed: a clock that was set back must not make it so.
    let time = max(time, baseSector.lastWritten)
    // The first bin has a spare copy of the base block's time; recovery compares them.
    image.store(time.rawValue, at: BaseBlock.size + HiveBin.Field.lastWritten)
    var sector = baseSector
    let before = sector.secondarySequence
    let after = before &+ 1
    sector.lastWritten = time
    sector[BaseBlock.Field.binsSize] = UInt32(image.binsSize)
    sector.setSequence(primary: after, secondary: before)
    let runs = image.dirty.runs
    if let log { try write(runs, to: log, sector: sector) }

    // A file that is longer than its bins is legal: a full disk shows here, while the hive is still clean.
    if try device.size() < image.count { try device.resize(to: image.count) }
    isPrimaryUnfinished = true
    try device.write(sector.bytes, at: 0)
    try device.sync()
    for run in runs {
      let start = BaseBlock.size + run.lowerBound * HiveImage.pageSize
      try device.write(image.buffer(at: start, count: run.count * HiveImage.pageSize), at: start)
    }
    try device.sync()
    sector.setSequence(primary: after, secondary: after)
    try device.write(sector.bytes, at: 0)
    try device.sync()
    isPrimaryUnfinished = false
    baseSector = sector
    image.clearDirty()
  }

  private func refuseOutsideChange() throws(HiveError) {
    guard let change = try device.outsideChange() else { return }
    // A new owner or another link is no reason to refuse; a time of writing that was set back is. The pages that we have
    // not changed tell, unless a commit of ours stopped half way in them.
    if change == .attributes {
      let isOurs = try isPrimaryUnfinished ? true : cleanPagesAreAsWritten()
      if isOurs { return device.rememberState() }
    }
    throw .changedOutside(name: device.name, change: change)
  }

  /// Compares the file with every page in memory that has no uncommitted change.
  private func cleanPagesAreAsWritten() throws(HiveError) -> Bool {
    let pages = Int(baseSector[BaseBlock.Field.binsSize]) / HiveImage.pageSize
    var page = 0
    while page < pages {
      guard !image.dirty.contains(page) else {
        page += 1
        continue
      }
      var next = page + 1
      while next < pages, next - page < 256, !image.dirty.contains(next) { next += 1 }
      let start = BaseBlock.size + page * HiveImage.pageSize
      var bytes = [UInt8](repeating: 0, count: (next - page) * HiveImage.pageSize)
      try device.read(at: start, into: &bytes)
      guard image.buffer(at: start, count: bytes.count).elementsEqual(bytes) else { return false }
      page = next
    }
    return true
  }

  /// After a commit that failed half way only the log is whole: the primary file is finished from it before the log is
  /// written anew.
  private mutating func finishInterruptedCommit() throws(HiveError) {
    guard isPrimaryUnfinished, let log else { return }
    var head = baseSector
    head.setSequence(primary: baseSector.secondarySequence &+ 1, secondary: baseSector.secondarySequence)
    let replay = try LogReplay.find(in: [log], for: head, on: device)
    try replay.finish(on: device)
    baseSector = replay.sector
    isPrimaryUnfinished = false
  }

  private mutating func emptyStaleLogs() throws(HiveError) {
    for stale in staleLogs where try stale.size() > 0 {
      try stale.resize(to: 0)
      try stale.sync()
    }
    staleLogs = []
  }

  private func write(_ runs: [Range<Int>], to log: any HiveDevice, sector: BaseBlockSector) throws(HiveError) {
    var head = sector
    head[BaseBlock.Field.fileType] = BaseBlock.FileType.oldLogs.lowerBound
    head.setSequence(primary: sector.primarySequence, secondary: sector.primarySequence)
    var bytes = head.bytes
    withUnsafeBytes(of: DirtLog.signatureDirt.littleEndian) { bytes.append(contentsOf: $0) }
    var bitmap = [UInt8](repeating: 0, count: DirtLog.bitmapSize(binsSize: image.binsSize))
    // A byte of the vector is eight sectors, one page of ours.
    for run in runs { for page in run { bitmap[page] = 0xFF } }
    bytes.append(contentsOf: bitmap)
    let pages = DirtLog.pagesOffset(binsSize: image.binsSize)
    bytes.append(contentsOf: repeatElement(0, count: pages - bytes.count))
    try log.write(bytes, at: 0)
    var place = pages
    for run in runs {
      let count = run.count * HiveImage.pageSize
      try log.write(image.buffer(at: BaseBlock.size + run.lowerBound * HiveImage.pageSize, count: count), at: place)
      place += count
    }
    try log.sync()
  }
}
