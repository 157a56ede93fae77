internal import ArgumentParser
internal import Executive
internal import HiveModel
internal import HiveStorage

/// `hive-stress run`: a line `N` for each operation once it is done, unbuffered.
struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Changes a hive file.",
    discussion: """
      Prints `opened N` and then the number of each operation once the hive has acknowledged it, `synced N` once the \
      first N survive power loss, and `closed` at the end. Without --from the file is made; with it, the hive must \
      hold the first that many. The log is brought to the file by a thread of its own, as in a mount, while operations \
      go on.
      """)

  @Argument(help: "The hive's primary file.")
  var hive: String

  @OptionGroup var options: RunOptions

  @Option(help: "Operations that the hive holds already.")
  var from: Int?

  @Option(help: "The number of the last operation.")
  var count: Int

  @Option(name: .customLong("sync-every"), help: "Makes the hive durable after every so many operations; 0: never.")
  var syncInterval = 0

  @Option(
    name: .customLong("log-limit"),
    help: "Brings the log to the hive's file when it has more bytes; the operation that finds twice as many waits.")
  var logLimit = LogLimits().due

  func run() throws {
    if from == nil {
      let device = try FileDevice(path: hive, mode: .new)
      try RegistryModel.format(device, minorVersion: options.minorVersion)
    }
    var run = options.run(to: from ?? 0)
    let opened = try Hive(HiveFile(path: hive, access: .readWrite))
    guard let log = opened.log else { throw ValidationError("\(hive) has no logs") }
    let hive = PushLock(opened)
    let reconciler = Reconciler(hive)
    // The opening is a moment for a kill too.
    Output.tell("opened \(run.count)")
    while run.count < count {
      try hive.withExclusive { (hive) throws(ModelFailure) in try run.advance(&hive) }
      Output.tell("\(run.count)")
      if syncInterval > 0, run.count % syncInterval == 0 {
        try log.sync()
        Output.tell("synced \(run.count)")
      }
      if log.size > logLimit { try reconciler.reconcile(isAwaited: log.size > 2 * logLimit) }
    }
    reconciler.stop()
    try hive.withExclusive { (hive) throws(HiveError) in try hive.commit(time: RegistryModel.time(run.count)) }
    Output.tell("closed")
  }
}
