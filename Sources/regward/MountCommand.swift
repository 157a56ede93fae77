internal import ArgumentParser
internal import FUSEServer
internal import Glibc

/// `regward mount`: a hive as a directory.
struct MountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mount",
    abstract: "Mounts a hive, or several, as directories and files.",
    usage: "regward mount [-f] [-o <options>] [--at <name>] [--policy <file>] [--log <file>] <hive> <mount-point>\nregward mount [...] HKLM/SYSTEM=<hive> HKU/S-1-5-18=<hive> ... <mount-point>",
    discussion: """
      One hive is the mount's root. Several lie in it where the registry has them: each is named with its place, \
      HKLM/NAME=HIVE or HKU/NAME=HIVE, and more can be loaded while it is mounted (regward load).

      Returns once the hive is mounted; a process of its own serves it until it is unmounted or gets SIGINT or SIGTERM.

      Options for -o, parted by commas: ro, rw, force, policy=FILE, log=FILE, log-processes, at=NAME, sync=WHEN, scratch=off, allow_other, uid=N, \
      gid=N, umask=OCTAL, fsname=TEXT, and the generic ones of mount(8).

      A change survives the end of this program as soon as its system call returns. It survives power loss when sync=WHEN says: \
      op, when its call returns; fsync, with the next fsync in its hive, the default; unmount, when it is brought to the hive's \
      file, and fsync does nothing.

      Temporary files of editors and copy tools stay in memory until they are renamed (SEMANTICS.md, 11); scratch=off makes values of \
      them at once.

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

  @Flag(help: "Append beginning, end and trust of every process of the machine, too.")
  var logProcesses = false

  @Option(help: .hidden)
  var readyFd: Int32?

  @Argument(
    help: ArgumentHelp(
      "The hives' primary files, and last an existing directory: the mount point.", valueName: "hive ... mount-point"),
    completion: .file())
  var paths: [String]

  func validate() throws {
    guard paths.count >= 2 else { throw ValidationError("A hive and a mount point are needed.") }
  }

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
    if logProcesses { wanted.logsProcesses = true }
    guard !wanted.logsProcesses || wanted.log != nil else {
      throw MountFailure("log-processes needs a log: log=FILE", status: MountFailure.usageStatus)
    }

    let mountPoint = paths.last ?? ""
    var hives: [HiveSource] = []
    for source in paths.dropLast().map({ HiveSource($0) }) {
      guard let path = FilePath.resolve(source.path) else {
        throw MountFailure("\(source.path): \(Console.reason(errno))")
      }
      hives.append(HiveSource(place: source.place, path: path))
    }
    guard hives.count == 1 || hives.allSatisfy({ $0.place != nil }) else {
      throw MountFailure(
        "several hives need a place each: HKLM/NAME=HIVE or HKU/NAME=HIVE", status: MountFailure.usageStatus)
    }
    guard hives[0].place == nil || wanted.location == nil else {
      throw MountFailure("at= is for a single hive without a place of its own", status: MountFailure.usageStatus)
    }
    guard let folder = FilePath.resolve(mountPoint) else {
      throw MountFailure("mount point \(mountPoint): \(Console.reason(errno))")
    }
    guard foreground || isDaemon else {
      return try DaemonLauncher.launch(daemonArguments(hives, mountPoint: folder))
    }
    var mount = HiveMount(hives: hives, mountPoint: folder, options: wanted, isDaemon: isDaemon)
    try mount.run()
    return 0
  }

  /// The same mount for another process. Scripts know the daemon by `mount` in the second place and the mount point in the last.
  private func daemonArguments(_ hives: [HiveSource], mountPoint: String) -> [String] {
    var arguments = [CommandLine.arguments.first ?? "regward", "mount"]
    for list in options { arguments += ["-o", list] }
    if let at { arguments += ["--at=\(at)"] }
    if let policy { arguments += ["--policy=\(policy)"] }
    if let log { arguments += ["--log=\(log)"] }
    if logProcesses { arguments.append("--log-processes") }
    return arguments + ["--ready-fd", String(DaemonLauncher.readyDescriptor), "--"] + hives.map(\.argument) + [mountPoint]
  }
}
