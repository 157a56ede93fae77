internal import ArgumentParser
internal import Glibc
internal import HiveStorage

/// `regward compact`: a hive without holes, as a new file.
struct CompactCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compact",
    abstract: "Writes a hive to a new file without holes.",
    discussion: """
      Keys, values, their order, times, class names, flags and security stay as they are; free space, cells that nothing \
      refers to and the remains of what was deleted are left behind. A dirty hive is taken as its logs make it. The hive is \
      only read; the new file must not be there yet and is made with mode 0600. It is checked before it is written. A \
      damaged hive is refused: `regward check --repair` saves what can be read of one.

      Exit status: 0 written; 1 not possible, with the reason.
      """)

  @Flag(help: "Tell on standard error how far it is; by default, on a terminal, when it takes more than a second.")
  var progress = false

  @Argument(help: "The hive's primary file; its logs lie beside it.", completion: .file())
  var hive: String

  @Option(name: .shortAndLong, help: ArgumentHelp("The file to make.", valueName: "file"), completion: .file())
  var output: String

  func run() throws {
    do throws(HiveError) { try compact() } catch {
      Console.tell("\(hive): \(error)")
      throw ExitCode(1)
    }
  }

  private func compact() throws(HiveError) {
    let opened = try Hive(HiveFile(path: hive, access: .readOnly))
    let before = try opened.statistics()
    let line = ProgressLine("compacting", isWanted: progress)
    defer { line.clear() }
    let after = try NewHiveFile.make(output) { device throws(HiveError) in
      try opened.compact(to: device) { line.show($0, of: before.fileBytes - before.freeBytes) }
    }
    line.clear()
    Console.write(
      Array("\(hive): \(Self.size(before))\n\(output): \(Self.size(after.statistics))\n".utf8), to: STDOUT_FILENO)
  }

  private static func size(_ statistics: Hive.Statistics) -> String {
    "\(statistics.fileBytes) bytes, \(statistics.freeBytes) of them free"
  }
}
