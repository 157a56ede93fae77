internal import Executive
internal import Synchronization

/// The two logs beside a hive, `.LOG1` and `.LOG2`.
package struct LogPair: Sendable {
  package let first: any HiveDevice
  package let second: any HiveDevice
  package let limits: LogLimits

  package init(_ first: any HiveDevice, _ second: any HiveDevice, limits: LogLimits = LogLimits()) {
    self.first = first
    self.second = second
    self.limits = limits
  }

  var both: [any HiveDevice] { [first, second] }

  subscript(index: Int) -> any HiveDevice { index == 0 ? first : second }
}

/// A hive's two logs as they are written: an entry for every change, into one of them until the other takes over.
///
/// An entry is the kernel's when `append` returns: it outlives this process. `sync` makes it outlive the power.
/// `begin`, `append`, `end` and what is asked for them are for who holds the hive exclusively; `sync`, `failure` and
/// `size` for everybody, at any time.
///
/// 1. Entries are numbered one after the other, from one log to the next (mod 2^32).
/// 2. An entry that was not written whole does not count: the next one takes its place and its number.
/// 3. A log is durable before the log after it is taken for so: what a power cut leaves is a beginning of the entries.
/// 4. After a sync that failed nothing is taken for durable that was not so before: the kernel may have dropped what it
///    could not write, and would report the next sync as done.
/// 5. A log is emptied before it is written for the first time, and written over afterwards, as Windows does: its blocks and pages
///    are there already, and the older numbers of what lies behind the new entries end a replay.
package final class TransactionLog: Sendable {
  private struct State {
    /// Why nothing is written any more.
    var failure: HiveError?
    /// Which log is written; nil before the first change.
    var current: Int?
    /// Where the next entry goes.
    var end = 0
    var nextSequence: UInt32 = 0
    /// Entries ever written.
    var written: UInt64 = 0
    /// How many entries were written when a log got its last one, and how many when it was synced.
    var lastWritten: [UInt64] = [0, 0]
    var lastSynced: [UInt64] = [0, 0]
    /// The primary file was written and not synced.
    var isPrimaryPending = false
    var onStop: (@Sendable (HiveError) -> Void)?

    mutating func count(_ entry: LogEntry, in log: Int, end: Int) {
      current = log
      self.end = end
      nextSequence = entry.sequence &+ 1
      written += 1
      lastWritten[log] = written
    }

    var isPending: Bool { isPrimaryPending || lastWritten[0] > lastSynced[0] || lastWritten[1] > lastSynced[1] }
  }

  private let pair: LogPair
  private let primary: any HiveDevice
  private let state = Mutex(State())
  /// One sync at a time: who comes meanwhile finds his entries durable, or syncs for all who came.
  private let syncing = Mutex(())

  init(_ pair: LogPair, primary: any HiveDevice) {
    self.pair = pair
    self.primary = primary
  }

  /// Why changes are refused; nil while they are not.
  package var failure: HiveError? { state.withLock { $0.failure } }

  package var limits: LogLimits { pair.limits }

  /// Bytes of the log that is written, 0 before the first change.
  package var size: Int { state.withLock { $0.current == nil ? 0 : $0.end } }

  var isBegun: Bool { state.withLock { $0.current != nil } }

  var nextSequence: UInt32 { state.withLock { $0.nextSequence } }

  /// Number of the entry that was written last; nil before the first.
  package var lastSequence: UInt32? { state.withLock { $0.current == nil ? nil : $0.nextSequence &- 1 } }

  /// Who is told when changes are refused from now on, once for each time.
  package func whenStopped(_ body: @escaping @Sendable (HiveError) -> Void) { state.withLock { $0.onStop = body } }

  /// Refuses changes from now on.
  func stop(_ failure: HiveError) {
    let tell = state.withLock { state -> (@Sendable (HiveError) -> Void)? in
      guard state.failure == nil else { return nil }
      state.failure = failure
      return state.onStop
    }
    tell?(failure)
  }

  // MARK: Writing

  /// Goes on in the other log, which nothing needs any more: writes its first sector and `entry`. The log is that of the
  /// primary file with `sector` for a base block, as it is without the log's entries.
  func begin(_ entry: LogEntry, for sector: BaseBlockSector) throws(HiveError) {
    let next = state.withLock { 1 - ($0.current ?? 1) }
    var head = sector
    head[BaseBlock.Field.fileType] = BaseBlock.FileType.newLog
    head.setSequence(primary: entry.sequence, secondary: entry.sequence)
    let end: Int
    do throws(HiveError) { end = try entry.write(head: head, to: pair[next], at: 0) } catch {
      try? pair[next].resize(to: 0)
      throw error
    }
    state.withLock { $0.count(entry, in: next, end: end) }
  }

  func append(_ entry: LogEntry) throws(HiveError) {
    let (current, place) = state.withLock { ($0.current ?? 0, $0.end) }
    let end: Int
    do throws(HiveError) { end = try entry.write(to: pair[current], at: place) } catch {
      // Half of an entry is none, and takes room on a disk that may be full.
      try? pair[current].resize(to: place)
      throw error
    }
    state.withLock { $0.count(entry, in: current, end: end) }
  }

  /// The next sync is one of the primary file, too, after that of the logs.
  func notePrimaryWritten() { state.withLock { $0.isPrimaryPending = true } }

  var isPrimaryPending: Bool { state.withLock { $0.isPrimaryPending } }

  /// Empties the logs that do not count: both before the first change, the one that is not written before the hive is
  /// committed. A recovery that could not believe the base block might prefer what lies there.
  func emptyUnused() throws(HiveError) {
    let current = state.withLock { $0.current }
    for number in 0...1 where number != current { try Self.empty(pair[number]) }
  }

  static func empty(_ log: any HiveDevice) throws(HiveError) {
    guard try log.size() > 0 else { return }
    try log.resize(to: 0)
    try log.sync()
  }

  /// Everything is in the primary file, which is clean and durable: the logs are not needed, and no failure counts any
  /// more. One that cannot be emptied is met again before the next change.
  func end() {
    for log in pair.both where (try? log.size()) != 0 { try? log.resize(to: 0) }
    state.withLock { $0 = State(written: $0.written, lastWritten: $0.lastWritten, lastSynced: $0.lastWritten, onStop: $0.onStop) }
  }

  func close() { for log in pair.both { log.close() } }

  // MARK: Making durable

  /// Whether something is not durable yet.
  package var needsSync: Bool { state.withLock { $0.isPending } }

  /// Makes every entry so far survive power loss; many who ask at once share one sync. Throws what made changes stop.
  package func sync() throws(HiveError) {
    let wanted = state.withLock { $0.written }
    try syncing.withLock { (_) throws(HiveError) in
      let (before, isNeeded) = state.withLock {
        ($0, $0.isPending && ($0.isPrimaryPending || $0.lastSynced.max() ?? 0 < wanted))
      }
      guard isNeeded else { return }
      if let failure = before.failure { throw failure }
      do throws(HiveError) {
        let current = before.current ?? 0
        for number in [1 - current, current] where before.lastWritten[number] > before.lastSynced[number] {
          try pair[number].sync()
        }
        if before.isPrimaryPending {
          // What is written meanwhile wants another sync.
          state.withLock { $0.isPrimaryPending = false }
          try primary.sync()
        }
      } catch {
        stop(error)
        state.withLock { $0.isPrimaryPending = before.isPrimaryPending || $0.isPrimaryPending }
        throw error
      }
      state.withLock { state in
        for number in 0...1 { state.lastSynced[number] = max(state.lastSynced[number], before.lastWritten[number]) }
      }
    }
  }
}
