internal import ArgumentParser
internal import Glibc

/// `regward why`: the last refusal on a path of a mounted hive.
struct WhyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "why",
    abstract: "Tells why a change was refused: rule, file and line, process.",
    discussion: """
      The path need not exist. Exit status: 0 when a refusal is on record, 1 when none is, 2 when nobody can be asked.
      """)

  @Argument(help: "A path below the mount point of a hive.", completion: .file())
  var path: String

  func run() throws {
    do throws(MountFailure) {
      let place = try MountedPath(path)
      let answer = try place.ask("why", place.relative)
      Console.write(Array(answer.utf8), to: STDOUT_FILENO)
      if !answer.hasPrefix("refused:") { throw MountFailure("", status: 1) }
    } catch {
      if !error.message.isEmpty { Console.tell(error.message) }
      throw ExitCode(error.status)
    }
  }
}
