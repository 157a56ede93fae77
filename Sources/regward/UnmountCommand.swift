internal import ArgumentParser
internal import Glibc

/// `regward umount`: ends a mount, and waits until the hive is whole and free.
struct UnmountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "umount",
    abstract: "Unmounts hives and waits until their files are complete.",
    discussion: "Exit status: 0 unmounted, 1 wrong usage, 2 system error, 32 not unmounted.")

  @Flag(help: "Detach a mount that is in use; it ends with its last user. Does not wait.")
  var lazy = false

  @Argument(help: ArgumentHelp("The mount points.", valueName: "mount-point"), completion: .directory)
  var mountPoints: [String]

  func run() throws {
    var status: Int32 = 0
    for mountPoint in mountPoints {
      do throws(MountFailure) { try unmount(mountPoint) } catch {
        Console.tell(error.message)
        status = max(status, error.status)
      }
    }
    if status != 0 { throw ExitCode(status) }
  }

  private func unmount(_ mountPoint: String) throws(MountFailure) {
    let entries = MountTable.read()
    // A mount whose daemon died cannot be resolved; its name in the table can.
    let typed = FilePath.absolute(mountPoint)
    let trimmed = typed.count > 1 && typed.hasSuffix("/") ? String(typed.dropLast()) : typed
    guard let path = FilePath.resolve(mountPoint) ?? entries.last(where: { $0.mountPoint == trimmed })?.mountPoint
    else { throw MountFailure("\(mountPoint): \(Console.reason(errno))") }
    guard let entry = entries.last(where: { $0.mountPoint == path }) else {
      throw MountFailure("\(mountPoint) is not mounted")
    }
    guard entry.type == MountTable.type else {
      throw MountFailure("\(mountPoint) is not a regward mount but one of type \(entry.type)")
    }
    let daemon = DaemonProcess(serving: path)
    if geteuid() == 0 {
      guard umount2(path, lazy ? Int32(MNT_DETACH) : 0) == 0 else {
        let code = errno
        let hint = code == EBUSY ? "in use; leave it, or use --lazy" : Console.reason(code)
        throw MountFailure("\(mountPoint): \(hint)")
      }
    } else {
      try runFusermount(path)
    }
    guard !lazy, let daemon else { return }
    guard daemon.waitForEnd(seconds: 120) else {
      throw MountFailure(
        "\(mountPoint) is unmounted, but process \(daemon.processID) still has the hive",
        status: MountFailure.systemStatus)
    }
  }

  /// It tells by itself what is wrong.
  private func runFusermount(_ path: String) throws(MountFailure) {
    let arguments = ["fusermount3", lazy ? "-uz" : "-u", "--", path]
    var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    var pid: pid_t = 0
    let failure = posix_spawnp(&pid, "fusermount3", nil, nil, pointers, environ)
    guard failure == 0 else { throw .system("cannot run fusermount3", failure) }
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0 {
      if errno != EINTR { throw .system("cannot wait for fusermount3", errno) }
    }
    guard DaemonLauncher.exitStatus(status) == 0 else { throw MountFailure("\(path) was not unmounted") }
  }
}
