internal import ArgumentParser
internal import Glibc
internal import HiveStorage

/// `regward check`, and `fsck.regward` for fsck(8): every rule of the format that a hive breaks, and the hive without
/// that.
struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Checks a hive against every rule of its format.",
    usage: "regward check [--json] [--orphans] [--progress] <hive>\nregward check --repair --output <file> [...] <hive>",
    discussion: """
      A line for each finding: the rule's name, structure, offset in the file, what is wrong, in which key; and a closing \
      line with counts. A dirty hive is checked as its logs make it, and that is told; the hive is only read.

      --repair writes what can be read of a damaged hive to a new file, mode 0600, that the checker finds clean, and tells \
      for each finding whether it was mended, what was changed, or what was dropped. A clean hive is not written.

      As fsck.regward, it takes the options of fsck(8); without a file to write to, -a, -p and -y repair nothing and say so.

      Exit status, as of fsck(8): 0 clean; 1 repaired, into the new file; 4 findings; 8 the hive cannot be read, or the new \
      file not be written; 16 wrong usage.
      """)

  static let repairedStatus: Int32 = 1
  static let findingsStatus: Int32 = 4
  static let operationalStatus: Int32 = 8
  static let usageStatus: Int32 = 16

  @Flag(help: "One JSON object a line.")
  var json = false

  @Flag(help: "Tell of the cells that nothing refers to as well; they are no fault.")
  var orphans = false

  @Flag(help: "Tell on standard error how far the check is; by default, on a terminal, when it takes more than a second.")
  var progress = false

  @Flag(help: "Write the hive without what is found to a new file.")
  var repair = false

  @Option(name: .shortAndLong, help: ArgumentHelp("The file to make.", valueName: "file"), completion: .file())
  var output: String?

  /// fsck(8)'s orders to repair.
  @Flag(name: [.customShort("a"), .customShort("p"), .customShort("y")], help: .hidden)
  var repairOrder: Int

  /// fsck(8)'s order not to.
  @Flag(name: .customShort("n"), help: .hidden)
  var isOnlyLook = false

  /// fsck(8)'s order to look in any case, as we do.
  @Flag(name: .customShort("f"), help: .hidden)
  var force: Int

  @Argument(help: "The hive's primary file; its logs lie beside it.", completion: .file())
  var hive: String

  /// The command line, when the program was called as fsck.regward; nil when it was not.
  static func fsckArguments(_ arguments: [String]) -> [String]? {
    guard let program = arguments.first, FilePath.lastComponent(program) == "fsck.regward" else { return nil }
    // fsck -C hands on a descriptor for a progress bar of its own making.
    return ["check"] + arguments.dropFirst().map { $0.hasPrefix("-C") ? "--progress" : $0 }
  }

  private var isRepairWanted: Bool { repair || repairOrder > 0 }

  func validate() throws {
    guard !isRepairWanted || !isOnlyLook else { throw ValidationError("To repair and to change nothing exclude each other.") }
    guard !repair || output != nil else {
      throw ValidationError("A repair is written to a new file: name it with --output. No hive is repaired in its place.")
    }
    guard output == nil || isRepairWanted else { throw ValidationError("--output is for --repair.") }
  }

  func run() throws {
    let status: Int32
    do throws(HiveError) { status = try check() } catch {
      Console.tell("\(hive): \(error)")
      status = Self.operationalStatus
    }
    if status != 0 { throw ExitCode(status) }
  }

  /// The exit status.
  private func check() throws(HiveError) -> Int32 {
    let report = CheckReport(hive: hive, isJSON: json)
    let opened: Hive
    do throws(HiveError) { opened = try Hive(HiveFile(path: hive, access: .inspection)) } catch {
      // What cannot even be opened as a hive breaks the first rule.
      guard let finding = HiveFinding(opening: error) else { throw error }
      report.tell([finding], counts: [:])
      return Self.findingsStatus
    }
    if let recovery = opened.recovery { report.tell(recovery) }
    let line = ProgressLine("checking", isWanted: progress)
    let checker = HiveChecker(opened) { line.show($0, of: $1) }
    line.clear()
    if orphans { for orphan in checker.orphans { report.tell(orphan) } }
    guard !checker.findings.isEmpty, isRepairWanted, let output else {
      report.tell(
        checker.findings, counts: ["keys": checker.keys, "values": checker.values, "orphans": checker.orphans.count])
      if checker.findings.isEmpty { return 0 }
      if isRepairWanted {
        Console.tell(
          "\(hive): nothing was repaired: that is done into a new file, by `regward check --repair --output FILE HIVE`")
      }
      return Self.findingsStatus
    }
    do throws(HiveError) {
      try repair(opened, checker, to: output, report)
      return Self.repairedStatus
    } catch {
      // What is wrong is told even where it stays.
      report.tell(checker.findings, counts: ["keys": checker.keys, "values": checker.values])
      throw error
    }
  }

  private func repair(
    _ opened: borrowing Hive, _ checker: HiveChecker, to output: String, _ report: CheckReport
  ) throws(HiveError) {
    let line = ProgressLine("repairing", isWanted: progress)
    defer { line.clear() }
    let rewritten = try NewHiveFile.make(output) { device throws(HiveError) in
      try opened.repair(to: device, after: checker) { line.show($0, of: opened.byteCount) }
    }
    line.clear()
    report.tell(rewritten, in: output)
  }
}
