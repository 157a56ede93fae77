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

/// The life of a hive, or several, at a mount point: opened, guarded, served, and brought to the disk at the end.
struct HiveMount {
  /// Absolute, as is `mountPoint`; one, or all with a place.
  let hives: [HiveSource]
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
    if let log = options.log, let resolved = FilePath.resolve(log), hives.contains(where: { $0.path == resolved }) {
      throw MountFailure("the log is the hive itself: \(log)", status: MountFailure.usageStatus)
    }
    let callbacks = CallbackStack()
    let (registry, survey) = try openRegistry(callbacks)

    var sink: FileSink?
    if let log = options.log {
      do { sink = try FileSink(path: log, encoder: EventEncoder(currentControlSet: survey.currentControlSet)) } catch {
        throw MountFailure("cannot open the log \(error.path): \(Console.reason(error.errno))")
      }
    }
    let queue = NotificationQueue(sinks: sink.map { [$0] } ?? [])
    defer { queue.shutdown(milliseconds: Self.patience) }

    let refusals = RefusalLog()
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
    // Reading is judged in a read-only mount as well.
    let queries = QueryHardening(
      rules: policy.rules, processes: processes, notify: { queue.enqueue($0) }, refusals: refusals)
    guard let altitude = Altitude(QueryHardening.altitude),
      (try? callbacks.register(
        queries, altitude: altitude, interests: queries.interests,
        queriedValues: policy.rules.queryDenied.map { UnicodeName($0.valueName) })) != nil
    else { throw MountFailure("the altitude of query hardening is taken", status: MountFailure.systemStatus) }
    // A root that cannot be read would make a mount that nobody can enter.
    guard (try? registry.query(registry.root)) != nil else {
      throw MountFailure("\(title): the root key is damaged; `regward dump` tells where")
    }
    let presentation = Presentation(
      userID: options.userID ?? getuid(), groupID: options.groupID ?? getgid(), umask: options.umask,
      isReadOnly: options.isReadOnly)
    let handler = MountHandler(
      facts: MountFacts(
        hives: hives.map(\.path), mountPoint: mountPoint, location: registry.completeName(ofPath: []), policy: policy,
        policyName: options.policy ?? DefaultPolicy.fileName, isReadOnly: options.isReadOnly),
      refusals: refusals, queue: queue, sink: sink, processes: processes, rules: rules)
    let fileSystem = RegistryFileSystem(
      registry: registry, presentation: presentation, largestText: survey.largestText, handler: handler)

    let reopening = sink.map { LogReopening($0) }
    let (title, inSystemLog) = (title, isDaemon)
    let flusher = LazyFlusher(registry: registry) { error in
      Console.tell("\(title): \(error)", inSystemLog: inSystemLog)
    }
    // A failure to serve does not spare the hive its last commit.
    var failure: MountFailure?
    var isMounted = false
    chdir("/")
    do throws(ServerError) {
      try Server.serve(
        fileSystem, as: presentation, on: mountPoint, options: options,
        fileSystemName: options.fileSystemName ?? title
      ) {
        isMounted = true
        if isDaemon { DaemonLauncher.report() } else { for line in survey.places { Console.tell(line) } }
      }
    } catch {
      let status = error == .resources || error == .session ? MountFailure.systemStatus : MountFailure.mountStatus
      failure = MountFailure(error.description, status: status)
    }
    reopening?.stop()
    flusher.stop()
    do throws(HiveError) { try registry.commit() } catch {
      failure = MountFailure("\(title): the last changes are not on the disk: \(error)", status: MountFailure.systemStatus)
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

  /// What `mount` shows as the device, and messages begin with.
  private var title: String { hives.count == 1 ? hives[0].path : "\(hives[0].path) and \(hives.count - 1) more" }

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
    }
  }

  private func openRegistry(_ callbacks: CallbackStack) throws(MountFailure) -> (Registry, Survey) {
    var survey = Survey()
    if hives.count == 1, hives[0].place == nil {
      let hive = try open(hives[0].path)
      let name = try location(hive)
      survey.add(hive, hives[0].path, at: name)
      return (
        Registry(hive: hive, completeName: name, callbacks: callbacks, isReadOnly: options.isReadOnly), survey
      )
    }
    let registry: Registry
    do throws(HiveError) { registry = try Registry(callbacks: callbacks, isReadOnly: options.isReadOnly) } catch {
      throw MountFailure("\(error)", status: MountFailure.systemStatus)
    }
    for source in hives {
      guard let place = source.place else { continue }
      let hive = try open(source.path)
      survey.add(hive, source.path, at: place.completeName)
      do throws(NTStatus) { try registry.attach(hive, from: source.path, at: place) } catch {
        let reason = error == .sharingViolation ? "the same file is named twice" : "that place is taken"
        throw MountFailure("\(source.argument): \(reason)", status: MountFailure.usageStatus)
      }
    }
    return (registry, survey)
  }

  private func open(_ hive: String) throws(MountFailure) -> Hive {
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
      rootKeys: HiveSurvey.rootKeys(opened), fileName: FilePath.lastComponent(hives[0].path))
  }
}
