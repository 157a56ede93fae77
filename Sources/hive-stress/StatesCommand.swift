internal import ArgumentParser
internal import Executive
internal import HiveModel

/// `hive-stress states`: a line `N SHA-256` for each number, of the dump that a hive must have after N operations.
struct StatesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "states", abstract: "Prints the SHA-256 of the model's dump after the first N operations, for each N.")

  @OptionGroup var options: RunOptions

  @Argument(help: "Numbers of operations, ascending.")
  var counts: [Int]

  func run() {
    var run = options.run(to: 0)
    for count in counts {
      while run.count < count { run.advance() }
      print(count, SHA256.hexDigest(ModelDump(run.model.root).bytes))
    }
  }
}
