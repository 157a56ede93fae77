internal import Executive

/// A registry hive: keys and values in a regf file.
///
/// Stand it behind a `PushLock`: the methods that do not mutate may run on many threads at once. It trusts neither its
/// file nor its callers: every offset and every `CellIndex` is checked where it is used.
///
/// 1. A method that throws has changed nothing, except `commit` and `reconcile`, which say what they leave.
/// 2. A change that returned is in the log: after `kill -9` the devices hold it, and after a power cut every change up to
///    some one, not before the last `TransactionLog.sync`. Without logs changes live in memory until `commit`.
/// 3. A key's or a value's `CellIndex` stays valid until it is deleted, or renamed to a new one.
package struct Hive: ~Copyable {
  package enum Access: Sendable {
    /// The devices are only read.
    case readOnly
    case readWrite
    /// As `readOnly`, but a dirty hive that no log makes whole is read as it lies: for looking at damage.
    case inspection
  }

  package let access: Access
  /// Selects the kind of lists and the big data rule; 3 to 6, and 1 and 2 for reading.
  package let minorVersion: Int
  package let rootKey: CellIndex

  var image: HiveImage
  let sortedLists: SortedLists
  let valueIndexes = ValueIndexes()
  let counts = HiveCounts()
  /// Built before the first change.
  var freeCells: FreeCells?

  let device: any HiveDevice
  /// Takes every change; nil where changes live in memory only.
  package let log: TransactionLog?
  /// Logs of earlier writers, emptied before the first change: a recovery might prefer them to ours.
  var staleLogs: [any HiveDevice]
  /// The base block's first sector as the primary file has it.
  var baseSector: BaseBlockSector
  /// A write of that sector failed: half of it may be there.
  var isHeaderUncertain = false
  /// Under way, or broken off and to be gone on with: both logs are needed.
  var reconciliation: Reconciliation?
  /// When the primary file was last looked at for changes by others; `MonotonicClock` nanoseconds.
  var lastLook: UInt64 = 0

  /// What made it whole, when it was dirty and was recovered as it was opened.
  package let recovery: Recovery?
  /// Why it could not be recovered; for `.inspection` only.
  package let unrecovered: HiveError?

  /// Opens the hive on `device`. `logs` take our changes and `otherLogs` are what else lies beside the hive; a dirty hive
  /// that these can make whole is recovered: on the device for `.readWrite`, in memory otherwise.
  ///
  /// Throws `notAHive`, `dirty` when a write was not finished and no log can make it whole, `device`, and for
  /// `.readWrite` `damaged` when the file is shorter than its bins.
  package init(
    device: any HiveDevice, access: Access, logs: LogPair? = nil, otherLogs: [any HiveDevice] = []
  ) throws(HiveError) {
    let opened = try Self.open(device, access: access, logs: (logs?.both ?? []) + otherLogs)
    self.access = access
    minorVersion = Int(opened.sector[BaseBlock.Field.minor])
    rootKey = CellIndex(rawValue: opened.sector[BaseBlock.Field.rootCell])
    self.device = device
    log = logs.map { TransactionLog($0, primary: device) }
    staleLogs = otherLogs
    baseSector = opened.sector
    sortedLists = opened.sortedLists
    recovery = opened.recovery
    unrecovered = opened.unrecovered
    image = opened.image
  }

  private struct Opened: ~Copyable {
    var image: HiveImage
    let sortedLists: SortedLists
    let sector: BaseBlockSector
    var recovery: Recovery?
    let unrecovered: HiveError?
  }

  private static func open(
    _ device: any HiveDevice, access: Access, logs: [any HiveDevice]
  ) throws(HiveError) -> Opened {
    // Before anything is read: what is written meanwhile is seen at the first change.
    device.rememberState()
    var sector = try primarySector(device)
    var replay: LogReplay?
    var unrecovered: HiveError?
    let hasSignature = sector[BaseBlock.Field.signature] == BaseBlock.signatureRegf
    // Nothing is written over a file that does not even begin like a hive.
    guard hasSignature || access != .readWrite else { throw noSignature }
    if !hasSignature || !sector.isChecksumRight || sector.primarySequence != sector.secondarySequence {
      do throws(HiveError) {
        let found = try LogReplay.find(in: logs, for: sector, on: device)
        sector = found.sector
        replay = found
      } catch {
        guard case .dirty = error else { throw error }
        guard hasSignature else { throw noSignature }
        guard access == .inspection else { throw error }
        unrecovered = error
      }
    }
    try checkVersion(sector, access)
    if let replay, access == .readWrite {
      try replay.checkSize(on: device)
      try replay.finish(on: device)
      var opened = try open(device, access: access, logs: [])
      opened.recovery = replay.report
      return opened
    }
    let image = try load(device, sector, replay)
    let size = Int(sector[BaseBlock.Field.binsSize])
    guard access != .readWrite || size == image.binsSize && size > 0 && size % HiveImage.pageSize == 0 else {
      throw .damaged(
        structure: "base block", offset: BaseBlock.Field.binsSize,
        problem: "\(size) bytes of hive bins do not match a file that has \(image.binsSize)")
    }
    return Opened(
      image: image, sortedLists: try SortedLists(), sector: sector, recovery: replay?.report, unrecovered: unrecovered)
  }

  private static func primarySector(_ device: any HiveDevice) throws(HiveError) -> BaseBlockSector {
    let fileSize = try device.size()
    guard fileSize >= BaseBlock.size + HiveBin.headerSize else {
      throw .notAHive(problem: "\(fileSize) bytes are too short for one")
    }
    var bytes = [UInt8](repeating: 0, count: BaseBlock.sectorSize)
    try device.read(at: 0, into: &bytes)
    return BaseBlockSector(bytes)
  }

  private static var noSignature: HiveError { .notAHive(problem: "the signature \"regf\" is missing") }

  private static func checkVersion(_ sector: BaseBlockSector, _ access: Access) throws(HiveError) {
    let major = sector[BaseBlock.Field.major]
    let minor = sector[BaseBlock.Field.minor]
    guard major == 1, (1...6).contains(minor) else { throw .notAHive(problem: "version \(major).\(minor)") }
    guard sector[BaseBlock.Field.fileType] == BaseBlock.FileType.primary else {
      throw .notAHive(problem: "a transaction log")
    }
    guard access != .readWrite || minor >= 3 else {
      throw .notAHive(problem: "version 1.\(minor) can only be read")
    }
  }

  /// The primary file in memory, with what `replay` makes of it.
  private static func load(
    _ device: any HiveDevice, _ sector: BaseBlockSector, _ replay: LogReplay?
  ) throws(HiveError) -> HiveImage {
    let declared = Int(sector[BaseBlock.Field.binsSize])
    let present = min(max(0, try device.size() - BaseBlock.size), HiveImage.maximumBinsSize)
    // A log may hold pages behind the end of the file.
    let size = replay?.binsSize ?? (declared == 0 ? present : min(declared, present))
    guard size <= HiveImage.maximumBinsSize else {
      throw .damaged(structure: "base block", offset: BaseBlock.Field.binsSize, problem: "\(size) bytes of hive bins")
    }
    var image = try HiveImage(binsSize: size)
    image.cellHeader = sector[BaseBlock.Field.minor] == 1 ? 8 : 4
    try device.read(at: 0, into: image.fillableBuffer(at: 0, count: BaseBlock.size + min(size, present)))
    try replay?.apply(to: &image)
    return image
  }

  /// Pages of 4096 bytes that `commit` would write, at most.
  package var dirtyPageCount: Int { image.dirty.count + (reconciliation?.pages.count ?? 0) }

  /// Whether something is in memory, and in the log, that is not in the primary file.
  package var hasUncommittedChanges: Bool { !image.dirty.isEmpty || reconciliation != nil }

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

  /// Bytes of base block and hive bins.
  package var byteCount: Int { image.count }

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

  /// Counts as the first change has made them and kept them; before it, every cell is visited, once.
  package func statistics() throws(HiveError) -> Statistics {
    if let freeCells { return freeCells.statistics(fileBytes: image.count) }
    return try counts.statistics { () throws(HiveError) in
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
  }
}
