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

    let encoder = EventEncoder(currentControlSet: currentControlSet)
    var sink: FileSink?
    if let log = options.log {
      do { sink = try FileSink(path: log, encoder: encoder) } catch {
        throw MountFailure("cannot open the log \(error.path): \(Console.reason(error.errno))")
      }
    }
    let queue = NotificationQueue(sinks: sink.map { [$0] } ?? [])
    defer { queue.shutdown(milliseconds: Self.patience) }

    let refusals = RefusalLog()
    let callbacks = CallbackStack()
    let processes = ProcessTable()
    let sync = SyncChannel(encoder: encoder)
    let filter = RegistryFilter(
      rules: policy.rules, processes: processes, notify: { queue.enqueue($0) }, refusals: refusals, sync: sync)
    var cookie: CallbackCookie?
    if !options.isReadOnly {
      guard let altitude = Altitude(RegistryFilter.altitude),
        let registered = try? callbacks.register(filter, altitude: altitude, interests: filter.interests)
      else { throw MountFailure("the filter's altitude is taken", status: MountFailure.systemStatus) }
      cookie = registered
    }
    let rules = RulesInForce(
      policy: policy, path: options.policy, filter: filter, sync: sync, callbacks: callbacks, cookie: cookie)
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
        hive: hive, mountPoint: mountPoint, location: completeName, isReadOnly: options.isReadOnly),
      filter: filter, rules: rules, refusals: refusals, queue: queue, sink: sink, sync: sync)
    let fileSystem = RegistryFileSystem(
      registry: registry, presentation: presentation, largestText: largestText, handler: handler)

    let (hive, inSystemLog, logSink) = (hive, isDaemon, sink)
    let signals = SignalListener(
      onHangUp: { Self.update(rules, hive: hive, inSystemLog: inSystemLog) }, onUser2: { logSink?.reopen() })
    let socket = listen(handler, rules, sync, processes)
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
    signals.stop()
    socket?.stop()
    flusher.stop()
    do throws(HiveError) { try registry.commit() } catch {
      failure = MountFailure("\(hive): the last changes are not on the disk: \(error)", status: MountFailure.systemStatus)
    }
    guard let failure else { return }
    if isMounted, isDaemon { Console.tell(failure.message, inSystemLog: true) }
    throw failure
  }

  /// SIGHUP.
  private static func update(_ rules: RulesInForce, hive: String, inSystemLog: Bool) {
    do throws(PolicyError) {
      let update = try rules.update()
      for warning in update.warnings { Console.tell(warning.lintLine, inSystemLog: inSystemLog) }
      Console.tell(
        "\(hive): rules of version \(update.newVersion) are in force", inSystemLog: inSystemLog)
    } catch {
      for problem in error.problems { Console.tell(problem.lintLine, inSystemLog: inSystemLog) }
      Console.tell("\(hive): the policy cannot be used; the old rules stay in force", inSystemLog: inSystemLog)
    }
  }

  /// The control socket. A mount without one is still a mount: it says why, and can be told by signals.
  private func listen(
    _ handler: MountHandler, _ rules: RulesInForce, _ sync: SyncChannel, _ processes: ProcessTable
  ) -> ControlSocket? {
    let (hive, inSystemLog) = (hive, isDaemon)
    guard let directory = RuntimeDirectory.forThisProcess() else {
      Console.tell("\(hive): no control socket: there is no XDG_RUNTIME_DIR")
      return nil
    }
    let service = ControlService(
      sync: sync, version: { rules.state.policy.rules.version }, statistics: { handler.statusJSON },
      update: { path throws(PolicyError) in
        do throws(PolicyError) { return try rules.update(from: path) } catch {
          // The log should know as well as who asked.
          Console.tell("\(hive): \(error.description); the old rules stay in force", inSystemLog: inSystemLog)
          throw error
        }
      })
    do throws(MountFailure) {
      let socket = try ControlSocket(
        for: mountPoint, in: directory, service: service, judge: .forThisProcess(processes))
      handler.attach(socket)
      return socket
    } catch {
      Console.tell("\(hive): no control socket: \(error.message)")
      return nil
    }
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
    do throws(PolicyError) { return try RulesInForce.load(options.policy, version: 1) } catch {
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
