internal import Executive
internal import Glibc
internal import HiveStorage
internal import Synchronization

/// A hive at its place in the registry, behind its lock (CMHIVE).
final class LoadedHive: Sendable {
  /// The high half of the identities of its keys and values; 0 is the first, never used again.
  let number: UInt32
  let lock: PushLock<Hive>
  /// One up whenever the lock was held to change something; written under it.
  let changes = Atomic<UInt64>(0)
  /// Nil for the registry's own.
  let log: TransactionLog?
  let name: String
  /// One at a time brings the log to the primary file. Taken before `lock`, and held while the disk is waited for.
  private let reconciling = Mutex(())
  /// The registry's own hive, in memory only, whose keys are the places of the others: nothing can be made or changed in it.
  let isNamespace: Bool
  /// The file that it lies on.
  private let file: (device: UInt64, inode: UInt64)?
  /// What its keys stand for: the roots of the hives loaded there (KEY_HIVE_EXIT). Empty in any other hive.
  private let exits = Mutex<[CellIndex: KeyControlBlock]>([:])

  init(_ hive: consuming sending Hive, number: UInt32, isNamespace: Bool = false) {
    self.number = number
    self.isNamespace = isNamespace
    file = hive.fileIdentity()
    log = hive.log
    name = hive.deviceName
    lock = PushLock(hive)
  }

  func exit(at cell: CellIndex) -> KeyControlBlock? {
    isNamespace ? exits.withLock { $0[cell] } : nil
  }

  func setExit(_ root: KeyControlBlock?, at cell: CellIndex) { exits.withLock { $0[cell] = root } }

  /// Whether `path` leads to the file of this hive.
  func lies(on path: String) -> Bool {
    var status = stat()
    guard let file, stat(path, &status) == 0 else { return false }
    return file == (UInt64(status.st_dev), UInt64(status.st_ino))
  }

  /// Unique among the keys and values of all hives.
  func identity(_ cell: CellIndex) -> UInt64 { UInt64(number) << 32 | UInt64(cell.rawValue) }

  // MARK: To the disk

  /// Makes every change so far survive power loss.
  func sync() throws(HiveError) {
    guard let log, log.needsSync else { return }
    try lock.withExclusive { (hive) throws(HiveError) in
      // It may have been unloaded meanwhile, all of it on the disk and its file somebody else's.
      if log.needsSync { try hive.checkOutside() }
    }
    try log.sync()
  }

  /// Brings every change so far to the primary file, while the hive is used.
  func reconcile() throws(HiveError) {
    guard !isNamespace else { return }
    try reconciling.withLock { (_) throws(HiveError) in try Hive.reconcile(behind: lock) }
  }

  /// Keeps reconciles away while `body` runs.
  func withoutReconcile<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    try reconciling.withLock { (_) throws(Failure) in try body() }
  }

  /// Brings every change to the primary file and empties the logs.
  func commit() throws(HiveError) {
    guard !isNamespace else { return }
    try withoutReconcile { () throws(HiveError) in
      try lock.withExclusive { (hive) throws(HiveError) in try hive.commit() }
    }
  }
}
