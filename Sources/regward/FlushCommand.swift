internal import ArgumentParser

/// `regward flush`: brings every change of a mounted hive to the disk.
struct FlushCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "flush",
    abstract: "Brings every change of a mounted hive to the disk.",
    discussion: """
      All changes of the hive that the key lies in, to its primary file; at HKLM, HKU or the mount point of several hives, of all of them.

      Exit status: 0 done; 1 refused or not possible, with the reason; 2 when nobody can be asked.
      """)

  @Argument(help: "A key of a mounted hive.", completion: .directory)
  var key: String

  func run() throws {
    try MountFailure.exiting { () throws(MountFailure) in
      let place = try MountedPath(key)
      _ = try place.ask("flush", place.relative)
    }
  }
}
