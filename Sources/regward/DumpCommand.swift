internal import ArgumentParser
internal import Glibc
internal import HiveStorage

/// `regward dump`: the canonical text of a hive, for comparing.
struct DumpCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dump",
    abstract: "Prints every key and value of a hive, sorted.",
    discussion: """
      K <TAB> path <TAB> last written <TAB> class <TAB> SHA-256 of the security descriptor
      V <TAB> path <TAB> name <TAB> type <TAB> length <TAB> SHA-256 of the data

      What is damaged is told on standard error and the rest printed; the exit status is 1 then. A dirty hive is printed \
      as its logs make it, or as it lies when they cannot, which counts as damage. Files are only read.
      """)

  @Argument(help: "The hive's primary file; its logs lie beside it.", completion: .file())
  var hive: String

  func run() throws {
    let dump: HiveDump
    let unrecovered: HiveError?
    do {
      let opened = try Hive(HiveFile(path: hive, access: .inspection))
      unrecovered = opened.unrecovered
      dump = HiveDump(opened)
    } catch {
      tell(error)
      throw ExitCode(1)
    }
    var isWritten = true
    dump.forEachPiece { piece in
      isWritten = Self.write(piece, to: STDOUT_FILENO)
      return isWritten
    }
    guard isWritten else {
      let reason = String(cString: strerror(errno))
      _ = Self.write(Array("standard output: \(reason)\n".utf8), to: STDERR_FILENO)
      throw ExitCode(1)
    }
    let problems = (unrecovered.map { [$0] } ?? []) + dump.problems
    for problem in problems { tell(problem) }
    if !problems.isEmpty { throw ExitCode(1) }
  }

  private func tell(_ error: HiveError) {
    _ = Self.write(Array("\(hive): \(error)\n".utf8), to: STDERR_FILENO)
  }

  private static func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
    bytes.withUnsafeBytes { buffer in
      var done = 0
      while done < buffer.count {
        let count = Glibc.write(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done)
        if count > 0 { done += count } else if errno != EINTR { return false }
      }
      return true
    }
  }
}
