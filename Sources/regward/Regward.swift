internal import ArgumentParser
internal import Glibc

/// The program: one file per subcommand.
@main
struct Regward: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "regward",
    abstract: "Mounts a Windows registry hive as directories and files, and lets no change pass unjudged.",
    subcommands: [
      MountCommand.self, UnmountCommand.self, ReloadCommand.self, StatusCommand.self, ProcessesCommand.self, CtlCommand.self,
      WhyCommand.self, EventsCommand.self, ReportCommand.self, SaveCommand.self,
      RestoreCommand.self, ReplaceCommand.self, LoadCommand.self, UnloadCommand.self, FlushCommand.self, RenameCommand.self,
      AddCommand.self, ExportCommand.self, ImportCommand.self, DumpCommand.self, CheckCommand.self, CompactCommand.self, RecoverCommand.self,
      RulesCommand.self,
    ]
  )

  static func main() {
    let all = CommandLine.arguments
    let arguments = MountCommand.helperArguments(all) ?? CheckCommand.fsckArguments(all) ?? Array(all.dropFirst())
    // `mount -f`, with everything right so far. Without any argument help is shown.
    if arguments.isEmpty, all.count > 1 { return }
    do {
      var command = try parseAsRoot(arguments)
      try command.run()
    } catch {
      // mount(8), umount(8) and fsck(8) have numbers of their own for a wrong command line.
      let usageStatus = [
        "mount": MountFailure.usageStatus, "umount": MountFailure.usageStatus, "check": CheckCommand.usageStatus,
      ]
      guard exitCode(for: error) == .validationFailure, let status = arguments.first.flatMap({ usageStatus[$0] })
      else { exit(withError: error) }
      Console.write(Array((fullMessage(for: error) + "\n").utf8), to: STDERR_FILENO)
      Glibc.exit(status)
    }
  }
}
