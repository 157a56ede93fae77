internal import ArgumentParser
internal import Glibc

/// `regward report`: a log as a page.
struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Makes one HTML page of a log: a timeline of each process, and tables that sort and filter.",
    discussion: """
      The page needs nothing but itself: no network, no other file. Lines that are no events are told on standard error and passed \
      over.

      Exit status: 0; 1 when lines were passed over; 2 when a file cannot be read or written.
      """)

  @Option(name: .shortAndLong, help: ArgumentHelp("The page; one that is there is replaced.", valueName: "file"))
  var output: String

  @Argument(help: ArgumentHelp("A log file of the format ecs.", valueName: "events"), completion: .file())
  var events: String

  func run() throws {
    var hasProblems = false
    try MountFailure.exiting { () throws(MountFailure) in
      var page = ReportPage(title: FilePath.lastComponent(events))
      var log = try EventLog(events)
      while let line = try log.next(isLast: true) {
        switch EventsCommand.event(line) {
        case .success(let (_, row)): page.add(row)
        case .failure(let problem):
          hasProblems = true
          page.skipped += 1
          Console.tell("\(events):\(log.lineNumber): \(problem.text)")
        }
      }
      let file = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
      guard file >= 0 else { throw .system("cannot write \(output)", errno) }
      let isWhole = Console.write(Array(page.html.utf8), to: file)
      let failure = errno
      guard close(file) == 0, isWhole else { throw .system("cannot write \(output)", isWhole ? errno : failure) }
    }
    if hasProblems { throw ExitCode(1) }
  }
}
