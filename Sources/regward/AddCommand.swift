internal import ArgumentParser
internal import Executive

/// `regward add`: makes a link key, or gives one another target.
struct AddCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "add",
    abstract: "Makes a link key, or gives one another target.",
    discussion: """
      TARGET is a registry name, \\REGISTRY\\MACHINE\\SYSTEM\\ControlSet001 or HKLM\\SYSTEM\\ControlSet001, which need not be there. Keys are made with mkdir, values by writing \
      files; this is for what a shell cannot say.

      Exit status: 0 done; 1 refused or not possible, with the reason; 2 when nobody can be asked.
      """)

  @Argument(help: "The link key.", completion: .directory)
  var key: String

  @Option(help: ArgumentHelp("The key that it stands for.", valueName: "target"))
  var link: String

  func run() throws {
    try MountFailure.exiting { () throws(MountFailure) in
      let place = try MountedPath(itself: key)
      _ = try place.ask("link", place.relative, RegistryLocation.parse(link)?.description ?? link)
    }
  }
}
