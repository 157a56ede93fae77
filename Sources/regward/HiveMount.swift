internal import ConfigurationManager
internal import Executive
internal import FUSEServer
internal import Glibc
internal import HiveStorage
internal import Notifications
internal import PolicyFile
internal import ProcessTable
internal import RegistryFileSystem
internal import WdFilter

/// One hive's life at its mount point: opened, guarded, served, and brought to the disk at the end.
struct HiveMount {
  /// Absolute, as is `mountPoint`.
  let hive: String
  let mountPoint: String
  let options: MountOptions
  let isDaemon: Bool

  /// How long the queue may need at the end, milliseconds.
  private static let patience = 5000
  /// Bytes of text that one handle may hold; nobody has more in a value.
  private static let largestText = 1 << 30

  /// Returns after the unmount, with every change on the disk.
  func run() throws(MountFailure) {
    try checkMountPoint()
    let policy = try loadPolicy()
    if let log = options.log, FilePath.resolve(log) == hive {
      throw MountFailure("the log is the hive itself: \(log)", status: MountFailure.usageStatus)
    }
    let opened = try open()
    let completeName = try location(opened)
    // A character of two bytes in the hive has three in UTF-8 at most.
    let largestText = min(Self.largestText, 2 * opened.longestData)
    let currentControlSet = HiveSurvey.currentControlSet(opened)

    var sink: FileSink?
    if let log = options.log {
      do { sink = try FileSink(path: log, encoder: EventEncoder(currentControlSet: currentControlSet)) } catch {
        throw MountFailure("cannot open the log \(error.path): \(Console.reason(error.errno))")
      }
    }
    let queue = NotificationQueue(sinks: sink.map { [$0] } ?? [])
    defer { queue.shutdown(milliseconds: Self.patience) }

    let refusals = RefusalLog()
    let callbacks = CallbackStack()
    let processes = ProcessTable()
    var rules: @Sendable () -> RuleSet = { policy.rules }
    if !options.isReadOnly {
      let filter = RegistryFilter(
        rules: policy.rules, processes: processes, notify: { queue.enqueue($0) }, refusals: refusals)
      guard let altitude = Altitude(RegistryFilter.altitude),
        (try? callbacks.register(filter, altitude: altitude, interests: filter.interests)) != nil
      else { throw MountFailure("the filter's altitude is taken", status: MountFailure.systemStatus) }
      rules = { filter.rulesInForce }
    }
    let registry = Registry(
      hive: opened, completeName: completeName, callbacks: callbacks, isReadOnly: options.isReadOnly)
    // A root that cannot be read would make a mount that nobody can enter.
    guard (try? registry.query(registry.root)) != nil else {
      throw MountFailure("\(hive): the root key is damaged; `regward dump` tells where")
    }
    let presentation = Presentation(
      userID: options.userID ?? getuid(), groupID: options.groupID ?? getgid(), umask: options.umask,
      isReadOnly: options.isReadOnly)
    let handler = MountHandler(
      facts: MountFacts(
        hive: hive, mountPoint: mountPoint, location: completeName, policy: policy,
        policyName: options.policy ?? DefaultPolicy.fileName, isReadOnly: options.isReadOnly),
      refusals: refusals, queue: queue, sink: sink, processes: processes, rules: rules)
    let fileSystem = RegistryFileSystem(
      registry: registry, presentation: presentation, largestText: largestText, handler: handler)

    let reopening = sink.map { LogReopening($0) }
    let (hive, inSystemLog) = (hive, isDaemon)
    let flusher = LazyFlusher(registry: registry) { error in
      Console.tell("\(hive): \(error)", inSystemLog: inSystemLog)
    }
    // A failure to serve does not spare the hive its last commit.
    var failure: MountFailure?
    var isMounted = false
    chdir("/")
    do throws(ServerError) {
      try Server.serve(
        fileSystem, as: presentation, on: mountPoint, options: options,
        fileSystemName: options.fileSystemName ?? hive
      ) {
        isMounted = true
        if isDaemon { DaemonLauncher.report() } else { Console.tell("\(hive) is \(completeName)") }
      }
    } catch {
      let status = error == .resources || error == .session ? MountFailure.systemStatus : MountFailure.mountStatus
      failure = MountFailure(error.description, status: status)
    }
    reopening?.stop()
    flusher.stop()
    do throws(HiveError) { try registry.commit() } catch {
      failure = MountFailure("\(hive): the last changes are not on the disk: \(error)", status: MountFailure.systemStatus)
    }
    guard let failure else { return }
    if isMounted, isDaemon { Console.tell(failure.message, inSystemLog: true) }
    throw failure
  }

  private func checkMountPoint() throws(MountFailure) {
    let directory = Glibc.open(mountPoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0 else { throw MountFailure("mount point \(mountPoint): \(Console.reason(errno))") }
    close(directory)
    guard access("/dev/fuse", F_OK) == 0 else {
      throw MountFailure("/dev/fuse: \(Console.reason(errno)); is the fuse module loaded?")
    }
    if geteuid() != 0, !Self.canFind("fusermount3") {
      throw MountFailure(
        "fusermount3 is needed to mount without being root, and is not in PATH: install the package fuse3",
        status: MountFailure.systemStatus)
    }
  }

  private static func canFind(_ program: String) -> Bool {
    let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
    return path.split(separator: ":").contains { access("\($0)/\(program)", X_OK) == 0 }
  }

  private func loadPolicy() throws(MountFailure) -> PolicyFile {
    do throws(PolicyError) {
      if let path = options.policy { return try PolicyFile.load(path: path) }
      return try PolicyFile.parse(text: DefaultPolicy.text, fileName: DefaultPolicy.fileName)
    } catch {
      throw MountFailure(error.description, status: MountFailure.usageStatus)
    }
  }

  private func open() throws(MountFailure) -> Hive {
    do throws(HiveError) {
      return try Hive(HiveFile(path: hive, access: options.isReadOnly ? .readOnly : .readWrite))
    } catch {
      throw MountFailure(error, hive: hive)
    }
  }

  private func location(_ opened: borrowing Hive) throws(MountFailure) -> UnicodeName {
    if let text = options.location {
      guard let name = RegistryLocation.parse(text) else {
        throw MountFailure(#"\#(text) is no place for a hive; one is HKLM\SYSTEM"#, status: MountFailure.usageStatus)
      }
      return name
    }
    return RegistryLocation.inferred(
      rootKeys: HiveSurvey.rootKeys(opened), fileName: FilePath.lastComponent(hive))
  }
}
