internal import ArgumentParser
internal import Glibc

/// The program: one file per subcommand.
@main
struct Regward: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "regward",
    abstract: "Mounts a Windows registry hive as directories and files, and lets no change pass unjudged.",
    subcommands: [
      MountCommand.self, UnmountCommand.self, WhyCommand.self, SaveCommand.self, RestoreCommand.self, ReplaceCommand.self,
      LoadCommand.self, UnloadCommand.self, FlushCommand.self, RenameCommand.self, AddCommand.self, DumpCommand.self,
      RulesCommand.self,
    ]
  )

  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch {
      // mount(8) and umount(8) end with 1 when the command line is wrong.
      let usageStatus = ExitCode.validationFailure
      guard exitCode(for: error) == usageStatus,
        CommandLine.arguments.dropFirst().first.map({ ["mount", "umount"].contains($0) }) == true
      else { exit(withError: error) }
      Console.write(Array((fullMessage(for: error) + "\n").utf8), to: STDERR_FILENO)
      Glibc.exit(MountFailure.usageStatus)
    }
  }
}
