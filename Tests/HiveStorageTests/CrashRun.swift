import Executive
import HiveModel
import HiveStorage
import Testing

/// A seeded run on a `CrashDisk`, and what a recovery may find after each of its device calls.
// SAFETY: one thread uses it; what the disk calls before a sync runs on that thread.
final class CrashRun: @unchecked Sendable {
  let disk: CrashDisk
  let hive: PushLock<Hive>
  private let log: TransactionLog?
  private(set) var run: ModelRun
  /// By dump: the numbers of the operations after which the hive had it.
  private var numbers: [[UInt8]: [Int]] = [:]
  /// An operation's number, and the events before and after it.
  private var operations: [(number: Int, start: Int, end: Int)] = [(0, 0, 0)]
  /// The last operation that is durable once that many events have happened.
  private var syncs: [(number: Int, end: Int)] = [(0, 0)]
  /// The dumps of the recovered hives that were looked at, by their bins.
  private var known: [Int: [UInt8]] = [:]

  static let files = ["HIVE", "HIVE.LOG1", "HIVE.LOG2"]

  /// A new hive whose sequence numbers are `sequence`.
  init(seed: UInt64, minor: Int, sequence: UInt32 = 1) throws {
    let device = MemoryDevice()
    try RegistryModel.format(device, minorVersion: minor)
    var bytes = device.bytes
    put32(sequence, at: 4, in: &bytes)
    put32(sequence, at: 8, in: &bytes)
    checksum(&bytes)
    disk = CrashDisk([bytes, [], []])
    let opened = try Self.open(disk)
    log = opened.log
    hive = PushLock(opened)
    run = ModelRun(
      seed: seed, profile: ModelRun.Profile(minorVersion: minor, keyCount: 25, longestData: minor >= 4 ? 18_000 : 9000))
    note()
  }

  static func open(_ disk: CrashDisk) throws(HiveError) -> Hive {
    try Hive(device: disk.device(0), access: .readWrite, logs: LogPair(disk.device(1), disk.device(2)))
  }

  // MARK: What is done

  /// The next operation. Where a device fails, or the hive takes no changes since one did, the hive must be as it was,
  /// and the operation has not been.
  func advance() throws {
    let before = disk.hasFault ? hive.withShared { HiveDump($0).bytes } : nil
    let start = disk.events.count
    do {
      try hive.withExclusive { (hive) throws(ModelFailure) in try run.advance(&hive) }
    } catch {
      guard let before, error.isOfDevice else { throw error }
      let isUnchanged = hive.withShared { HiveDump($0).bytes } == before
      #expect(isUnchanged, "\(error)")
      return
    }
    operations.append((run.count, start, disk.events.count))
    note()
  }

  /// Makes every operation so far durable; where a device fails, nothing is known.
  func sync() throws {
    let number = run.count
    try allowingFaults { () throws(HiveError) in
      try log?.sync()
      syncs.append((number, disk.events.count))
    }
  }

  /// Brings every operation so far to the primary file, and goes on with others meanwhile.
  func reconcile() throws {
    let number = run.count
    disk.duringEachSync { [self] in
      // A hive that has stopped is committed, and held all the while.
      guard log?.failure == nil else { return }
      do { try advance() } catch { Issue.record("\(error)") }
    }
    defer { disk.duringEachSync(nil) }
    try allowingFaults { () throws(HiveError) in
      try Hive.reconcile(behind: hive, time: RegistryModel.time(number))
      syncs.append((number, disk.events.count))
    }
  }

  /// As at unmounting.
  func commit() throws {
    let number = run.count
    try allowingFaults { () throws(HiveError) in
      try hive.withExclusive { (hive) throws(HiveError) in try hive.commit(time: RegistryModel.time(number)) }
      syncs.append((number, disk.events.count))
    }
  }

  private func allowingFaults(_ body: () throws(HiveError) -> Void) throws {
    do throws(HiveError) { try body() } catch {
      guard disk.hasFault, error.isOfDevice else { throw error }
    }
  }

  private func note() { numbers[hive.withShared { HiveDump($0).bytes }, default: []].append(run.count) }

  // MARK: What may be found

  /// The operations whose outcome may be found once `position` events have happened and the power goes, or the process
  /// is killed and every write is kept.
  func allowed(after position: Int, isKilled: Bool) -> ClosedRange<Int> {
    let issued = operations.last { $0.start < position || $0.end <= position }?.number ?? 0
    let durable = syncs.last { $0.end <= position }?.number ?? 0
    let acknowledged = operations.last { $0.end <= position }?.number ?? 0
    return (isKilled ? acknowledged : durable)...max(issued, acknowledged)
  }

  /// The numbers of the operations after which the hive was as it is recovered from `contents`; empty for none. Every
  /// recovered hive is checked.
  func recover(_ contents: [[UInt8]]) throws -> [Int] {
    let devices = zip(Self.files, contents).map { MemoryDevice(name: $0, $1) }
    let hive = try Hive(device: devices[0], access: .readOnly, otherLogs: Array(devices.dropFirst()))
    let copy = MemoryDevice()
    try hive.copy(to: copy)
    var hasher = Hasher()
    copy.bytes.withUnsafeBytes { hasher.combine(bytes: UnsafeRawBufferPointer(rebasing: $0.dropFirst(4096))) }
    let key = hasher.finalize()
    if let known = known[key] { return numbers[known] ?? [] }
    let checker = HiveChecker(hive)
    #expect(checker.findings.isEmpty && checker.orphans.isEmpty, "\(checker.findings.prefix(3)) \(checker.orphans)")
    let dump = HiveDump(hive).bytes
    known[key] = dump
    return numbers[dump] ?? []
  }
}

extension HiveError {
  /// Of a device, or of a hive that has stopped since a device failed.
  fileprivate var isOfDevice: Bool {
    switch self {
    case .device, .stopped: true
    default: false
    }
  }
}

extension ModelFailure {
  fileprivate var isOfDevice: Bool { error?.isOfDevice ?? false }
}
