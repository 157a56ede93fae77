internal import Executive
package import HiveStorage
internal import Synchronization

// How changes get from memory to the disk. Every change is in its hive's log when it returns (`change`); what is left to do
// is syncing the log, and bringing it to the primary file.

extension Registry {
  /// Makes a change under the exclusive lock of `hive`; every change goes through here.
  func change<Result>(
    _ hive: LoadedHive, _ body: (inout Hive) throws(NTStatus) -> Result
  ) throws(NTStatus) -> Result {
    let result = try hive.lock.withExclusive { state throws(NTStatus) in
      hive.changes.wrappingAdd(1, ordering: .releasing)
      return try body(&state)
    }
    changes.wrappingAdd(1, ordering: .releasing)
    guard let log = hive.log else { return result }
    let size = log.size
    if size >= log.limits.due { flushWanted.signal() }
    do throws(HiveError) {
      // Whoever fills the log faster than it is brought to the primary file does some of that work.
      if size >= log.limits.crowded { try hive.reconcile() }
      if durability == .operation { try log.sync() }
    } catch { throw NTStatus(error) }
    return result
  }

  /// Brings every change so far to the primary files, while the hives are used. What fails of one hive does not keep the others from
  /// it; the first failure is thrown. Hives that take no changes any more are left alone: only a `flushKey` means them.
  func reconcile() throws(HiveError) {
    try forEachHive { (hive) throws(HiveError) in
      if hive.log?.failure == nil { try hive.reconcile() }
    }
  }

  /// The same for good: the primary files are clean then, and the logs empty.
  package func commit() throws(HiveError) {
    try forEachHive { (hive) throws(HiveError) in try hive.commit() }
  }

  /// NtFlushKey's work: what `durability` makes of an fsync, or with `toPrimary` a reconcile.
  func flush(_ hive: LoadedHive, toPrimary: Bool) throws(HiveError) {
    func flush(_ hive: LoadedHive) throws(HiveError) {
      if toPrimary { try hive.reconcile() } else if durability != .unmount { try hive.sync() }
    }
    guard !isReadOnly else { return }
    if hive.isNamespace { try forEachHive(flush) } else { try flush(hive) }
  }

  private func forEachHive(_ body: (LoadedHive) throws(HiveError) -> Void) throws(HiveError) {
    guard !isReadOnly else { return }
    var failure: HiveError?
    for hive in hives.withLock({ $0 }) where !hive.isNamespace {
      do throws(HiveError) { try body(hive) } catch { failure = failure ?? error }
    }
    if let failure { throw failure }
  }

  // MARK: What hives are like

  /// A hive's way to the disk, at one moment.
  package struct HiveState: Sendable {
    package let name: String
    /// Why it takes no changes any more; nil while it does.
    package let failure: HiveError?
    /// Bytes of the log that is written.
    package let logSize: Int

    package init(name: String, failure: HiveError?, logSize: Int) {
      self.name = name
      self.failure = failure
      self.logSize = logSize
    }
  }

  package var hiveStates: [HiveState] {
    hives.withLock { $0 }.compactMap { hive in
      hive.isNamespace ? nil : HiveState(name: hive.name, failure: hive.log?.failure, logSize: hive.log?.size ?? 0)
    }
  }

  /// Who is told when a hive takes no changes any more, now or loaded later: once for each time, under its lock.
  package func whenHiveStops(_ tell: @escaping @Sendable (_ hive: String, _ failure: HiveError) -> Void) {
    onStop.withLock { $0 = tell }
    for hive in hives.withLock({ $0 }) { watch(hive) }
  }

  /// Has the hive tell when it stops.
  func watch(_ hive: LoadedHive) {
    guard let tell = onStop.withLock({ $0 }) else { return }
    let name = hive.name
    hive.log?.whenStopped { tell(name, $0) }
  }
}
