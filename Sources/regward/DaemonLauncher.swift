internal import Glibc

/// Starts the daemon as another process of this program, and waits until it serves or gives up.
///
/// Another process and not a fork: what stands before `main` is then the same in both.
enum DaemonLauncher {
  /// The descriptor on which the daemon says that it serves.
  static let readyDescriptor: Int32 = 3

  /// What the daemon writes there.
  static let ready: UInt8 = 0x2B

  /// Runs this program with `arguments`; the exit status that a shell should see.
  static func launch(_ arguments: [String]) throws(MountFailure) -> Int32 {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw .system("cannot make a pipe", errno) }
    let (reader, writer) = (ends[0], ends[1])
    defer { close(reader) }
    _ = fcntl(reader, F_SETFD, FD_CLOEXEC)
    _ = fcntl(writer, F_SETFD, FD_CLOEXEC)

    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, writer, readyDescriptor)

    var pid: pid_t = 0
    // The link's target where it can be had: a process that runs /proc/self/exe is called `exe`.
    let program = FilePath.resolve("/proc/self/exe") ?? "/proc/self/exe"
    var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    let failure = posix_spawn(&pid, program, &actions, nil, pointers, environ)
    close(writer)
    guard failure == 0 else { throw .system("cannot start \(program)", failure) }

    var byte: UInt8 = 0
    while true {
      let count = read(reader, &byte, 1)
      if count == 1 { return 0 }
      if count == 0 { break }
      if errno != EINTR { throw .system("cannot hear from the daemon", errno) }
    }
    // The daemon has ended without a word on the pipe; what was wrong is on standard error already.
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0 {
      if errno != EINTR { throw .system("cannot wait for the daemon", errno) }
    }
    if let code = exitStatus(status) { return code == 0 ? MountFailure.systemStatus : code }
    throw MountFailure("the daemon died of signal \(status & 0x7F)", status: MountFailure.systemStatus)
  }

  /// Of what waitpid tells: the status of a process that ended by itself, nil for one that a signal ended.
  static func exitStatus(_ status: Int32) -> Int32? { status & 0x7F == 0 ? status >> 8 & 0xFF : nil }

  /// In the daemon, before anything else: out of the terminal's session.
  static func detach() {
    setsid()
    _ = fcntl(readyDescriptor, F_SETFD, FD_CLOEXEC)
  }

  /// In the daemon: the shell may go on. Nobody reads standard error from here on.
  static func report() {
    let null = open("/dev/null", O_RDWR | O_CLOEXEC)
    if null >= 0 {
      dup2(null, STDERR_FILENO)
      close(null)
    }
    Console.write([ready], to: readyDescriptor)
    close(readyDescriptor)
  }
}
