internal import ConfigurationManager
internal import Executive
internal import FUSEServer
internal import Glibc
internal import HiveStorage
internal import Notifications
internal import PolicyFile
internal import ProcessTable
internal import RegistryFileSystem
internal import Synchronization
internal import WdFilter

/// The life of a hive, or several, at a mount point: opened, guarded, served, and brought to the disk at the end.
struct HiveMount {
  /// Absolute, as is `mountPoint`; one, or all with a place.
  private(set) var hives: [HiveSource]
  let mountPoint: String
  private(set) var options: MountOptions
  let events: EventOutput
  let isDaemon: Bool
  /// The Windows tree that they were found in: what cannot be served of it is told and left out.
  private let tree: String?

  init(
    hives: [HiveSource], mountPoint: String, options: MountOptions, events: EventOutput, isDaemon: Bool, tree: String? = nil
  ) {
    self.events = events
    self.hives = hives
    self.tree = tree
    self.mountPoint = mountPoint
    self.options = options
    self.isDaemon = isDaemon
  }

  /// How long the sinks may need at the end, milliseconds.
  private static let patience = 5000
  /// Bytes of text that one handle may hold; nobody has more in a value.
  private static let largestText = 1 << 30

  /// Returns after the unmount, with every change on the disk.
  mutating func run() throws(MountFailure) {
    ResidentMemory.setUpAllocator()
    try checkMountPoint()
    // What is written into a damaged hive might make the loss complete.
    if tree != nil {
      hives = hives.filter { isServed($0) }
    } else if !options.isReadOnly {
      for hive in hives {
        guard let damage = try damage(of: hive.path), !options.isForced else { continue }
        Console.tell("\(hive.path): it is damaged, and mounted for reading only: \(damage)")
        options.isReadOnly = true
      }
    }
    try serve()
  }

  /// Whether a hive of a Windows tree is whole and nobody else's; says why not.
  private func isServed(_ hive: HiveSource) -> Bool {
    guard !options.isForced else { return true }
    do throws(MountFailure) {
      guard let damage = try damage(of: hive.path) else { return true }
      if options.isReadOnly { return true }
      Self.tellSkipped("\(hive.path): it is damaged: \(damage)")
    } catch { Self.tellSkipped(error.message) }
    return false
  }

  private static func tellSkipped(_ reason: String) { Console.tell("skipped: \(reason)") }

