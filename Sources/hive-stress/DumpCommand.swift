internal import ArgumentParser
internal import HiveModel

/// `hive-stress dump`: the model's dump, as `golden.py dump` would write it of a hive that holds the same.
struct DumpCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dump", abstract: "Prints the model's dump after the first COUNT operations.")

  @OptionGroup var options: RunOptions

  @Argument(help: "The number of operations.")
  var count: Int

  func run() {
    Output.write(ModelDump(options.run(to: count).model.root).bytes)
  }
}
