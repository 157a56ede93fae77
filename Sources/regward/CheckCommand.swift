internal import ArgumentParser
internal import Glibc
internal import HiveStorage

/// `regward check`, and `fsck.regward` for fsck(8): every rule of the format that a hive breaks.
struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Checks a hive against every rule of its format.",
    discussion: """
      A line for each finding: the rule's name, structure, offset in the file, what is wrong; and a closing line with \
      counts. A dirty hive is checked as its logs make it, and that is told; files are only read. As fsck.regward, it \
      takes the options of fsck(8); nothing is ever repaired.

      Exit status, as of fsck(8): 0 clean; 4 findings; 8 the hive cannot be read; 16 wrong usage.
      """)

  static let findingsStatus: Int32 = 4
  static let operationalStatus: Int32 = 8
  static let usageStatus: Int32 = 16

  @Flag(help: "One JSON object a line.")
  var json = false

  @Flag(help: "Tell on standard error how far the check is; by default, on a terminal, for large hives.")
  var progress = false

  /// fsck(8)'s orders to repair, or not to: there is nothing that they change here.
  @Flag(
    name: [.customShort("a"), .customShort("f"), .customShort("n"), .customShort("p"), .customShort("y")], help: .hidden
  )
  var order: Int

  @Argument(help: "The hive's primary file; its logs lie beside it.", completion: .file())
  var hive: String

  /// The command line, when the program was called as fsck.regward; nil when it was not.
  static func fsckArguments(_ arguments: [String]) -> [String]? {
    guard let program = arguments.first, FilePath.lastComponent(program) == "fsck.regward" else { return nil }
    // fsck -C hands on a descriptor for a progress bar of its own making.
    return ["check"] + arguments.dropFirst().map { $0.hasPrefix("-C") ? "--progress" : $0 }
  }

  func run() throws {
    let status: Int32
    do throws(HiveError) {
      status = try check() ? 0 : Self.findingsStatus
    } catch {
      Console.tell("\(hive): \(error)")
      status = Self.operationalStatus
    }
    if status != 0 { throw ExitCode(status) }
  }

  /// True when nothing was found.
  private func check() throws(HiveError) -> Bool {
    let report = CheckReport(hive: hive, isJSON: json)
    do throws(HiveError) {
      let opened = try Hive(HiveFile(path: hive, access: .inspection))
      if let recovery = opened.recovery { report.tell(recovery) }
      let line = ProgressLine(isWanted: progress, bytes: opened.byteCount)
      let checker = HiveChecker(opened) { line?.show($0, of: $1) }
      line?.clear()
      report.tell(
        checker.findings, counts: ["keys": checker.keys, "values": checker.values, "orphans": checker.orphans.count])
      return checker.findings.isEmpty
    } catch {
      // What cannot even be opened as a hive breaks the first rule.
      guard let finding = HiveFinding(opening: error) else { throw error }
      report.tell([finding], counts: [:])
      return false
    }
  }
}
