internal import Executive

/// A registry hive: keys and values in a regf file.
///
/// Stand it behind a `PushLock`: the methods that do not mutate may run on many threads at once. It trusts neither its
/// file nor its callers: every offset and every `CellIndex` is checked where it is used.
///
/// 1. A method that throws has changed nothing, except `commit`, which says what it leaves.
/// 2. Changes live in memory until `commit`; the device then holds the old hive or the new one, whatever happens.
/// 3. A key's or a value's `CellIndex` stays valid until it is deleted, or renamed to a new one.
package struct Hive: ~Copyable {
  package enum Access: Sendable {
    /// The devices are only read.
    case readOnly
    case readWrite
  }

  package let access: Access
  /// Selects the kind of lists and the big data rule; 3 to 6, and 1 and 2 for reading.
  package let minorVersion: Int
  package let rootKey: CellIndex

  var image: HiveImage
  let sortedLists: SortedLists
  let valueIndexes = ValueIndexes()
  /// Built before the first change.
  var freeCells: FreeCells?

  let device: any HiveDevice
  let log: (any HiveDevice)?
  /// Logs of earlier writers, emptied before the first commit: a recovery might prefer them to ours.
  var staleLogs: [any HiveDevice]
  /// The base block's first sector as the primary file has it.
  var baseSector: BaseBlockSector
  /// A commit failed after it had begun to change the primary file: the log holds the only whole copy.
  var isPrimaryUnfinished = false

  /// Opens the hive on `device`. `log` takes the transaction log of our commits and `otherLogs` are what else lies
  /// beside the hive; a hive that an old-format log among them can make whole is recovered: on the device for
  /// `.readWrite`, in memory for `.readOnly`.
  ///
  /// Throws `notAHive`, `dirty` when a write was not finished and cannot be recovered here, `device`, and for
  /// `.readWrite` `damaged` when the file is shorter than its bins.
  package init(
    device: any HiveDevice, access: Access, log: (any HiveDevice)? = nil, otherLogs: [any HiveDevice] = []
  ) throws(HiveError) {
    let logs = (log.map { [$0] } ?? []) + otherLogs
    let opened = try Self.open(device, access: access, logs: logs)
    self.access = access
    minorVersion = Int(opened.sector[BaseBlock.Field.minor])
    rootKey = CellIndex(rawValue: opened.sector[BaseBlock.Field.rootCell])
    self.device = device
    self.log = log
    staleLogs = otherLogs
    baseSector = opened.sector
    sortedLists = opened.sortedLists
    image = opened.image
  }

  private struct Opened: ~Copyable {
    var image: HiveImage
    let sortedLists: SortedLists
    let sector: BaseBlockSector
    let replay: DirtLog?
  }

  private static func open(
    _ device: any HiveDevice, access: Access, logs: [any HiveDevice]
  ) throws(HiveError) -> Opened {
    var opened = try load(device, logs: logs)
    if let replay = opened.replay {
      guard access == .readWrite else {
        try replay.apply(to: &opened.image)
        return opened
      }
      try replay.finish(on: device)
      return try open(device, access: access, logs: [])
    }
    guard access == .readWrite else { return opened }
    let minor = opened.sector[BaseBlock.Field.minor]
    guard minor >= 3 else { throw .notAHive(problem: "version 1.\(minor) can only be read") }
    let size = Int(opened.sector[BaseBlock.Field.binsSize])
    guard size == opened.image.binsSize, size > 0, size % HiveImage.pageSize == 0 else {
      throw .damaged(
        structure: "base block", offset: BaseBlock.Field.binsSize,
        problem: "\(size) bytes of hive bins do not match a file that has \(opened.image.binsSize)")
    }
    return opened
  }

  private static func load(_ device: any HiveDevice, logs: [any HiveDevice]) throws(HiveError) -> Opened {
    // Before anything is read: what is written meanwhile is seen at the first commit.
    device.rememberState()
    let fileSize = try device.size()
    guard fileSize >= BaseBlock.size + HiveBin.headerSize else {
      throw .notAHive(problem: "\(fileSize) bytes are too short for one")
    }
    var bytes = [UInt8](repeating: 0, count: BaseBlock.sectorSize)
    try device.read(at: 0, into: &bytes)
    var sector = BaseBlockSector(bytes)
    guard sector[BaseBlock.Field.signature] == BaseBlock.signatureRegf else {
      throw .notAHive(problem: "the signature \"regf\" is missing")
    }
    var replay: DirtLog?
    if !sector.isChecksumRight || sector.primarySequence != sector.secondarySequence {
      replay = try DirtLog.find(in: logs, for: sector, on: device)
      guard let replay else {
        throw .dirty(
          problem: sector.isChecksumRight
            ? "sequence numbers \(sector.primarySequence) and \(sector.secondarySequence) differ, "
              + "and no log that can be replayed lies beside it"
            : "the base block's checksum is wrong, and no log that can be replayed lies beside it")
      }
      sector = replay.sector
    }
    let major = sector[BaseBlock.Field.major]
    let minor = sector[BaseBlock.Field.minor]
    guard major == 1, (1...6).contains(minor) else { throw .notAHive(problem: "version \(major).\(minor)") }
    guard sector[BaseBlock.Field.fileType] == BaseBlock.FileType.primary else {
      throw .notAHive(problem: "a transaction log")
    }
    let declared = Int(sector[BaseBlock.Field.binsSize])
    let present = min(fileSize - BaseBlock.size, HiveImage.maximumBinsSize)
    // A log may hold pages behind the end of the file.
    let size = declared == 0 ? present : replay == nil ? min(declared, present) : declared
    guard size <= HiveImage.maximumBinsSize else {
      throw .damaged(structure: "base block", offset: BaseBlock.Field.binsSize, problem: "\(size) bytes of hive bins")
    }
    var image = try HiveImage(binsSize: size)
    let toRead = BaseBlock.size + min(size, present)
    try device.read(at: 0, into: image.fillableBuffer(at: 0, count: toRead))
    image.cellHeader = minor == 1 ? 8 : 4
    return Opened(image: image, sortedLists: try SortedLists(), sector: sector, replay: replay)
  }

  /// Pages of 4096 bytes that `commit` would write.
  package var dirtyPageCount: Int { image.dirty.count }

  package var hasUncommittedChanges: Bool { !image.dirty.isEmpty }

  /// Lets the files go, and their locks: for a hive that is not used any more and not destroyed yet.
  package func close() {
    device.close()
    log?.close()
    for log in staleLogs { log.close() }
  }

  /// The file that the hive lies on, nil for one in memory.
  package func fileIdentity() -> (device: UInt64, inode: UInt64)? {
    try? (device as? FileDevice)?.identity()
  }

  /// How the device is called.
  package var deviceName: String { device.name }

  /// What the hive's space is used for.
  package struct Statistics: Sendable, Hashable {
    /// Base block and hive bins.
    package var fileBytes = 0
    package var freeBytes = 0
    package var freeCells = 0
    package var cells = 0
    package var bins = 0
  }

  /// Counts as the first change has made them and kept them; before it, every cell is visited.
  package func statistics() throws(HiveError) -> Statistics {
    if let freeCells { return freeCells.statistics(fileBytes: image.count) }
    var statistics = Statistics(fileBytes: image.count)
    try image.walkCells { _ in
      statistics.bins += 1
    } _: { _, size, isAllocated in
      statistics.cells += 1
      if !isAllocated {
        statistics.freeCells += 1
        statistics.freeBytes += size
      }
    }
    return statistics
  }

  /// Runs `body` so that its error leaves the hive as it was.
  mutating func transaction<Result>(
    _ body: (inout Hive) throws(HiveError) -> Result
  ) throws(HiveError) -> Result {
    guard access == .readWrite else { throw .readOnly }
    if freeCells == nil { freeCells = try FreeCells(image) }
    image.beginTransaction()
    do {
      let result = try body(&self)
      image.endTransaction()
      return result
    } catch {
      // What is known about the bytes was learnt while they were others. A refusal before any change costs nothing.
      if image.rollBack() {
        freeCells = nil
        sortedLists.removeAll()
        valueIndexes.forgetAll()
      }
      throw error
    }
  }
}
