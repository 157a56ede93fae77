internal import Executive
internal import Synchronization

/// A thread that asked before: its directory, so that its executable can be asked for without its number, and what is answered while
/// nothing happens to its process.
final class KnownThread: Sendable {
  let directory: TaskDirectory
  let record: ProcessRecord
  /// Of the ids that the record was read for, and not traced.
  let context: ProcessContext

  init(id: Int32, directory: TaskDirectory, record: ProcessRecord) {
    self.directory = directory
    self.record = record
    var context = record.facts
    context.threadID = id
    context.record = record
    if record.canChangeItsExecutable { context.add(.ownExecutable) }
    self.context = context
  }
}

/// A process whose beginning and end are announced, from its fork to the announcement of its end.
final class FollowedProcess: @unchecked Sendable {
  // SAFETY: the variables are touched only under the lock of the table's state.
  let id: Int32
  /// nil when its fork was not seen.
  let parentID: Int32?
  /// Execs that were seen and not announced yet.
  var unannounced: UInt32 = 0
  var hasEnded = false

  init(id: Int32, parentID: Int32?) {
    self.id = id
    self.parentID = parentID
  }
}

/// A record that is being read outside of the lock; `isOutdated` when something happened to the process meanwhile.
final class Reading: @unchecked Sendable {
  // SAFETY: the variable is touched only under the lock of the table's state.
  let processID: Int32
  var isOutdated = false

  init(processID: Int32) { self.processID = processID }
}

/// What the table knows, under its one lock.
///
/// 1. What was taken from the connector's socket was applied before the lock is given back: whoever finds the socket empty
///    sees everything that happened before.
/// 2. `threads` is bounded by `threadLimit` (each has a descriptor), the rest by the number of live processes and what is in
///    `work`.
/// 3. A record in `records` is of the process that has the number now, as far as events tell.
struct ProcessTableState: ~Copyable {
  enum Work {
    /// A followed process executed something: announce it.
    case announce(FollowedProcess)
    /// Some process executed something: has it a loader's environment?
    case look(Int32)
    /// A process that was announced or known has ended.
    case end(FollowedProcess)
    /// Take in what is there and not known, and say so or not.
    case scan(announces: Bool)
    /// Find out who is gone.
    case sweep
    /// Events were lost: find out what they would have told.
    case recover
  }

  /// More execs than this that wait to be looked at are a loss.
  let workLimit: Int

  var monitor: ProcessMonitor?
  var problem: ConnectorProblem?
  /// Raised by every loss of events: what was read before is read again.
  var lossGeneration: UInt64 = 0
  var records = IdentifierTable<ProcessRecord>()
  var threads = IdentifierTable<KnownThread>()
  let threadLimit: Int
  /// Processes that carry a loader's environment, or the memory of one that did.
  var tainted = IdentifierTable<Bool>()
  /// Processes whose leader has exited before its threads.
  var leaderless = IdentifierTable<Bool>()
  var followed = IdentifierTable<FollowedProcess>()
  var isFollowing = false
  var readings: [Reading] = []
  var work: [Work] = []
  /// A loss waits in `work` to be made good; one is enough, however many there were.
  var isRecoveryDue = false
  /// Somebody looks after `work`.
  var hasWorker = false
  var outbox: [ProcessNotification] = []
  var isDelivering = false
  var trustedCount = 0
  /// So many records, and the dead are looked for.
  var sweepAt = 1024

  init(monitor: consuming ProcessMonitor?, problem: ConnectorProblem?, threadLimit: Int, workLimit: Int) {
    self.workLimit = workLimit
    self.monitor = monitor
    self.problem = problem
    self.threadLimit = threadLimit
  }

  /// Takes in everything that has happened. One system call when nothing has.
  mutating func drain(following: Bool) {
    if following != isFollowing { follow(following) }
    var isLost = false
    while true {
      // The socket drops everything while it is full, so a loss is known to be over only when it is empty.
      guard let found = monitor?.next() else { break }
      switch found {
      case .event(let event): apply(event)
      case .loss: isLost = true
      case .nothing:
        if isLost { lose() }
        return
      case .failure(let number):
        monitor = nil
        problem = .failed(number)
        lose()
        return
      }
    }
  }

  private mutating func follow(_ following: Bool) {
    isFollowing = following
    if following { add(.scan(announces: false)) } else { followed = IdentifierTable() }
  }

  mutating func lose() {
    lossGeneration += 1
    for reading in readings { reading.isOutdated = true }
    guard !isRecoveryDue, hasWorker || isFollowing else { return }
    isRecoveryDue = true
    work.append(.recover)
  }

  private mutating func add(_ item: Work) {
    if hasWorker || isFollowing { work.append(item) }
  }

  /// Whether one more exec can wait. When the worker does not keep up, what more happens counts as lost: once, until it has caught up.
  private mutating func hasRoom() -> Bool {
    if work.count < workLimit { return true }
    if !isRecoveryDue { lose() }
    return false
  }

