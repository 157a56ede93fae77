package import Executive
internal import Glibc
internal import Synchronization

/// What makes sure that a known process is still what it was (identity.md, 6).
package enum ProcessGuards: Hashable, Sendable, CustomStringConvertible {
  /// Both: the connector tells of every exec, and the executable is asked for at every judgement.
  case connectorAndExecutable
  /// The executable alone; command line, environment and tracers are read at every judgement as well.
  case executableAlone(ConnectorProblem?)

  package var description: String {
    switch self {
    case .connectorAndExecutable: "process connector and executable"
    case .executableAlone(let problem?): "executable alone; no process connector: \(problem)"
    case .executableAlone(nil): "executable alone; the process connector was not asked for"
    }
  }
}

/// How much the table holds.
package struct ProcessTableStatistics: Hashable, Sendable {
  package var records: Int
  /// Threads that asked before, each with a descriptor.
  package var threads: Int
  package var trusted: Int
  /// Processes whose beginning and end are announced, or would be.
  package var followed: Int
  /// Processes whose environment has loader variables, or had, in them or in what they were forked from.
  package var tainted: Int
  /// Times that events were lost, or came faster than they could be looked at, and everything was read again.
  package var losses: UInt64
}

/// Who is behind a thread id (MP_PROCESS_TABLE).
///
/// A caller that waits for an answer can neither exec nor exit, so what is found out before the answer is free of races
/// (identity.md, 4). What was found out before counts while both guards hold: nothing was told by the process connector, and the
/// executable is the same file. No lock is held while /proc is read, a classifier runs or subscribers are called.
///
/// A record is made of a process that asks, is asked for, or is announced; another has none, however many there are.
package final class ProcessTable: Sendable {
  package typealias Classifier = @Sendable (ProcessFacts) -> Classification

  /// Who wants to know about processes (WdProcessNotificationCallback). Subscribers are called, in order and without a lock, on the
  /// thread that found something out, which may be one that judges: they must be quick. For exact counts let `start`
  /// or `settle` run: one who never judges takes nothing from the connector.
  package let processCallback: CallbackObject<ProcessNotification>
  /// Notified with exactly (0, nil), every live process is told again (WdNriNotificationCallback).
  package let refreshCallback: CallbackObject<ProcessNotification>

  let state: Mutex<ProcessTableState>
  private let classify: Classifier
  let classifierGeneration = Atomic<UInt64>(0)
  private let digests = ExecutableDigests()
  /// Our user namespace; nil when it cannot be told, and then nobody is exempt.
  private let userNamespace: String?
  /// The moment of boot. Taken once, so that a process keeps its start time in every event.
  private let bootTime: FileTime
  private let ticksPerSecond: UInt64
  private let refreshRegistration = Mutex<CallbackObject<ProcessNotification>.Registration?>(nil)
  let worker = ProcessWorker()

  /// A table without the connector whose processes are of no class.
  package convenience init() {
    self.init(monitor: nil, problem: nil, callbacks: CallbackDirectory(), classify: { _ in Classification() })
  }

  /// `monitor`: nil with the `problem` for which it is not there. `classify` is asked once for each record and again by
  /// `reclassify`; it may be called on any thread, several at once. `threadLimit`: how many threads are remembered,
  /// each with a descriptor; never more than half of what the process may have open. `workLimit`: how many execs may wait
  /// for the worker before the rest is taken for lost.
  package init(
    monitor: consuming ProcessMonitor?, problem: ConnectorProblem?, callbacks: CallbackDirectory<ProcessNotification>,
    callbackName: String = "WdProcessNotificationCallback", threadLimit: Int = 4096, workLimit: Int = 1 << 16,
    classify: @escaping Classifier
  ) {
    var limit = rlimit()
    let isKnown = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0
    let half = isKnown ? Int(clamping: limit.rlim_cur / 2) : 512
    state = Mutex(
      ProcessTableState(monitor: monitor, problem: problem, threadLimit: max(1, min(threadLimit, half)),
        workLimit: workLimit))
    self.classify = classify
    userNamespace = TaskDirectory.open(getpid())?.link("ns/user")
    var sinceBoot = timespec()
    clock_gettime(CLOCK_BOOTTIME, &sinceBoot)
    let units = UInt64(max(0, sinceBoot.tv_sec)) &* 10_000_000 &+ UInt64(max(0, sinceBoot.tv_nsec)) / 100
    let now = FileTime.now().rawValue
    bootTime = FileTime(rawValue: now >= units ? now - units : 0)
    ticksPerSecond = UInt64(max(1, sysconf(Int32(_SC_CLK_TCK))))
    // Made here, so only an empty name could fail, and then nobody can find the object.
    processCallback =
      (try? callbacks.open(callbackName, create: true)) ?? CallbackObject(name: callbackName, allowsSeveral: true)
    let refreshName = "WdNriNotificationCallback"
    refreshCallback =
      (try? callbacks.open(refreshName, create: true)) ?? CallbackObject(name: refreshName, allowsSeveral: true)
    let registration = refreshCallback.register { [weak self] first, second in
      if first == 0, second == nil { self?.refresh() }
    }
    refreshRegistration.withLock { $0 = registration }
  }

  deinit {
    if let registration = refreshRegistration.withLock({ $0 }) { refreshCallback.unregister(registration) }
  }

  /// Which guards are in force now.
  package var guards: ProcessGuards {
    state.withLock { $0.monitor != nil ? .connectorAndExecutable : .executableAlone($0.problem) }
  }

  package var statistics: ProcessTableStatistics {
    state.withLock { state in
      ProcessTableStatistics(
        records: state.records.count, threads: state.threads.count, trusted: state.trustedCount,
        followed: state.followed.count, tainted: state.tainted.count, losses: state.lossGeneration)
    }
  }

  // MARK: Judging

  /// The process of thread `tid`, as it is now; nil when it is unknown: 0 (the kernel itself, or a caller outside our pid
  /// namespace), gone, or hidden. `uid` and `gid` are those of the request.
  package func context(forThread tid: Int32, uid: UInt32, gid: UInt32) -> ProcessContext? {
    guard tid > 0 else { return nil }
    let following = processCallback.hasRegistrations
    let (known, loss, hasConnector, wakes) = state.withLock { state in
      state.drain(following: following)
      return (state.threads.touch(tid), state.lossGeneration, state.monitor != nil, !state.work.isEmpty && state.hasWorker)
    }
    if wakes { worker.wake() }
    if let known = known ?? adopt(tid), known.record.lossGeneration.load(ordering: .acquiring) == loss,
      known.record.execsSince.load(ordering: .acquiring) == 0,
      known.record.facts.userID == uid, known.record.facts.groupID == gid,
      let then = known.record.facts.executableFile,
      // What a process leaves to be closed at its exit is asked about when it has no image any more. While no exec was told, it
      // can have run nothing else than it did.
      let file = known.directory.executable() ?? (hasConnector && known.directory.isExiting() ? then : nil),
      file.isUnchanged(then),
      hasConnector || isStillItself(known)
    {
      let record = known.record
      if record.classifierGeneration.load(ordering: .acquiring) != classifierGeneration.load(ordering: .acquiring) {
        reclassify(record)
      }
      return context(of: known, hasConnector: hasConnector)
    }
    // What happens to a waiting caller while it is read is little: a tracer may come. One that keeps changing is unknown.
    for _ in 0..<8 {
      switch read(thread: tid, ids: (uid, gid), announces: true) {
      case .gone: return nil
      case .changed: continue
      case .read(let record, let directory):
        let known = KnownThread(id: tid, directory: directory, record: record)
        state.withLock { $0.remember(known, tid) }
        deliver()
        return context(of: known, hasConnector: hasConnector)
      }
    }
    return nil
  }

  /// A thread that asks for the first time, of a process that is known.
  private func adopt(_ tid: Int32) -> KnownThread? {
    guard let directory = TaskDirectory.open(tid), let status = directory.text("status").map(TaskStatus.init),
      let id = status.number("Tgid"), let record = state.withLock({ $0.records[id] }),
      // Without the connector nobody told that the number was given to another process.
      let stat = (id == tid ? directory : TaskDirectory.open(id))?.text("stat").flatMap(TaskStat.init),
      stat.field(22) == record.facts.startTicks
    else { return nil }
    let known = KnownThread(id: tid, directory: directory, record: record)
    state.withLock { $0.remember(known, tid) }
    return known
  }

  private func context(of known: KnownThread, hasConnector: Bool) -> ProcessContext {
    guard isTraced(known.record, hasConnector: hasConnector) else { return known.context }
    var context = known.context
    context.add(.traced)
    return context
  }

  private func isTraced(_ record: ProcessRecord, hasConnector: Bool) -> Bool {
    if hasConnector, !record.asksForTracer.load(ordering: .acquiring) { return false }
    // Taken back before it is asked: a tracer that comes now sets it again.
    record.asksForTracer.store(false, ordering: .sequentiallyConsistent)
    guard let leader = TaskDirectory.open(record.processID), !leader.hasTracer() else {
      record.asksForTracer.store(true, ordering: .releasing)
      return true
    }
    return false
  }

  /// Without the connector: what an exec of the same file would have changed.
  private func isStillItself(_ known: KnownThread) -> Bool {
    guard let commandLine = known.directory.read("cmdline", limit: Self.commandLineLimit)?.bytes,
      Self.hash(commandLine) == known.record.commandLineHash
    else { return false }
    return known.record.facts.doubts.contains(.loaderEnvironment) || known.directory.hasPlainEnvironment()
  }

  // MARK: Reading

  enum ReadResult {
    case gone
    /// Something happened to the process while it was read.
    case changed
    case read(ProcessRecord, TaskDirectory)
  }

  private static let commandLineLimit = 32768

  /// Makes a record of a thread's process from /proc and puts it into the table. `ids`: those of the request; nil for
  /// the process's own.
  func read(thread tid: Int32, ids: (uid: UInt32, gid: UInt32)?, announces: Bool) -> ReadResult {
    guard let task = TaskDirectory.open(tid), let status = task.text("status").map(TaskStatus.init),
      let id = status.number("Tgid"), id > 0
    else { return .gone }
    let following = processCallback.hasRegistrations
    let (reading, old, isTainted, loss) = state.withLock { state in
      state.drain(following: following)
      let reading = Reading(processID: id)
      state.readings.append(reading)
      return (reading, state.records[id], state.tainted[id] != nil, state.lossGeneration)
    }
    let generation = classifierGeneration.load(ordering: .acquiring)
    guard let leader = id == tid ? task : TaskDirectory.open(id),
      // The thread's own stat has the thread's start; a process starts with its leader.
      let stat = leader.text("stat").flatMap(TaskStat.init), let startTicks: UInt64 = stat.field(22)
    else {
      state.withLock { state in state.readings.removeAll { $0 === reading } }
      return .gone
    }
    // Nobody asks, and what is left is no process any more (PF_EXITING): it was told of, or never will be.
    if ids == nil, let flags: UInt32 = stat.field(9), flags & 0x4 != 0, (leader.threadCount() ?? 0) <= 1 {
      state.withLock { state in state.readings.removeAll { $0 === reading } }
      return .gone
    }
    let file = task.executable()
    let commandLine = task.read("cmdline", limit: Self.commandLineLimit)?.bytes ?? []
    let hash = Self.hash(commandLine)
    // The fourth number is the file system id, which is what requests carry.
    let uid = ids?.uid ?? status.numbers("Uid").last ?? .max
    let gid = ids?.gid ?? status.numbers("Gid").last ?? .max
    let groups = status.numbers("Groups")
    var facts = ProcessContext(
      processID: id, threadID: id, startTicks: startTicks, startTime: time(ofTicks: startTicks),
      executable: task.link("exe"), executableFile: file, commandLine: Self.text(commandLine),
      parentID: stat.field(4) ?? 0, sessionID: stat.field(6) ?? 0, userID: uid, groupID: gid, doubts: [])
    // A doubt once seen stays while nothing says that the process runs anything else.
    let wasTainted = old.map { old in
      old.execsSince.load(ordering: .acquiring) == 0 && old.facts.isSameImage(facts)
        && old.facts.doubts.contains(.loaderEnvironment)
    } ?? false
    if file == nil { facts.doubts.append(.noExecutable) }
    if file?.links == 0 { facts.doubts.append(.deletedExecutable) }
    if userNamespace == nil || task.link("ns/user") != userNamespace { facts.doubts.append(.foreignUserNamespace) }
    if isTainted || wasTainted || !task.hasPlainEnvironment() { facts.doubts.append(.loaderEnvironment) }
    let isTraced = leader.hasTracer()

    // The classifier sees what a judgement would see.
    var asked = facts
    if file?.canBeChanged(byUser: uid, groups: { $0 == gid || groups.contains($0) }) ?? false { asked.doubts.append(.ownExecutable) }
    if isTraced { asked.doubts.append(.traced) }
    let classification = classify(ProcessFacts(context: asked, directory: leader, digests: digests))
    let record = ProcessRecord(
      facts: facts, execGeneration: Self.generation(after: old, facts), groups: groups, commandLineHash: hash,
      classification: classification, classifierGeneration: generation, lossGeneration: loss, isTraced: isTraced)
    let (result, sweeps) = state.withLock { state -> (ReadResult, Bool) in
      state.drain(following: following)
      guard let kept = state.insert(record, reading, announces: announces) else { return (.changed, false) }
      return (.read(kept, task), state.records.count >= state.sweepAt)
    }
    if sweeps { sweep() }
    return result
  }

  private static func generation(after old: ProcessRecord?, _ facts: ProcessContext) -> UInt32 {
    guard let old, old.facts.startTicks == facts.startTicks else { return 0 }
    let execs = old.execsSince.load(ordering: .acquiring)
    return old.execGeneration &+ max(execs, old.facts.executable == facts.executable ? 0 : 1)
  }

  private static func text(_ commandLine: [UInt8]) -> String? {
    guard let end = commandLine.lastIndex(where: { $0 != 0 }) else { return commandLine.isEmpty ? nil : "" }
    return String(decoding: commandLine[...end].map { $0 == 0 ? 0x20 : $0 }, as: UTF8.self)
  }

  /// Seeded anew in every run: nobody can prepare two command lines with one hash.
  private static func hash(_ bytes: [UInt8]) -> UInt64 {
    var hasher = Hasher()
    bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
    return UInt64(bitPattern: Int64(hasher.finalize()))
  }

  private func time(ofTicks ticks: UInt64) -> FileTime {
    let seconds = ticks / ticksPerSecond
    let rest = (ticks % ticksPerSecond) &* 10_000_000 / ticksPerSecond
    let (units, overflow) = seconds.multipliedReportingOverflow(by: 10_000_000)
    return overflow ? bootTime : FileTime(rawValue: bootTime.rawValue &+ units &+ rest)
  }

  // MARK: Classes and trust

  /// What the policy makes of a process now; announced when that changes the trusted bit.
  func reclassify(_ record: ProcessRecord) {
    let generation = classifierGeneration.load(ordering: .acquiring)
    guard let directory = TaskDirectory.open(record.processID) else { return }
    var asked = record.facts
    if record.canChangeItsExecutable { asked.add(.ownExecutable) }
    if directory.hasTracer() { asked.add(.traced) }
    let classification = classify(ProcessFacts(context: asked, directory: directory, digests: digests))
    set(classification, of: record, generation)
  }

  private func set(_ classification: Classification, of record: ProcessRecord, _ generation: UInt64?) {
    state.withLock { state in
      let isChanged = record.set(classification)
      if let generation { record.classifierGeneration.store(generation, ordering: .releasing) }
      // Who holds the record of a process that runs something else by now may set it; nobody is told.
      guard isChanged, state.records[record.processID] === record else { return }
      state.trustedCount += record.isTrusted ? 1 : -1
      state.outbox.append(.trust(record, record.isTrusted))
    }
    deliver()
  }

  /// The policy has changed: every live process is judged again (MpUpdateProcessesWithExclusions). One that is being read
  /// meanwhile is at its next judgement.
  package func reclassify() {
    classifierGeneration.add(1, ordering: .acquiringAndReleasing)
    for record in records { reclassify(record) }
  }

  /// Gives one process other flags and rules, until its next exec or `reclassify()` (MpSetProcessInfoByContext).
  package func setInformation(_ classification: Classification, of record: ProcessRecord) {
    set(classification, of: record, nil)
  }

  /// How many processes of the table are trusted.
  package var trustedCount: Int { state.withLock { $0.trustedCount } }

  // MARK: Asking

  /// The process with that id, also when it never asked for anything; nil when there is none.
  package func record(ofProcess id: Int32) -> ProcessRecord? {
    settle()
    for _ in 0..<8 {
      switch read(thread: id, ids: nil, announces: true) {
      case .gone: return nil
      case .changed: continue
      case .read(let record, _):
        deliver()
        return record.processID == id ? record : nil
      }
    }
    return nil
  }

  /// Every process that has a record, by id.
  package var records: [ProcessRecord] { state.withLock { $0.records.elements }.sorted { $0.processID < $1.processID } }

  /// Every live process, also those that never asked for anything, by id (QUERY_TRUSTED_AND_UNTRUSTED_PROCESS).
  package func allRecords() -> [ProcessRecord] {
    settle()
    scan(announces: false)
    sweep()
    return records
  }

  /// Tells every live process again.
  func refresh() {
    let following = processCallback.hasRegistrations
    state.withLock { $0.drain(following: following) }
    scan(announces: false)
    sweep()
    state.withLock { state in
      for record in state.records.elements.sorted(by: { $0.processID < $1.processID }) {
        state.outbox.append(.refresh(record))
      }
    }
    deliver()
  }

  /// Tells what is due, in the order in which it became so. Who finds another thread at it leaves it to that one.
  func deliver() {
    while true {
      let batch = state.withLock { state -> [ProcessNotification] in
        guard !state.isDelivering, !state.outbox.isEmpty else { return [] }
        let batch = state.outbox
        state.outbox = []
        state.isDelivering = true
        return batch
      }
      if batch.isEmpty { return }
      for notification in batch { processCallback.notify(0, notification) }
      state.withLock { $0.isDelivering = false }
    }
  }
}
