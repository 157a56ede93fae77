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
      let answer = try ask()
      Console.write(Array(answer.utf8), to: STDOUT_FILENO)
      if !answer.hasPrefix("refused:") { throw MountFailure("", status: 1) }
    } catch {
      if !error.message.isEmpty { Console.tell(error.message) }
      throw ExitCode(error.status)
    }
  }

  private func ask() throws(MountFailure) -> String {
    let absolute = FilePath.resolveExisting(path)
    guard let mountPoint = MountTable.mount(of: absolute, among: MountTable.read()) else {
      throw MountFailure("\(path) lies on no regward mount", status: MountFailure.systemStatus)
    }
    let relative = absolute.dropFirst(mountPoint.count).drop { $0 == "/" }
    guard !relative.utf8.contains(0x0A) else {
      throw MountFailure("a path with a line feed cannot be asked about", status: MountFailure.systemStatus)
    }
    let descriptor = open(mountPoint + "/%ctl/cmd", O_RDWR | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system("cannot ask \(mountPoint)", errno) }
    defer { close(descriptor) }
    guard Console.write(Array("why \(relative)\n".utf8), to: descriptor), let answer = FileText.read(descriptor) else {
      throw .system("cannot ask \(mountPoint)", errno)
    }
    return String(decoding: answer, as: UTF8.self)
  }
}
