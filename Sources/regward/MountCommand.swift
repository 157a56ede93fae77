internal import ArgumentParser
internal import FUSEServer
internal import Glibc

/// `regward mount`: a hive as a directory.
struct MountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mount",
    abstract: "Mounts a hive, or several, as directories and files.",
    usage: """
      regward mount [-f] [-o <options>] [--at <name>] [--policy <file>] [--log <file>] <hive> <mount-point>
      regward mount [...] HKLM/SYSTEM=<hive> HKU/S-1-5-18=<hive> ... <mount-point>
      regward mount [...] --windows <dir> <mount-point>
      """,
    discussion: """
      One hive is the mount's root. Several lie in it where the registry has them: each is named with its place, \
      HKLM/NAME=HIVE or HKU/NAME=HIVE, and more can be loaded while it is mounted (regward load).

      --windows finds the hives of a Windows tree, in any case: SYSTEM, SOFTWARE, SAM, SECURITY and DEFAULT (HKU/.DEFAULT) of \
      Windows/System32/config, and of each folder in Users NTUSER.DAT (HKU/SID, or the folder's name where SOFTWARE does not tell the \
      SID) and UsrClass.dat (HKU/SID_Classes). It says what it mounts where, and leaves out what is damaged, in use, or a link that \
      leads out of the tree.

      Returns once the hive is mounted; a process of its own serves it until it is unmounted or gets SIGINT or SIGTERM.

      Options for -o, parted by commas: ro, rw, force, policy=FILE, log=FILE, log-to=PLACE, log-format=FORMAT, log-ops=OPERATIONS, \
      log-processes, at=NAME, ccs=off, sync=WHEN, scratch=off, allow_other, uid=N, gid=N, umask=OCTAL, fmask=OCTAL, dmask=OCTAL, \
      fsname=TEXT, raw, numbers=BASE, typesuffix, and the generic ones of mount(8).

      A SYSTEM hive shows CurrentControlSet, a link to the control set that Select\\Current names; ccs=off leaves it out.

      A value's file is text by its type, and numbers=hex writes its numbers as 0x and digits. With raw every file is the value's \
      bytes, and a new one REG_BINARY. With typesuffix names are listed with their type: Start%dword.

      A change survives the end of this program as soon as its system call returns. It survives power loss when sync=WHEN says: \
      op, when its call returns; fsync, with the next fsync in its hive, the default; unmount, when it is brought to the hive's \
      file, and fsync does nothing.

      Temporary files of editors and copy tools stay in memory until they are renamed (SEMANTICS.md, 10); scratch=off makes values of \
      them at once.

      Exit status, as of mount(8): 0 mounted, 1 wrong usage or policy, 2 system error, 32 not mounted.
      """)

  @Flag(name: .short, help: "Stay in the foreground.")
  var foreground = false

  @Option(name: .short, parsing: .unconditionalSingleValue, help: ArgumentHelp("Mount options.", valueName: "options"))
  var options: [String] = []

  @Option(help: ArgumentHelp(#"Where the hive belongs: HKLM\SYSTEM, for rules to find it."#, valueName: "name"))
  var at: String?

  @Option(help: ArgumentHelp("The folder that holds Windows and Users: all hives in it.", valueName: "dir"), completion: .directory)
  var windows: String?

  @Option(help: ArgumentHelp("The policy; without one, the policy that ships.", valueName: "file"))
  var policy: String?

  @Option(help: ArgumentHelp("Append events to this file, a line of JSON each.", valueName: "file"))
  var log: String?

  @Option(
    help: ArgumentHelp(
      "Send events there as well; can be given several times. PLACE is stderr (with -f), journald[:SOCKET], syslog[:SOCKET], syslog://HOST[:PORT] (UDP), syslog+tcp://HOST[:PORT], socket:PATH (SOCK_SEQPACKET) or a file; FORMAT= before it is for this place.",
      valueName: "[format=]place"))
  var logTo: [String] = []

  @Option(
    help: ArgumentHelp(
      "How events are told: ecs (the default), sysmon, sysmon-xml, ocsf or wdfilter.", valueName: "format"))
  var logFormat: String?

  @Option(
    help: ArgumentHelp(
      "Which operations are events: denied; matched, that and what a rule watches (the default); writes, that and every change. Reading is never told: most of it is served by the kernel, and nobody here is asked.",
      valueName: "operations"))
  var logOps: String?

  @Flag(help: "Append beginning, end and trust of every process of the machine, too.")
  var logProcesses = false

  @Option(help: .hidden)
  var readyFd: Int32?

  @Argument(
    help: ArgumentHelp(
      "The hives' primary files, and last an existing directory: the mount point.", valueName: "hive ... mount-point"),
    completion: .file())
  var paths: [String]

  private static let helperName = "mount.regward"

  /// The command line, when mount(8) called the program as mount.regward: HIVE DIR [-sfnv] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]. Nil when it
  /// did not; empty when nothing is to be done (`mount -f`).
  static func helperArguments(_ arguments: [String]) -> [String]? {
    guard let program = arguments.first, FilePath.lastComponent(program) == helperName else { return nil }
    var rest = arguments.dropFirst()
    var own = ["mount"]
    while let word = rest.popFirst() {
      if word == "-o" {
        own += [word] + rest.prefix(1)
        rest = rest.dropFirst()
      } else if word == "-N" || word == "-t" {
        rest = rest.dropFirst()
      } else if word.hasPrefix("-"), word.dropFirst().allSatisfy({ "sfnv".contains($0) }) {
        if word.contains("f") { return [] }
      } else {
        own.append(word)
      }
    }
    return own
  }

  func validate() throws {
    guard paths.count >= (windows == nil ? 2 : 1) else { throw ValidationError("A hive and a mount point are needed.") }
    guard windows == nil || paths.count == 1 else {
      throw ValidationError("With --windows the hives are found, not named: only a mount point is needed.")
    }
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
    wanted.logPlaces += logTo
    wanted.logFormat = logFormat ?? wanted.logFormat
    wanted.logScope = logOps ?? wanted.logScope
    if logProcesses { wanted.logsProcesses = true }
    let events = try EventOutput(wanted)
    guard !wanted.logsProcesses || !events.destinations.isEmpty else {
      throw MountFailure("log-processes needs a log: log=FILE", status: MountFailure.usageStatus)
    }
    guard foreground || isDaemon || !events.usesStandardError else {
      throw MountFailure("log-to stderr is for mounts in the foreground: -f", status: MountFailure.usageStatus)
    }

    let mountPoint = paths.last ?? ""
    var hives: [HiveSource] = []
    for source in paths.dropLast().map({ HiveSource($0) }) {
      guard let path = FilePath.resolve(source.path) else {
        let reason = Console.reason(errno)
        if source.place == nil, let place = HiveSource.place(in: source.path) {
          throw MountFailure(
            "\(place) is no place for a hive: one is HKLM/NAME or HKU/NAME, as in Windows", status: MountFailure.usageStatus)
        }
        throw MountFailure("\(source.path): \(reason)")
      }
      hives.append(HiveSource(place: source.place, path: path))
    }
    var tree: String?
    if let windows {
      tree = FilePath.resolve(windows)
      guard let tree else { throw MountFailure("--windows \(windows): \(Console.reason(errno))") }
      guard wanted.location == nil else {
        throw MountFailure("at= is for a single hive; --windows knows the places", status: MountFailure.usageStatus)
      }
      // Said once, by who serves.
      if foreground || isDaemon {
        let found = WindowsTree(tree)
        for refusal in found.refusals { Console.tell("skipped: \(refusal)") }
        hives = found.hives
        guard !hives.isEmpty else { throw MountFailure("\(tree): there is no hive where Windows has them") }
      }
    }
    guard hives.count <= 1 || hives.allSatisfy({ $0.place != nil }) else {
      throw MountFailure(
        "several hives need a place each: HKLM/NAME=HIVE or HKU/NAME=HIVE", status: MountFailure.usageStatus)
    }
    guard hives.first?.place == nil || wanted.location == nil else {
      throw MountFailure("at= is for a single hive without a place of its own", status: MountFailure.usageStatus)
    }
    guard let folder = FilePath.resolve(mountPoint) else {
      throw MountFailure("mount point \(mountPoint): \(Console.reason(errno))")
    }
    guard foreground || isDaemon else {
      return try DaemonLauncher.launch(daemonArguments(hives, tree: tree, mountPoint: folder))
    }
    var mount = HiveMount(hives: hives, mountPoint: folder, options: wanted, events: events, isDaemon: isDaemon, tree: tree)
    try mount.run()
    return 0
  }

  /// The same mount for another process. Scripts know the daemon by `mount` in the second place and the mount point in the last.
  private func daemonArguments(_ hives: [HiveSource], tree: String?, mountPoint: String) -> [String] {
    let program = CommandLine.arguments.first.flatMap { FilePath.lastComponent($0) == Self.helperName ? nil : $0 }
    var arguments = [program ?? "regward", "mount"]
    for list in options { arguments += ["-o", list] }
    if let at { arguments += ["--at=\(at)"] }
    if let tree { arguments += ["--windows=\(tree)"] }
    if let policy { arguments += ["--policy=\(policy)"] }
    if let log { arguments += ["--log=\(log)"] }
    arguments += logTo.map { "--log-to=\($0)" }
    if let logFormat { arguments += ["--log-format=\(logFormat)"] }
    if let logOps { arguments += ["--log-ops=\(logOps)"] }
    if logProcesses { arguments.append("--log-processes") }
    return arguments + ["--ready-fd", String(DaemonLauncher.readyDescriptor), "--"] + hives.map(\.argument) + [mountPoint]
  }
}
