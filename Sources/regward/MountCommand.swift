internal import ArgumentParser
internal import FUSEServer
internal import Glibc

/// `regward mount`: a hive as a directory.
struct MountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mount",
    abstract: "Mounts a hive as directories and files.",
    discussion: """
      Returns once the hive is mounted; a process of its own serves it until it is unmounted or gets SIGINT or SIGTERM.

      Options for -o, parted by commas: ro, rw, policy=FILE, log=FILE, at=NAME, allow_other, uid=N, gid=N, umask=OCTAL, \
      fsname=TEXT, and the generic ones of mount(8).

      Exit status, as of mount(8): 0 mounted, 1 wrong usage or policy, 2 system error, 32 not mounted.
      """)

  @Flag(name: .short, help: "Stay in the foreground.")
  var foreground = false

  @Option(name: .short, parsing: .unconditionalSingleValue, help: ArgumentHelp("Mount options.", valueName: "options"))
  var options: [String] = []

  @Option(help: ArgumentHelp(#"Where the hive belongs: HKLM\SYSTEM, for rules to find it."#, valueName: "name"))
  var at: String?

  @Option(help: ArgumentHelp("The policy; without one, the policy that ships.", valueName: "file"))
  var policy: String?

  @Option(help: ArgumentHelp("Append events to this file, a line of JSON each.", valueName: "file"))
  var log: String?

  @Option(help: .hidden)
  var readyFd: Int32?

  @Argument(help: "The hive's primary file.", completion: .file())
  var hive: String

  @Argument(help: ArgumentHelp("An existing directory.", valueName: "mount-point"), completion: .directory)
  var mountPoint: String

  func run() throws {
    do throws(MountFailure) {
      let status = try mount()
      if status != 0 { throw MountFailure("", status: status) }
    } catch {
      if !error.message.isEmpty { Console.tell(error.message) }
      throw ExitCode(error.status)
    }
  }

  /// The exit status; a failure that was told already has one too.
  private func mount() throws(MountFailure) -> Int32 {
    let isDaemon = readyFd == DaemonLauncher.readyDescriptor
    if isDaemon { DaemonLauncher.detach() }
    var wanted: MountOptions
    do throws(MountOptions.Problem) { wanted = try MountOptions(parsing: options) } catch {
      throw MountFailure(error.description, status: MountFailure.usageStatus)
    }
    if let at { wanted.location = at }
    // Absolute: the daemon leaves this directory, and may open the log again later.
    wanted.policy = (policy ?? wanted.policy).map(FilePath.absolute)
    wanted.log = (log ?? wanted.log).map(FilePath.absolute)

    guard let hivePath = FilePath.resolve(hive) else { throw MountFailure("\(hive): \(Console.reason(errno))") }
    guard let folder = FilePath.resolve(mountPoint) else {
      throw MountFailure("mount point \(mountPoint): \(Console.reason(errno))")
    }
    guard foreground || isDaemon else {
      return try DaemonLauncher.launch(daemonArguments(hive: hivePath, mountPoint: folder))
    }
    let mount = HiveMount(hive: hivePath, mountPoint: folder, options: wanted, isDaemon: isDaemon)
    try mount.run()
    return 0
  }

  /// The same mount for another process. Scripts know the daemon by `mount` in the second place and the mount point in the last.
  private func daemonArguments(hive: String, mountPoint: String) -> [String] {
    var arguments = [CommandLine.arguments.first ?? "regward", "mount"]
    for list in options { arguments += ["-o", list] }
    if let at { arguments += ["--at=\(at)"] }
    if let policy { arguments += ["--policy=\(policy)"] }
    if let log { arguments += ["--log=\(log)"] }
    return arguments + ["--ready-fd", String(DaemonLauncher.readyDescriptor), "--", hive, mountPoint]
  }
}
