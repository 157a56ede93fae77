package import Executive
internal import Glibc
internal import Synchronization

/// The thread that looks after the table while nobody judges: it takes events before the socket overflows, reads
/// environments as early as can be, and announces.
final class ProcessWorker: Sendable {
  /// Its read end wakes the thread, beside the connector's socket.
  private let pipe: (read: Int32, write: Int32)
  private let isAwake = Atomic<Bool>(false)
  let isStopping = Atomic<Bool>(false)
  let thread = Mutex<SystemThread?>(nil)
  /// One at a time does what is to be done, so that it is done in order.
  let working = Mutex<Bool>(false)

  init() {
    var ends: [Int32] = [-1, -1]
    // Not waiting for each other matters more than the flags' being set at once (pipe2 is hidden from Swift).
    _ = Glibc.pipe(&ends)
    for end in ends where end >= 0 {
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
      _ = fcntl(end, F_SETFL, O_NONBLOCK)
    }
    pipe = (ends[0], ends[1])
  }

  deinit {
    if pipe.read >= 0 { close(pipe.read) }
    if pipe.write >= 0 { close(pipe.write) }
  }

  func wake() {
    guard !isAwake.exchange(true, ordering: .acquiringAndReleasing) else { return }
    var byte: UInt8 = 0
    _ = write(pipe.write, &byte, 1)
  }

  /// Until something happens, at most `milliseconds`.
  func wait(_ socket: Int32?, milliseconds: Int32) {
    var ready = [
      pollfd(fd: pipe.read, events: Int16(POLLIN), revents: 0), pollfd(fd: socket ?? -1, events: Int16(POLLIN), revents: 0),
    ]
    _ = poll(&ready, 2, milliseconds)
    isAwake.store(false, ordering: .releasing)
    var bytes = [UInt8](repeating: 0, count: 16)
    while Glibc.read(pipe.read, &bytes, bytes.count) > 0 {}
  }
}

extension ProcessTable {
  /// Looks after the table on a thread of its own until `stop`; first at what runs already.
  package func start() {
    worker.thread.withLock { thread in
      guard thread == nil else { return }
      worker.isStopping.store(false, ordering: .releasing)
      state.withLock { $0.hasWorker = true }
      thread = SystemThread(name: "process-table") { [self] in
        lookAround()
        while !worker.isStopping.load(ordering: .acquiring) {
          settle()
          let (socket, isBlind) = state.withLock { state -> (Int32?, Bool) in
            if state.monitor == nil, state.hasWorker {
              // Nobody tells: who is gone, and while somebody wants to know who has come, has to be looked for.
              state.work.append(.sweep)
              if state.isFollowing { state.work.append(.scan(announces: true)) }
            }
            return (state.monitor?.descriptor, state.monitor == nil)
          }
          worker.wait(socket, milliseconds: isBlind ? 2000 : 10_000)
        }
      }
      if thread == nil { state.withLock { $0.hasWorker = false } }
    }
  }

  package func stop() {
    worker.thread.withLock { thread in
      worker.isStopping.store(true, ordering: .releasing)
      worker.wake()
      thread?.join()
      thread = nil
      state.withLock { $0.hasWorker = false }
    }
  }

  /// Takes in what has happened and does all that follows from it; what is due is announced when it returns. Not from inside a
  /// notification.
  package func settle() {
    worker.working.withLock { _ in
      while true {
        let following = processCallback.hasRegistrations
        let work = state.withLock { state -> [ProcessTableState.Work] in
          state.drain(following: following)
          let work = state.work
          state.work = []
          return work
        }
        for item in work {
          perform(item)
          deliver()
        }
        if work.isEmpty { break }
      }
      deliver()
    }
  }

  /// Calls `callback` with what happens from now on. What the connector has told and nobody has taken from it yet was before. Nil when
  /// the callback object takes nobody any more. Not from inside a notification.
  package func subscribe(
    _ callback: @escaping CallbackObject<ProcessNotification>.Callback
  ) -> CallbackObject<ProcessNotification>.Registration? {
    settle()
    return processCallback.register(callback)
  }

  private func perform(_ item: ProcessTableState.Work) {
    switch item {
    case .announce(let process): announce(process)
    case .look(let id): look(id)
    case .end(let process):
      state.withLock { state in
        for _ in 0..<process.unannounced {
          state.outbox.append(.created(unreadable: process.id, parentID: process.parentID))
        }
        process.unannounced = 0
        state.outbox.append(.terminated(process.id))
      }
    case .scan(let announces): scan(announces: announces)
    case .sweep: sweep()
    case .recover: recover()
    }
  }

  /// Has the image that a process runs now a loader's environment?
  private func look(_ id: Int32) {
    func isTainted() -> Bool { TaskDirectory.open(id)?.hasPlainEnvironment(unreadableIsPlain: true) == false }
    guard isTainted() else { return }
    // Few have one. Again, and so that what was read of an image is not held against the next one.
    let following = processCallback.hasRegistrations
    let reading = Reading(processID: id)
    state.withLock { state in
      state.drain(following: following)
      state.readings.append(reading)
    }
    let isStillTainted = isTainted()
    state.withLock { state in
      state.drain(following: following)
      state.readings.removeAll { $0 === reading }
      if isStillTainted, !reading.isOutdated { state.tainted[id] = true }
    }
  }

  /// After a loss of events: who is gone, who has come, and who has a loader's environment. (Of what was forked meanwhile by a process
  /// that had one and has wiped it, nothing tells.)
  private func recover() {
    let following = state.withLock { state in
      state.isRecoveryDue = false
      return state.isFollowing
    }
    sweep()
    if following { scan(announces: true) }
    lookAround()
  }

  /// Reads every environment, before it may be wiped.
  private func lookAround() { for id in TaskDirectory.processIDs() { look(id) } }

  private func announce(_ process: FollowedProcess) {
    for _ in 0..<8 {
      // Announced already by whoever judged it first, or gone; then its end is in the queue behind this.
      guard state.withLock({ _ in process.unannounced > 0 && !process.hasEnded }) else { return }
      guard case .changed = read(thread: process.id, ids: nil, announces: true) else { return }
    }
  }

  /// Takes in every process that is there and not known. When they are announced, one whose fork was seen is left out: its exec
  /// may be on its way, and would be told twice. Was that exec lost, it is told when it asks.
  func scan(announces: Bool) {
    for id in TaskDirectory.processIDs()
    where state.withLock({ $0.records[id] == nil && !(announces && $0.followed[id] != nil) }) {
      guard let directory = TaskDirectory.open(id), !directory.hasEnded(), !directory.isKernelThread() else { continue }
      _ = read(thread: id, ids: nil, announces: announces)
    }
  }

  /// Forgets those that are gone.
  func sweep() {
    for record in records {
      guard record.isGone() else { continue }
      state.withLock { state in
        if state.records[record.processID] === record { state.end(record.processID) }
      }
    }
    // Those that have no record: forked, and their end was lost.
    for id in state.withLock({ $0.followed.ids + $0.tainted.ids + $0.leaderless.ids }) {
      state.withLock { $0.endIfGone(id) }
    }
    state.withLock { $0.sweepAt = max(1024, $0.records.count * 2) }
  }
}

extension ProcessRecord {
  /// No process has this number and this start, or only its remains.
  fileprivate func isGone() -> Bool {
    guard let directory = TaskDirectory.open(processID), let stat = directory.text("stat").flatMap(TaskStat.init) else { return true }
    return stat.field(22) != facts.startTicks || directory.hasEnded()
  }
}
