internal import ArgumentParser

/// `regward unload`: unloads a hive from a mount of several hives.
struct UnloadCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unload",
    abstract: "Unloads a hive from a mount of several hives.",
    discussion: """
      The hive is brought to the disk, and its file is free when this returns.

      Exit status: 0 done; 1 refused or not possible, with the reason; 2 when nobody can be asked.
      """)

  @Argument(help: "The directory of the hive.", completion: .directory)
  var place: String

  func run() throws {
    try MountFailure.exiting { () throws(MountFailure) in
      let place = try MountedPath(place)
      _ = try place.ask("unload", place.relative)
    }
  }
}
