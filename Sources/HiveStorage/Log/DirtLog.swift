internal import Executive

/// A transaction log of the old format ("DIRT", Windows up to 8, and our own commits): the pages that a commit was
/// writing into the primary file, all or none of them valid.
struct DirtLog {
  static let signatureDirt: UInt32 = 0x5452_4944
  static let signatureHvle: UInt32 = 0x454C_7648
  static let pageSize = 512

  /// The base block's first sector as it is when the commit is finished.
  let sector: BaseBlockSector
  let device: any HiveDevice
  /// One bit for each 512 bytes of hive bins, lowest bit first.
  let bitmap: [UInt8]

  var binsSize: Int { Int(sector[BaseBlock.Field.binsSize]) }

  /// Where the pages begin in a log of `binsSize` bytes of bins.
  static func pagesOffset(binsSize: Int) -> Int {
    let end = BaseBlock.sectorSize + 4 + bitmapSize(binsSize: binsSize)
    return (end + BaseBlock.sectorSize - 1) / BaseBlock.sectorSize * BaseBlock.sectorSize
  }

  static func bitmapSize(binsSize: Int) -> Int { binsSize / HiveImage.pageSize }

  /// The log that makes the dirty hive on `device` whole, the latest one first; nil when there is none. Logs of the new
  /// format outrank old ones, and their replay is not here yet: `dirty` is thrown.
  static func find(
    in logs: [any HiveDevice], for primary: BaseBlockSector, on device: any HiveDevice
  ) throws(HiveError) -> DirtLog? {
    var best: DirtLog?
    let hiveTime = try primary.isChecksumRight ? primary.lastWritten : firstBinTime(device)
    for log in logs {
      guard try log.size() >= 2 * BaseBlock.sectorSize else { continue }
      var head = [UInt8](repeating: 0, count: 2 * BaseBlock.sectorSize)
      try log.read(at: 0, into: &head)
      let sector = BaseBlockSector(head)
      guard sector[BaseBlock.Field.signature] == BaseBlock.signatureRegf, sector.isChecksumRight,
        sector.primarySequence == sector.secondarySequence
      else { continue }
      let body = BaseBlockSector(head.dropFirst(BaseBlock.sectorSize))[0]
      if sector[BaseBlock.Field.fileType] == BaseBlock.FileType.newLog, body == signatureHvle {
        throw .dirty(
          problem: "sequence numbers \(primary.primarySequence) and \(primary.secondarySequence) differ; "
            + "its log \(log.name) is of the new format, which cannot be replayed yet")
      }
      guard BaseBlock.FileType.oldLogs.contains(sector[BaseBlock.Field.fileType]), body == signatureDirt,
        sector.lastWritten >= hiveTime, best.map({ sector.lastWritten > $0.sector.lastWritten }) ?? true
      else { continue }
      if let found = try read(log, head: sector, primary: primary) { best = found }
    }
    return best
  }

  /// The log with its bitmap, when it is as long as that says.
  private static func read(
    _ log: any HiveDevice, head: BaseBlockSector, primary: BaseBlockSector
  ) throws(HiveError) -> DirtLog? {
    let binsSize = Int(head[BaseBlock.Field.binsSize])
    guard binsSize > 0, binsSize % HiveImage.pageSize == 0, binsSize <= HiveImage.maximumBinsSize else { return nil }
    var bitmap = [UInt8](repeating: 0, count: bitmapSize(binsSize: binsSize))
    let pages = pagesOffset(binsSize: binsSize)
    let logSize = try log.size()
    guard logSize >= pages else { return nil }
    try log.read(at: BaseBlock.sectorSize + 4, into: &bitmap)
    let count = bitmap.reduce(0) { $0 + $1.nonzeroBitCount }
    guard logSize >= pages + count * pageSize else { return nil }
    // Size, root and version are the log's; what identifies the file is the primary's while that can be believed.
    var sector = primary.isChecksumRight ? primary : head
    for field in [
      BaseBlock.Field.major, BaseBlock.Field.minor, BaseBlock.Field.rootCell, BaseBlock.Field.binsSize,
      BaseBlock.Field.lastWritten, BaseBlock.Field.lastWritten + 4, BaseBlock.Field.flags,
    ] {
      sector[field] = head[field]
    }
    sector[BaseBlock.Field.fileType] = BaseBlock.FileType.primary
    sector.setSequence(primary: sector.primarySequence, secondary: sector.primarySequence)
    return DirtLog(sector: sector, device: log, bitmap: bitmap)
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

  /// Calls `body` with the place of every run of pages in the bins and in the log, and its length, in bytes.
  private func forEachRun(_ body: (_ bins: Int, _ log: Int, _ count: Int) throws(HiveError) -> Void) throws(HiveError) {
    var inLog = Self.pagesOffset(binsSize: binsSize)
    var page = 0
    let end = bitmap.count * 8
    while page < end {
      guard bitmap[page >> 3] >> UInt8(page & 7) & 1 == 1 else {
        page += 1
        continue
      }
      var next = page
      // A bound, so that a log of a gigabyte does not need another gigabyte of memory.
      while next < end, next - page < 2048, bitmap[next >> 3] >> UInt8(next & 7) & 1 == 1 { next += 1 }
      let count = (next - page) * Self.pageSize
      try body(page * Self.pageSize, inLog, count)
      inLog += count
      page = next
    }
  }

  /// Replays the log in memory: the devices stay as they are.
  func apply(to image: inout HiveImage) throws(HiveError) {
    image.resize(binsSize: binsSize)
    let base = sector.bytes
    base.withUnsafeBytes { bytes in
      image.fillableBuffer(at: 0, count: bytes.count).copyMemory(from: bytes)
    }
    try forEachRun { (bins, log, count) throws(HiveError) in
      try device.read(at: log, into: image.fillableBuffer(at: BaseBlock.size + bins, count: count))
    }
  }

  /// Replays the log on the primary file and makes that clean. Done twice, it does the same.
  func finish(on primary: any HiveDevice) throws(HiveError) {
    if try primary.size() < BaseBlock.size + binsSize { try primary.resize(to: BaseBlock.size + binsSize) }
    // That it is dirty may be known to the page cache only: no page may reach the disk before that does.
    var dirty = sector
    dirty.setSequence(primary: sector.primarySequence, secondary: sector.primarySequence &- 1)
    try primary.write(dirty.bytes, at: 0)
    try primary.sync()
    try forEachRun { (bins, log, count) throws(HiveError) in
      var pages = [UInt8](repeating: 0, count: count)
      try device.read(at: log, into: &pages)
      try primary.write(pages, at: BaseBlock.size + bins)
    }
    try primary.sync()
    try primary.write(sector.bytes, at: 0)
    try primary.sync()
  }
}
