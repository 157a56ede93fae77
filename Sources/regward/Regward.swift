internal import ArgumentParser

/// The program: one file per subcommand.
@main
struct Regward: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "regward",
    abstract: "Mounts a Windows registry hive as directories and files, and lets no change pass unjudged.",
    subcommands: [DumpCommand.self, RulesCommand.self]
  )
}
