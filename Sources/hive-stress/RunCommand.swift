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
      Prints the number of each operation once the hive has acknowledged it, `synced N` once the first N survive power \
      loss, and `closed` at the end. Without --from the file is made; with it, the hive must hold the first that many.
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

  func run() throws {
    if from == nil {
      let device = try FileDevice(path: hive, mode: .new)
      try RegistryModel.format(device, minorVersion: options.minorVersion)
    }
    var run = options.run(to: from ?? 0)
    var hive = try Hive(HiveFile(path: hive, access: .readWrite))
    // The opening is a moment for a kill too.
    Output.tell("opened \(run.count)")
    while run.count < count {
      try run.advance(&hive)
      Output.tell("\(run.count)")
      if syncInterval > 0, run.count % syncInterval == 0 {
        try hive.commit(time: RegistryModel.time(run.count))
        Output.tell("synced \(run.count)")
      }
    }
    try hive.commit(time: RegistryModel.time(run.count))
    Output.tell("closed")
  }
}
