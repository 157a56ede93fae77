internal import ArgumentParser

/// `regward replace`: replaces a whole mounted hive by another hive file.
struct ReplaceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replace",
    abstract: "Replaces a whole mounted hive by another hive file.",
    discussion: """
      What the hive was is saved to OLD, which must not be there. Done at once, where Windows waits for the next start, and \
      judged at the root of the hive, whichever key of it is named (ReplaceKey).

      Exit status: 0 done; 1 refused or not possible, with the reason; 2 when nobody can be asked.
      """)

  @Argument(help: "A key of a mounted hive.", completion: .directory)
  var key: String

  @Argument(help: "The hive file that takes its place.", completion: .file())
  var new: String

  @Argument(help: "Where the present content is saved.", completion: .file())
  var old: String

  func run() throws {
    try MountFailure.exiting { () throws(MountFailure) in
      let place = try MountedPath(key)
      _ = try place.ask("replace", place.relative, FilePath.absolute(new), FilePath.absolute(old))
    }
  }
}
