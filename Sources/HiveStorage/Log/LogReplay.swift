/// How a dirty hive becomes whole: pages of its logs, in the order in which they are written, and the base block that
/// goes with them.
///
/// 1. Done twice, or broken off anywhere and begun again from what is on the disk then, it ends the same.
/// 2. Every run lies inside the hive bins of `sector`, and inside its log as that was when it was read.
struct LogReplay {
  /// Pages that follow each other in the log and in the bins; all numbers are bytes.
  struct Run {
    let log: any HiveDevice
    let logOffset: Int
    let binsOffset: Int
    let count: Int
  }

  /// Of the clean hive.
  let sector: BaseBlockSector
  /// While the pages are written: dirty, and leading to the same replay.
  let unfinished: BaseBlockSector
  let runs: [Run]
  /// Logs that the replay needs.
  let used: [any HiveDevice]
  let report: Recovery
  /// The other logs beside the hive.
  private(set) var unused: [any HiveDevice] = []

  init(
    sector: BaseBlockSector, unfinished: BaseBlockSector, runs: [Run], used: [any HiveDevice], report: Recovery
  ) {
    self.sector = sector
    self.unfinished = unfinished
    self.runs = runs
    self.used = used
    self.report = report
  }

  var binsSize: Int { Int(sector[BaseBlock.Field.binsSize]) }

  /// What makes the dirty hive on `device` whole, whose base block begins with `primary`; `logs` are all that lie
  /// beside it. New logs come first: Windows does not go back from them.
  ///
  /// Throws `dirty` with every log's reason when there is nothing, and `device`.
  static func find(
    in logs: [any HiveDevice], for primary: BaseBlockSector, on device: any HiveDevice
  ) throws(HiveError) -> LogReplay {
    var dirty = DirtyHive(device: device, sector: primary)
    var heads: [LogHead] = []
    for log in logs {
      do throws(HiveError) { heads.append(try LogHead(log)) } catch { try dirty.passOver(error) }
    }
    var replay = try HvleLog.replay(heads.filter { $0.format == .new }, for: &dirty)
    if replay == nil { replay = try DirtLog.replay(heads.filter { $0.format == .old }, for: &dirty) }
    if var replay {
      replay.unused = logs.filter { log in !replay.used.contains { $0 === log } }
      return replay
    }
    throw .dirty(
      problem: dirty.passedOver.isEmpty
        ? "\(dirty.cause), and no log lies beside it"
        : "\(dirty.cause), and no log makes it whole: " + dirty.passedOver.map(\.description).joined(separator: "; "))
  }

  /// In memory: the devices stay as they are. `image` has the replay's size, and the primary file in it.
  func apply(to image: inout HiveImage) throws(HiveError) {
    precondition(image.binsSize == binsSize)
    sector.bytes.withUnsafeBytes { image.fillableBuffer(at: 0, count: $0.count).copyMemory(from: $0) }
    for run in runs {
      let pages = image.fillableBuffer(at: BaseBlock.size + run.binsOffset, count: run.count)
      try run.log.read(at: run.logOffset, into: pages)
    }
  }

  /// Throws `damaged` when the bins have a size that cannot be, or lie in part neither in the primary file nor in a log:
  /// zeros would take their place, and a file that was cut would look whole.
  func checkSize(on primary: any HiveDevice) throws(HiveError) {
    guard binsSize > 0, binsSize % HiveImage.pageSize == 0, binsSize <= HiveImage.maximumBinsSize else {
      throw .damaged(
        structure: "base block", offset: BaseBlock.Field.binsSize, problem: "\(binsSize) bytes of hive bins")
    }
    let present = max(0, try primary.size() - BaseBlock.size)
    var end = present
    for run in runs.sorted(by: { $0.binsOffset < $1.binsOffset }) where run.binsOffset <= end {
      end = max(end, run.binsOffset + run.count)
    }
    guard end >= binsSize else {
      throw .damaged(
        structure: "file", offset: BaseBlock.size + present,
        problem: "it ends before its \(binsSize) bytes of hive bins do, and no log has the rest")
    }
  }

  /// On the primary file, which is clean then. Logs that are not needed are emptied first: were the base block torn while
  /// it is written, it could not tell any more that they do not belong to the hive.
  func finish(on primary: any HiveDevice) throws(HiveError) {
    for log in unused where try log.size() > 0 {
      try log.resize(to: 0)
      try log.sync()
    }
    if try primary.size() < BaseBlock.size + binsSize { try primary.resize(to: BaseBlock.size + binsSize) }
    // That it is dirty may be known to the page cache only: no page may reach the disk before that does.
    try primary.write(unfinished.bytes, at: 0)
    try primary.sync()
    for run in runs { try Self.copy(run, to: primary) }
    try primary.sync()
    try primary.write(sector.bytes, at: 0)
    try primary.sync()
  }

  /// In pieces, so that a log of a gigabyte does not need another gigabyte of memory.
  private static func copy(_ run: Run, to primary: any HiveDevice) throws(HiveError) {
    var done = 0
    while done < run.count {
      var piece = [UInt8](repeating: 0, count: min(1 << 20, run.count - done))
      try run.log.read(at: run.logOffset + done, into: &piece)
      try primary.write(piece, at: BaseBlock.size + run.binsOffset + done)
      done += piece.count
    }
  }
}