  private mutating func apply(_ event: ProcessEvent) {
    switch event {
    case .fork(_, let thread, let process) where thread != process:
      // An old thread of that number is gone.
      if threads.count > 0 { _ = threads.remove(thread) }
    case .fork(let parent, let child, _):
      // An old process of that number is gone.
      end(child)
      // A fork has its parent's memory, with all the code in it. Privileges it has to earn by itself.
      if tainted[parent] != nil || records[parent]?.facts.doubts.contains(.loaderEnvironment) == true {
        tainted[child] = true
      }
      if isFollowing { followed[child] = FollowedProcess(id: child, parentID: parent) }
    case .exec(let process):
      if let record = records[process] { record.execsSince.add(1, ordering: .releasing) }
      for reading in readings where reading.processID == process { reading.isOutdated = true }
      _ = tainted.remove(process)
      _ = leaderless.remove(process)
      if !hasRoom() {
        // Not to be told of, so that its end is not either; `recover` takes in who is still there.
        if followed[process]?.unannounced == 0 { _ = followed.remove(process) }
      } else if isFollowing {
        let process = following(process)
        process.unannounced += 1
        add(.announce(process))
      } else {
        add(.look(process))
      }
    case .trace(let process):
      records[process]?.asksForTracer.store(true, ordering: .releasing)
      for reading in readings where reading.processID == process { reading.isOutdated = true }
    case .exit(let thread, let process):
      _ = threads.remove(thread)
      // Whoever reads it looks again: a record of its remains would be told as a new process.
      if thread == process { for reading in readings where reading.processID == process { reading.isOutdated = true } }
      let isKnown = records[process] != nil || followed[process] != nil || tainted[process] != nil
      guard isKnown, thread == process || leaderless[process] != nil else { return }
      if TaskDirectory.open(process)?.hasEnded() != false { end(process) } else { leaderless[process] = true }
    }
  }

  private mutating func following(_ process: Int32) -> FollowedProcess {
    if let known = followed[process] { return known }
    let new = FollowedProcess(id: process, parentID: nil)
    followed[process] = new
    return new
  }

  /// Forgets a number that is known and that no process has: its end was not told. Asked under the lock, since a process that gets
  /// the number now is told of later.
  mutating func endIfGone(_ process: Int32) {
    if TaskDirectory.open(process) == nil { end(process) }
  }

  /// Forgets a process that is gone.
  mutating func end(_ process: Int32) {
    _ = threads.remove(process)
    _ = tainted.remove(process)
    _ = leaderless.remove(process)
    for reading in readings where reading.processID == process { reading.isOutdated = true }
    let record = records.remove(process)
    if let record, record.isTrusted { trustedCount -= 1 }
    let known = followed.remove(process)
    // One that never executed anything and was never asked for was not announced.
    guard record != nil || known.map({ $0.unannounced > 0 }) == true else { return }
    let ended = known ?? FollowedProcess(id: process, parentID: nil)
    ended.hasEnded = true
    if hasWorker || isFollowing { add(.end(ended)) } else { outbox.append(.terminated(process)) }
  }

  /// Puts a record that was read into the table, unless somebody did so before, and the announcements that it makes due into the
  /// outbox. Nil when something happened while it was read.
  mutating func insert(_ record: ProcessRecord, _ reading: Reading, announces: Bool) -> ProcessRecord? {
    readings.removeAll { $0 === reading }
    guard !reading.isOutdated else { return nil }
    let id = record.processID
    let before = records[id]
    if let before, before.facts.startTicks != record.facts.startTicks { end(id) }
    let old = records[id]
    if let old {
      // Read by another thread at the same time, or again after a loss, and nothing is different.
      if old.execsSince.load(ordering: .acquiring) == 0, old.facts == record.facts, old.hasClassifier(of: record),
        old.commandLineHash == record.commandLineHash
      {
        old.lossGeneration.store(lossGeneration, ordering: .releasing)
        if record.asksForTracer.load(ordering: .acquiring) { old.asksForTracer.store(true, ordering: .releasing) }
        return old
      }
      record.takeCounters(old)
    }
    records[id] = record
    trustedCount += (record.isTrusted ? 1 : 0) - (old?.isTrusted == true ? 1 : 0)

    let process = followed[id]
    let pending = process?.unannounced ?? 0
    process?.unannounced = 0
    if pending > 1 {
      for _ in 1..<pending { outbox.append(.created(unreadable: id, parentID: process?.parentID)) }
    }
    if let old, pending == 0, old.execsSince.load(ordering: .acquiring) == 0, old.facts.executable == record.facts.executable {
      if old.isTrusted != record.isTrusted { outbox.append(.trust(record, record.isTrusted)) }
    } else if announces || pending > 0 {
      outbox.append(.created(record, parentID: process?.parentID))
    }
    return record
  }

  mutating func remember(_ thread: KnownThread, _ id: Int32) {
    threads[id] = thread
    while threads.count > threadLimit { _ = threads.evict() }
  }
}
