internal import ArgumentParser

/// `regward rename`: gives a key another last component.
struct RenameCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rename",
    abstract: "Gives a key another last component.",
    discussion: """
      Also where only the case changes, of which mv(1) cannot tell: to the kernel both names are one directory.

      Exit status: 0 done; 1 refused or not possible, with the reason; 2 when nobody can be asked.
      """)

  @Argument(help: "A key of a mounted hive.", completion: .directory)
  var key: String

  @Argument(help: "The new name, without a path, written as a file name.")
  var name: String

  func run() throws {
    try MountFailure.exiting { () throws(MountFailure) in
      let place = try MountedPath(itself: key)
      _ = try place.ask("rename", place.relative, name)
    }
  }
}
