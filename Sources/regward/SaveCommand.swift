internal import ArgumentParser

/// `regward save`: writes a key and everything below it to a new hive file.
struct SaveCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "save",
    abstract: "Writes a key and everything below it to a new hive file.",
    discussion: """
      The file must not be there yet; it is made with mode 0600, by the daemon, for root and the user who mounted.

      Exit status: 0 done; 1 refused or not possible, with the reason; 2 when nobody can be asked.
      """)

  @Argument(help: "A key of a mounted hive.", completion: .directory)
  var key: String

  @Argument(help: "The hive file to make.", completion: .file())
  var file: String

  func run() throws {
    try MountFailure.exiting { () throws(MountFailure) in
      let place = try MountedPath(key)
      _ = try place.ask("save", place.relative, FilePath.absolute(file))
    }
  }
}
