internal import ArgumentParser
internal import Executive
internal import HiveModel
internal import HiveStorage

/// `hive-stress`: changes a hive file as a seed says, through the same devices as a mount, and tells what the hive must
/// hold then; for tests that kill it (Tests/Shared/check_kill.py) and that ask other readers (check_written.py).
@main
struct HiveStress: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "hive-stress", abstract: "Changes a hive as a seed says, and tells what it must hold then.",
    subcommands: [RunCommand.self, StatesCommand.self, DumpCommand.self])
}

/// What a seed means: the same options give the same operations to every subcommand.
struct RunOptions: ParsableArguments {
  @Option(help: "The seed of the operations.")
  var seed: UInt64

  @Option(name: .customLong("minor"), help: "The hive's version, 1.N.")
  var minorVersion = 5

  @Option(help: "Names: every, or readable by all readers.")
  var names = ModelRun.Profile.Names.every

  @Option(help: "Keys that the hive grows to, about.")
  var keys = 3000

  @Option(name: .customLong("data"), help: "Bytes of the longest data.")
  var longestData = 100_000

  /// The run, with `count` operations done to the model.
  func run(to count: Int) -> ModelRun {
    let profile = ModelRun.Profile(minorVersion: minorVersion, names: names, keyCount: keys, longestData: longestData)
    var run = ModelRun(seed: seed, profile: profile)
    for _ in 0..<count { run.advance() }
    return run
  }
}

extension ModelRun.Profile.Names: ExpressibleByArgument {}
