internal import Executive

/// A transaction log of the old format ("DIRT", Windows up to 8): the pages that a commit was writing into the primary
/// file, all or none of them valid. It is only read.
struct DirtLog {
  static let signatureDirt: UInt32 = 0x5452_4944
  static let pageSize = 512

  /// Where the pages begin in a log of `binsSize` bytes of bins.
  static func pagesOffset(binsSize: Int) -> Int {
    let end = BaseBlock.sectorSize + 4 + bitmapSize(binsSize: binsSize)
    return (end + BaseBlock.sectorSize - 1) / BaseBlock.sectorSize * BaseBlock.sectorSize
  }

  /// One bit for each 512 bytes of hive bins, lowest bit first.
  static func bitmapSize(binsSize: Int) -> Int { binsSize / HiveImage.pageSize }

  /// What the latest of the old logs makes of the hive; nil when none of them belongs to it.
  static func replay(_ heads: [LogHead], for dirty: inout DirtyHive) throws(HiveError) -> LogReplay? {
    let hiveTime = try dirty.hasBaseBlock ? dirty.sector.lastWritten : firstBinTime(dirty.device)
    for head in heads.sorted(by: { $0.sector.lastWritten > $1.sector.lastWritten }) {
      guard head.sector.lastWritten >= hiveTime else {
        try dirty.passOver(head.problem(BaseBlock.Field.lastWritten, "it was written before the hive"))
        continue
      }
      do throws(HiveError) {
        return replay(head, try runs(of: head), for: dirty)
      } catch {
        try dirty.passOver(error)
      }
    }
    return nil
  }

  private static func replay(_ head: LogHead, _ runs: [LogReplay.Run], for dirty: DirtyHive) -> LogReplay {
    // Size, root and version are the log's; what identifies the file is the primary's while that can be believed.
    var sector = dirty.hasBaseBlock ? dirty.sector : head.sector
    for field in [
      BaseBlock.Field.major, BaseBlock.Field.minor, BaseBlock.Field.rootCell, BaseBlock.Field.binsSize,
      BaseBlock.Field.lastWritten, BaseBlock.Field.lastWritten + 4, BaseBlock.Field.flags,
    ] {
      sector[field] = head.sector[field]
    }
    sector[BaseBlock.Field.fileType] = BaseBlock.FileType.primary
    let number = sector.primarySequence
    var unfinished = sector
    unfinished.setSequence(
      primary: number, secondary: dirty.hasBaseBlock ? dirty.sector.secondarySequence : number &- 1)
    sector.setSequence(primary: number, secondary: number)
    let log = Recovery.Log(
      name: head.device.name, entries: nil, bytes: runs.reduce(0) { $0 + $1.count }, sequences: nil, end: nil)
    return LogReplay(
      sector: sector, unfinished: unfinished, runs: runs, used: [head.device],
      report: Recovery(cause: dirty.cause, logs: [log], passedOver: dirty.passedOver, sequence: number))
  }

  /// The pages that the bitmap names, when the log is as long as that says.
  private static func runs(of head: LogHead) throws(HiveError) -> [LogReplay.Run] {
    let binsSize = Int(head.sector[BaseBlock.Field.binsSize])
    guard binsSize > 0, binsSize % HiveImage.pageSize == 0, binsSize <= HiveImage.maximumBinsSize else {
      throw head.problem(BaseBlock.Field.binsSize, "\(binsSize) bytes of hive bins")
    }
    var bitmap = [UInt8](repeating: 0, count: bitmapSize(binsSize: binsSize))
    let pages = pagesOffset(binsSize: binsSize)
    guard head.size >= pages else {
      throw head.problem(BaseBlock.sectorSize, "a log of \(head.size) bytes is too short for its bitmap")
    }
    try head.device.read(at: BaseBlock.sectorSize + 4, into: &bitmap)
    let count = bitmap.reduce(0) { $0 + $1.nonzeroBitCount }
    guard head.size >= pages + count * pageSize else {
      throw head.problem(pages, "a log of \(head.size) bytes is too short for its \(count) pages")
    }
    var runs: [LogReplay.Run] = []
    var inLog = pages
    var page = 0
    let end = bitmap.count * 8
    while page < end {
      guard bitmap[page >> 3] >> UInt8(page & 7) & 1 == 1 else {
        page += 1
        continue
      }
      var next = page
      while next < end, bitmap[next >> 3] >> UInt8(next & 7) & 1 == 1 { next += 1 }
      let length = (next - page) * pageSize
      runs.append(LogReplay.Run(log: head.device, logOffset: inLog, binsOffset: page * pageSize, count: length))
      inLog += length
      page = next
    }
    return runs
  }

  private static func firstBinTime(_ device: any HiveDevice) throws(HiveError) -> FileTime {
    var header = [UInt8](repeating: 0, count: BaseBlock.sectorSize)
    guard try device.size() >= BaseBlock.size + header.count else { return FileTime(rawValue: 0) }
    try device.read(at: BaseBlock.size, into: &header)
    let bin = BaseBlockSector(header)
    guard bin[0] == HiveBin.signatureHbin else { return FileTime(rawValue: 0) }
    return FileTime(
      rawValue: UInt64(bin[HiveBin.Field.lastWritten]) | UInt64(bin[HiveBin.Field.lastWritten + 4]) << 32)
  }
}
