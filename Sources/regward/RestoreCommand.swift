internal import ArgumentParser

/// `regward restore`: replaces a key and everything below it by the content of a hive file.
struct RestoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore",
    abstract: "Replaces a key and everything below it by the content of a hive file.",
    discussion: """
      One change: afterwards everything is new, or nothing is. Judged as creating, deleting and setting everything there \
      (RestoreKey). A hive that was not written out cleanly is recovered in memory first.

      Exit status: 0 done; 1 refused or not possible, with the reason; 2 when nobody can be asked.
      """)

  @Flag(help: "Also while values of the hive are open for writing; what they hold is lost.")
  var force = false

  @Flag(help: "Windows' flag for going back to the last flush; refused, with the reason.")
  var refresh = false

  @Flag(help: "Windows' flag for a hive in memory only; refused, with the reason.")
  var wholeHiveVolatile = false

  @Argument(help: "A key of a mounted hive.", completion: .directory)
  var key: String

  @Argument(help: "The hive file to take the content from.", completion: .file())
  var file: String

  func run() throws {
    try MountFailure.exiting { () throws(MountFailure) in
      let place = try MountedPath(key)
      let flags = [("force", force), ("refresh", refresh), ("whole-hive-volatile", wholeHiveVolatile)].filter(\.1).map(\.0)
      _ = try place.ask("restore", place.relative, FilePath.absolute(file), flags.joined(separator: ","))
    }
  }
}
