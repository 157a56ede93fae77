internal import Executive
internal import Glibc

/// Who is behind a thread id (MP_PROCESS_TABLE).
///
/// Nothing is kept between requests yet: a caller that waits for an answer can neither exec nor exit, so what /proc
/// says before the answer is free of races (identity.md, 4), and it is asked only when a rule has matched.
package final class ProcessTable: Sendable {
  /// Our user namespace; nil when it cannot be told, and then nobody is exempt.
  private let userNamespace: String?
  /// The moment of boot. Taken once, so that a process keeps its start time in every event.
  private let bootTime: FileTime
  private let ticksPerSecond: UInt64

  package init() {
    userNamespace = TaskDirectory.open(getpid())?.link("ns/user")
    var sinceBoot = timespec()
    clock_gettime(CLOCK_BOOTTIME, &sinceBoot)
    let units = UInt64(max(0, sinceBoot.tv_sec)) &* 10_000_000 &+ UInt64(max(0, sinceBoot.tv_nsec)) / 100
    let now = FileTime.now().rawValue
    bootTime = FileTime(rawValue: now >= units ? now - units : 0)
    ticksPerSecond = UInt64(max(1, sysconf(Int32(_SC_CLK_TCK))))
  }

  /// The process of thread `tid`, read now; nil when it is unknown: 0 (the kernel itself, or a caller outside our pid
  /// namespace), gone, or hidden.
  package func context(forThread tid: Int32, uid: UInt32, gid: UInt32) -> ProcessContext? {
    guard let task = TaskDirectory.open(tid), let status = task.text("status").map(TaskStatus.init),
      let processID = status.number("Tgid"), processID > 0,
      // The thread's own stat has the thread's start; a process starts with its leader.
      let leader = TaskDirectory.open(processID), let stat = leader.text("stat").flatMap(TaskStat.init),
      let startTicks: UInt64 = stat.field(22)
    else { return nil }

    let file = task.executable()
    return ProcessContext(
      processID: processID, threadID: tid, startTicks: startTicks, startTime: time(ofTicks: startTicks),
      executable: task.link("exe"), executableFile: file, commandLine: commandLine(task),
      parentID: stat.field(4) ?? 0, sessionID: stat.field(6) ?? 0, userID: uid, groupID: gid,
      doubts: doubts(task, status, file, uid))
  }

  private func time(ofTicks ticks: UInt64) -> FileTime {
    let seconds = ticks / ticksPerSecond
    let rest = (ticks % ticksPerSecond) &* 10_000_000 / ticksPerSecond
    let (units, overflow) = seconds.multipliedReportingOverflow(by: 10_000_000)
    return overflow ? bootTime : FileTime(rawValue: bootTime.rawValue &+ units &+ rest)
  }

  private func commandLine(_ task: borrowing TaskDirectory) -> String? {
    guard var bytes = task.read("cmdline", limit: 32768)?.bytes, !bytes.isEmpty else { return nil }
    while bytes.last == 0 { bytes.removeLast() }
    return String(decoding: bytes.map { $0 == 0 ? 0x20 : $0 }, as: UTF8.self)
  }

  private func doubts(
    _ task: borrowing TaskDirectory, _ status: TaskStatus, _ file: ExecutableFile?, _ uid: UInt32
  ) -> [ExemptionDoubt] {
    var doubts: [ExemptionDoubt] = []
    if let file {
      if file.links == 0 { doubts.append(.deletedExecutable) }
      if uid != 0, file.ownerID == uid || file.mode & 0o002 != 0 { doubts.append(.ownExecutable) }
    } else {
      doubts.append(.noExecutable)
    }
    if userNamespace == nil || task.link("ns/user") != userNamespace { doubts.append(.foreignUserNamespace) }
    if status.number("TracerPid") != 0 { doubts.append(.traced) }
    if !hasPlainEnvironment(task) { doubts.append(.loaderEnvironment) }
    return doubts
  }

  /// The environment is there to read and puts no foreign code into the process.
  private func hasPlainEnvironment(_ task: borrowing TaskDirectory) -> Bool {
    guard let environment = task.read("environ", limit: 1 << 18), !environment.cut else { return false }
    let loaderVariables = ["LD_PRELOAD=", "LD_AUDIT=", "LD_LIBRARY_PATH="].map { Array($0.utf8) }
    return !environment.bytes.split(separator: 0).contains { variable in
      loaderVariables.contains { variable.starts(with: $0) }
    }
  }
}
