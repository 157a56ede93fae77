import Benchmark
import BenchmarkRules
import Executive
import Glibc
import ProcessTable
import WdFilter

/// What it costs to know who asks. Goal: a known caller costs the two guards, measured beside it, and less than 300 ns.
enum CallerCost {
  static func measure(_ configuration: Benchmark.Configuration) {
    Benchmark("caller: the two guards alone", configuration: configuration) { benchmark, guards in
      benchmark.startMeasurement()
      for _ in benchmark.scaledIterations { blackHole(guards.ask()) }
    } setup: {
      try Guards()
    }
    judge("caller: known, with the connector", configuration) { try Callers(table(connected: true)) }
    judge("caller: known, without the connector", configuration) { try Callers(table(connected: false)) }
    // The record is of one user's requests: of another's, everything is read anew.
    judge("caller: for the first time, with the connector", configuration) { try Callers(table(connected: true), alternates: true) }
    judge("caller: for the first time, without the connector", configuration) { try Callers(table(connected: false), alternates: true) }
  }

  private static func judge(
    _ name: String, _ configuration: Benchmark.Configuration, _ callers: @escaping @Sendable () throws -> Callers
  ) {
    Benchmark(name, configuration: configuration) { benchmark, callers in
      precondition(callers.judge() != nil, "the caller is not known")
      benchmark.startMeasurement()
      for _ in benchmark.scaledIterations { blackHole(callers.judge()) }
    } setup: {
      try callers()
    }
  }

  private static func table(connected: Bool) throws -> ProcessTable {
    let rules = try RuleTree(count: 10).rules
    let classify: ProcessTable.Classifier = { rules.classify($0) }
    guard connected else {
      return ProcessTable(monitor: nil, problem: nil, callbacks: CallbackDirectory(), classify: classify)
    }
    return ProcessTable(monitor: try ProcessMonitor(), problem: nil, callbacks: CallbackDirectory(), classify: classify)
  }

  /// A process with one thread, which ends with us: the costs grow with the threads where nobody tells of tracers.
  private final class Caller {
    let id: pid_t

    init() throws {
      struct NoProcess: Error {}
      var ends: [Int32] = [-1, -1]
      guard pipe(&ends) == 0 else { throw NoProcess() }
      for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
      var actions = posix_spawn_file_actions_t()
      posix_spawn_file_actions_init(&actions)
      defer { posix_spawn_file_actions_destroy(&actions) }
      posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO)
      var id: pid_t = 0
      var words: [UnsafeMutablePointer<CChar>?] = [strdup("/bin/cat"), nil]
      defer { free(words[0]) }
      guard posix_spawn(&id, "/bin/cat", &actions, nil, &words, environ) == 0 else { throw NoProcess() }
      close(ends[0])
      self.id = id
    }

    deinit {
      kill(id, SIGKILL)
      waitpid(id, nil, 0)
    }
  }

  private final class Callers {
    private let caller: Caller
    private let table: ProcessTable
    private let alternates: Bool
    private var userID: UInt32 = 1000

    init(_ table: ProcessTable, alternates: Bool = false) throws {
      caller = try Caller()
      self.table = table
      self.alternates = alternates
    }

    func judge() -> ProcessContext? {
      if alternates { userID ^= 1 }
      return table.context(forThread: caller.id, uid: userID, gid: 1000)
    }
  }

  /// The system calls of identity.md, 6, with nothing around them: a socket of the connector's protocol that has nothing to say, and
  /// the executable through the kept directory.
  private final class Guards {
    private let caller: Caller
    private let directory: Int32
    private let connector = socket(16 /* AF_NETLINK */, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC, 11 /* NETLINK_CONNECTOR */)
    private var buffer = [UInt8](repeating: 0, count: 1024)

    init() throws {
      caller = try Caller()
      directory = open("/proc/\(caller.id)", 0o1000_0000 /* O_PATH */ | O_DIRECTORY | O_CLOEXEC)
    }

    deinit {
      close(directory)
      close(connector)
    }

    func ask() -> Int32 {
      let count = recv(connector, &buffer, buffer.count, Int32(MSG_DONTWAIT))
      precondition(count < 0 && errno == EAGAIN, "the guards' socket is not empty")
      var found = stat()
      let status = fstatat(directory, "exe", &found, 0x4000 /* AT_STATX_DONT_SYNC */)
      precondition(status == 0, "the guards' executable cannot be asked for")
      return status
    }
  }
}