  private func serve() throws(MountFailure) {
    let policy = try loadPolicy()
    // Still on the terminal, also of a daemon.
    for warning in policy.warnings { Console.tell(warning.lintLine) }
    for case .file(let log) in events.destinations.map(\.place) {
      let resolved = FilePath.resolveExisting(log).lowercased()
      // A file of such a name would be taken for the hive's own log, whatever its case.
      let own = hives.flatMap { hive in ["", ".LOG", ".LOG1", ".LOG2"].map { hive.path + $0 } } + [options.policy ?? ""]
      guard let file = own.first(where: { $0.lowercased() == resolved }) else { continue }
      throw MountFailure(
        hives.contains { $0.path == file } ? "the log is the hive itself: \(log)" : "the log would be another file of the mount, \(file): \(log)",
        status: MountFailure.usageStatus)
    }
    let callbacks = CallbackStack()
    let (registry, survey) = try openRegistry(callbacks)

    let encoder = events.encoder(currentControlSet: survey.currentControlSet)
    let sinks = try events.sinks(encoder)
    let queue = NotificationQueue(
      capacity: policy.rules.queue.size, starvationLimit: policy.rules.queue.starvationLimit, scope: events.scope,
      currentControlSet: survey.currentControlSet, sinks: sinks)
    defer {
      let left = queue.shutdown(milliseconds: Self.patience)
      if left > 0 { Console.tell("\(title): \(left) events are in no log: it took too long", inSystemLog: isDaemon) }
    }

    let refusals = RefusalLog()
    // Processes are classified by the rules in force, and the filter that has them asks for processes.
    let registered = RegistrationBox()
    let processes = Self.makeProcessTable { registered.withLock { $0 }?.filter.rulesInForce ?? policy.rules }
    let sync = SyncChannel(encoder: encoder.encoding(.ecs))
    let registration: FilterRegistration
    do throws(FilterRegistration.Failure) {
      registration = try FilterRegistration(
        rules: policy.rules, judgesChanges: !options.isReadOnly, processes: processes, notify: { queue.enqueue($0) },
        notifyOpen: { queue.enqueue(.documentOpen($0)) }, refusals: refusals, sync: sync,
        reportsEveryChange: events.scope == .writes, currentControlSet: survey.currentControlSet, in: callbacks)
    } catch {
      throw MountFailure("\(error)", status: MountFailure.systemStatus)
    }
    registered.withLock { $0 = registration }
    defer {
      registered.withLock { $0 = nil }
      registration.unregister()
    }
    let rules = RulesInForce(policy: policy, path: options.policy, registration: registration, sync: sync)
    // A root that cannot be read would make a mount that nobody can enter.
    guard (try? registry.query(registry.root)) != nil else {
      throw MountFailure("\(title): the root key is damaged; `regward dump` tells where")
    }
    let presentation = Presentation(
      userID: options.userID ?? getuid(), groupID: options.groupID ?? getgid(), umask: options.umask,
      fileMask: options.fileMask, directoryMask: options.directoryMask, isReadOnly: options.isReadOnly,
      showsCurrentControlSet: options.showsCurrentControlSet, view: options.view, listsTypes: options.listsTypes)
    let (title, inSystemLog) = (title, isDaemon)
    let scratchMemory = ScratchMemory()
    let handler = MountHandler(
      facts: MountFacts(
        hives: hives.map(\.path), mountPoint: mountPoint, location: registry.completeName(ofPath: []),
        isReadOnly: options.isReadOnly),
      filter: registration.filter, rules: rules, refusals: refusals, queue: queue, encoder: encoder.encoding(.ecs), sync: sync, processes: processes,
      storage: { registry.hiveStates }, scratchMemory: scratchMemory)
    let fileSystem = RegistryFileSystem(
      registry: registry, presentation: presentation, largestText: survey.largestText, handler: handler,
      openWatcher: registration.documents, usesScratchNames: options.usesScratchNames, scratchMemory: scratchMemory,
      whenLost: { Console.tell("\(title): \($0)", inSystemLog: inSystemLog) })

    let signals = SignalListener(
      onHangUp: { Self.update(rules, hive: title, inSystemLog: inSystemLog) }, onUser2: { for sink in sinks { sink.reopen() } })
    let socket = listen(handler, rules, sync, processes, queue, encoder.encoding(.ecs))
    let processEvents = options.logsProcesses ? ProcessEventSource(processes, queue: queue) : nil
    processes.start()
    // A limit on the size of files is told by an errno then, as a full disk is.
    signal(SIGXFSZ, SIG_IGN)
    registry.whenHiveStops { hive, failure in
      Console.tell("\(hive): \(HiveError.stopped(failure))", inSystemLog: inSystemLog)
    }
    let flusher = LazyFlusher(registry: registry) { error in
      Console.tell("\(title): \(error)", inSystemLog: inSystemLog)
    }
    let promoter = UnsavedPromoter(fileSystem)
    // A failure to serve does not spare the hive its last commit.
    var failure: MountFailure?
    var isMounted = false
    var memory: ResidentMemory?
    chdir("/")
    do throws(ServerError) {
      try Server.serve(
        fileSystem, as: presentation, on: mountPoint, options: options,
        fileSystemName: options.fileSystemName ?? title
      ) {
        isMounted = true
        let guards = "callers are known by: \(processes.guards)"
        if !isDaemon || tree != nil { for line in survey.places { Console.tell(line) } }
        if !isDaemon {
          Console.tell(guards)
        } else {
          if processes.guards != .connectorAndExecutable { Console.tell(guards) }
          DaemonLauncher.report()
        }
        memory = ResidentMemory()
      }
    } catch {
      let status = error == .resources || error == .session ? MountFailure.systemStatus : MountFailure.mountStatus
      failure = MountFailure(error.description, status: status)
    }
    memory?.stop()
    // What is only in memory is judged: while the processes of who made it are still known.
    promoter.stop()
    signals.stop()
    socket?.stop()
    processes.stop()
    processEvents?.stop()
    flusher.stop()
    do throws(HiveError) { try registry.commit() } catch {
      let saved = registry.saveUncommitted()
      let rest = saved.isEmpty ? "" : "; what the mount had is in \(saved.joined(separator: " and "))"
      failure = MountFailure(
        "\(title): the last changes are not in the hive's file: \(error)\(rest)", status: MountFailure.systemStatus)
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
        "\(hive): rules of version \(update.newVersion) are in force"
          + (update.dropped.map { "; no longer, for messages had set it: \($0)" } ?? ""), inSystemLog: inSystemLog)
    } catch {
      for problem in error.problems { Console.tell(problem.lintLine, inSystemLog: inSystemLog) }
      Console.tell("\(hive): the policy cannot be used; the old rules stay in force", inSystemLog: inSystemLog)
    }
  }

  /// The control socket. A mount without one is still a mount: it says why, and can be told by signals.
  private func listen(
    _ handler: MountHandler, _ rules: RulesInForce, _ sync: SyncChannel, _ processes: ProcessTable,
    _ queue: NotificationQueue, _ encoder: EventEncoder
  ) -> ControlSocket? {
    let (hive, inSystemLog) = (title, isDaemon)
    guard let directory = RuntimeDirectory.forThisProcess() else {
      Console.tell("\(hive): no control socket: there is no XDG_RUNTIME_DIR")
      return nil
    }
    let mount = ControlledMount(
      sync: sync, processes: processes, version: { rules.version }, statistics: { handler.statusJSON },
      update: { path throws(PolicyError) in
        do throws(PolicyError) { return try rules.update(from: path) } catch {
          // The log should know as well as who asked.
          Console.tell("\(hive): \(error.description); the old rules stay in force", inSystemLog: inSystemLog)
          throw error
        }
      },
      amend: { amendment throws(PolicyError) in try rules.amend(amendment) }, audit: { queue.enqueue(.control($0)) }, events: queue, encoder: encoder)
    do throws(MountFailure) {
      let socket = try ControlSocket(
        for: mountPoint, in: directory, service: ControlService(mount), judge: .forThisProcess(processes))
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

  /// With the process connector where the kernel lets us.
  private static func makeProcessTable(_ rules: @escaping @Sendable () -> RuleSet) -> ProcessTable {
    let classify: ProcessTable.Classifier = { rules().classify($0) }
    do throws(ConnectorProblem) {
      return ProcessTable(
        monitor: try ProcessMonitor(), problem: nil, callbacks: CallbackDirectory(), classify: classify)
    } catch {
      return ProcessTable(monitor: nil, problem: error, callbacks: CallbackDirectory(), classify: classify)
    }
  }

  /// What `mount` shows as the device, and messages begin with.
  private var title: String {
    tree ?? (hives.count == 1 ? hives[0].path : "\(hives[0].path) and \(hives.count - 1) more")
  }

  /// What was learnt of the hives when they were opened.
  private struct Survey {
    var currentControlSet: UInt32?
    /// Bytes.
    var largestText = 0
    /// One line a hive: where it is.
    var places: [String] = []

    mutating func add(_ hive: borrowing Hive, _ path: String, at name: UnicodeName) {
      currentControlSet = currentControlSet ?? HiveSurvey.currentControlSet(hive)
      // A character of two bytes in the hive has three in UTF-8 at most.
      largestText = max(largestText, min(HiveMount.largestText, 2 * hive.longestData))
      places.append("\(path) is \(name)")
      // A typing error here would leave every rule behind.
      guard let known = RegistryLocation.known(rootKeys: HiveSurvey.rootKeys(hive)), !known.equalsIgnoringCase(name) else { return }
      Console.tell("\(path): warning: its keys are those of \(known), and it is mounted as \(name): rules about \(known) do not touch it")
    }
  }

  private func openRegistry(_ callbacks: CallbackStack) throws(MountFailure) -> (Registry, Survey) {
    var survey = Survey()
    if hives.count == 1, hives[0].place == nil {
      let hive = try open(hives[0].path)
      let name = try location(hive)
      survey.add(hive, hives[0].path, at: name)
      return (
        Registry(
          hive: hive, completeName: name, callbacks: callbacks, isReadOnly: options.isReadOnly,
          durability: options.durability), survey
      )
    }
    let registry: Registry
    do throws(HiveError) {
      registry = try Registry(
        callbacks: callbacks, isReadOnly: options.isReadOnly, durability: options.durability)
    } catch {
      throw MountFailure("\(error)", status: MountFailure.systemStatus)
    }
    for source in hives {
      do throws(MountFailure) { try attach(source, to: registry, &survey) } catch {
        guard tree != nil else { throw error }
        Self.tellSkipped(error.message)
      }
    }
    if let tree, survey.places.isEmpty { throw MountFailure("\(tree): there is no hive in it that can be mounted") }
    return (registry, survey)
  }

  private func attach(_ source: HiveSource, to registry: Registry, _ survey: inout Survey) throws(MountFailure) {
    guard let place = source.place else { return }
    let hive = try open(source.path)
    var extended = survey
    extended.add(hive, source.path, at: place.completeName)
    do throws(NTStatus) { try registry.attach(hive, from: source.path, at: place) } catch {
      let reason = error == .sharingViolation ? "the same file is named twice" : "that place is taken"
      throw MountFailure("\(source.argument): \(reason)", status: MountFailure.usageStatus)
    }
    survey = extended
  }

  /// What forbids to write to a hive; nil for nothing. A dirty one is looked at as its logs make it. Throws what forbids to serve
  /// it at all: before a log is made beside it.
  private func damage(of path: String) throws(MountFailure) -> HiveError? {
    do throws(HiveError) {
      let hive = try Hive(HiveFile(path: path, access: .inspection))
      if let unrecovered = hive.unrecovered { throw unrecovered }
      try hive.checkStructure()
      return nil
    } catch {
      guard error.damageOffset != nil else { throw MountFailure(error, hive: path) }
      return error
    }
  }

  private func open(_ hive: String) throws(MountFailure) -> Hive {
    let access: Hive.Access = !options.isReadOnly ? .readWrite : options.isForced ? .inspection : .readOnly
    do throws(HiveError) {
      let opened = try Hive(HiveFile(path: hive, access: access))
      if let recovery = opened.recovery {
        let place = options.isReadOnly ? "in memory, its file is as it was" : "in its file"
        Console.tell("\(hive): it was dirty and was recovered, \(place): \(recovery.cause)\n\(recovery)")
      }
      if let unrecovered = opened.unrecovered { Console.tell("\(hive): served as it lies: \(unrecovered)") }
      return opened
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
      rootKeys: HiveSurvey.rootKeys(opened), fileName: FilePath.lastComponent(hives[0].path))
  }
}

/// The filter's registration, once it is there.
private final class RegistrationBox: Sendable {
  private let registration = Mutex<FilterRegistration?>(nil)

  func withLock<Result>(_ body: (inout FilterRegistration?) -> Result) -> Result {
    registration.withLock { registration in body(&registration) }
  }
}
