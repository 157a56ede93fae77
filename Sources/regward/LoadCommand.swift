internal import ArgumentParser

/// `regward load`: loads a hive into a mount of several hives.
struct LoadCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "load",
    abstract: "Loads a hive into a mount of several hives.",
    discussion: """
      PLACE is MOUNT/HKLM/NAME or MOUNT/HKU/NAME; judged by the rules for that name (LoadKey).

      Exit status: 0 done; 1 refused or not possible, with the reason; 2 when nobody can be asked.
      """)

  @Argument(help: "Where the hive shall be.", completion: .directory)
  var place: String

  @Argument(help: "The hive's primary file.", completion: .file())
  var file: String

  func run() throws {
    try MountFailure.exiting { () throws(MountFailure) in
      let place = try MountedPath(place)
      _ = try place.ask("load", place.relative, FilePath.absolute(file))
    }
  }
}
