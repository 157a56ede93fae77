internal import ArgumentParser
internal import Glibc
internal import HiveStorage

/// `regward recover`: a dirty hive, made whole by its logs, as a new file.
struct RecoverCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "recover",
    abstract: "Writes a hive to a new file, as its transaction logs make it.",
    discussion: """
      Tells which logs were replayed, and which were not and why. The hive and its logs are only read. The new file \
      must not be there yet; it is made with mode 0600. A hive that is clean is copied as it is, whatever its logs hold.

      Exit status: 0 written; 1 not possible, with the reason.
      """)

  @Argument(help: "The hive's primary file; its logs lie beside it.", completion: .file())
  var hive: String

  @Option(name: .shortAndLong, help: ArgumentHelp("The file to make.", valueName: "file"), completion: .file())
  var output: String

  func run() throws {
    do throws(HiveError) { try recover() } catch {
      Console.tell("\(hive): \(error)")
      throw ExitCode(1)
    }
  }

  private func recover() throws(HiveError) {
    let opened = try Hive(HiveFile(path: hive, access: .readOnly))
    try NewHiveFile.make(output) { device throws(HiveError) in try opened.copy(to: device) }
    Console.write(Array((Self.report(opened.recovery) + "\n").utf8), to: STDOUT_FILENO)
  }

  /// Some lines; without a recovery the hive was clean.
  static func report(_ recovery: Recovery?) -> String {
    guard let recovery else { return "the hive is clean; no log was replayed" }
    var lines = ["dirty: \(recovery.cause)"]
    for log in recovery.logs {
      lines.append("replayed: \(log)")
      if let end = log.end { lines.append("  ended by: \(end)") }
    }
    for reason in recovery.passedOver { lines.append("passed over: \(reason)") }
    lines.append("clean: sequence number \(recovery.sequence)")
    return lines.joined(separator: "\n")
  }
}
