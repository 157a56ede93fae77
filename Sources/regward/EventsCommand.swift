internal import ArgumentParser
internal import Glibc
internal import Notifications

/// `regward events`: what a log has, or a mount tells, in Process Monitor's columns.
struct EventsCommand: ParsableCommand {
  enum Format: String, CaseIterable, ExpressibleByArgument { case table, json, csv }

  static let configuration = CommandConfiguration(
    commandName: "events",
    abstract: "Shows events of a log file, or of a mount.",
    discussion: """
      The columns are those of Process Monitor: time of day (UTC), process, number, operation, path, result, detail. A log is one of \
      the format ecs. Of a mount its first log file is read, or, with --follow, what happens from now on, without any log.

      --follow on a file goes on with the file that takes its name after a rotation. Lines that are no events are told on standard \
      error and passed over.

      Exit status: 0; 1 when lines were passed over; 2 when the source cannot be read.
      """)

  @Flag(name: .shortAndLong, help: "Go on with what comes.")
  var follow = false

  @Flag(help: "Only what was refused.")
  var denied = false

  @Option(help: ArgumentHelp(#"Only keys and values like this, HKLM\SYSTEM\*\Start: * is any characters, ? is one."#, valueName: "pattern"))
  var key: String?

  @Option(help: ArgumentHelp("Only this process: a number, a file name, or an absolute path.", valueName: "process"))
  var process: String?

  @Option(help: ArgumentHelp("Only what a Sigma rule of such a title or id fired on; '*' is any of them.", valueName: "pattern"))
  var sigma: String?

  @Option(help: "table, json or csv (as Process Monitor saves it).")
  var format = Format.table

  @Flag(help: "Print the JSON Schema of a line of the format ecs, and nothing else.")
  var schema = false

  @Argument(help: ArgumentHelp("A log file, or a mount point or a path below it.", valueName: "source"), completion: .file())
  var source: String?

  func validate() throws {
    guard schema != (source != nil) else { throw ValidationError("A log file or a mount is needed, or --schema.") }
  }

  func run() throws {
    guard let source else {
      Console.write(EventSchema.text, to: STDOUT_FILENO)
      return
    }
    var hasProblems = false
    try MountFailure.exiting { () throws(MountFailure) in
      if Self.isMount(source) {
        if follow { return try followMount(source) }
        hasProblems = try readLog(try Self.log(ofMount: source))
      } else {
        hasProblems = try readLog(source)
      }
    }
    if hasProblems { throw ExitCode(1) }
  }

  static func isMount(_ path: String) -> Bool {
    MountTable.mount(of: FilePath.resolveExisting(path), among: MountTable.read()) != nil
  }

  /// The first file that a mount writes events to.
  static func log(ofMount path: String) throws(MountFailure) -> String {
    let logs = try MountStatus.read(of: path)["logs"]?.elements ?? []
    guard let file = logs.compactMap({ $0["name"]?.string }).first(where: { $0.hasPrefix("/") }) else {
      throw MountFailure("the mount of \(path) has no log file: --follow shows what happens from now on", status: 2)
    }
    return file
  }

  private var filter: EventFilter { EventFilter(onlyRefused: denied, key: key, process: process, sigma: sigma) }

  private var isColoured: Bool {
    isatty(STDOUT_FILENO) == 1 && getenv("NO_COLOR").map { $0.pointee == 0 } != false
  }

  private func begin() {
    switch format {
    case .table: print(EventLines.heading)
    case .csv: print(EventLines.csvHeading)
    case .json: break
    }
  }

  /// False when nobody reads any more.
  @discardableResult
  private func print(_ text: String) -> Bool { Console.write(Array(text.utf8), to: STDOUT_FILENO) }

  private func show(_ event: JSONValue, _ row: EventRow) -> Bool {
    guard filter.admits(row) else { return true }
    switch format {
    case .table: return print(EventLines.table(row, isColoured: isColoured))
    case .csv: return print(EventLines.csv(row))
    case .json: return print(event.json + "\n")
    }
  }

  /// Whether lines were passed over.
  private func readLog(_ path: String) throws(MountFailure) -> Bool {
    var log = try EventLog(path)
    var hasProblems = false
    begin()
    while true {
      while let line = try log.next(isLast: !follow) {
        switch Self.event(line) {
        case .success(let (event, row)): guard show(event, row) else { return hasProblems }
        case .failure(let problem):
          hasProblems = true
          Console.tell("\(path):\(log.lineNumber): \(problem.text)")
        }
      }
      guard follow else { return hasProblems }
      if !log.turnOver() { usleep(Self.pause) }
    }
  }

  /// Between two looks at a file that is followed, microseconds.
  private static let pause: UInt32 = 100_000

  struct Problem: Error { let text: String }

  /// A line of a log as an event of the format ecs.
  static func event(_ line: [UInt8]) -> Result<(JSONValue, EventRow), Problem> {
    let event: JSONValue
    do throws(JSONReader.Problem) { event = try JSONReader.read(line) } catch {
      return .failure(Problem(text: "no JSON: \(error.description), at byte \(error.offset)"))
    }
    guard let row = EventRow(event) else { return .failure(Problem(text: "no event of the format ecs")) }
    return .success((event, row))
  }

  private func followMount(_ source: String) throws(MountFailure) {
    let client = try ControlClient(mountOf: source)
    let answer = try client.ask(.object(["message": .text("SUBSCRIBE_EVENTS")]))
    guard answer["status"]?.string == "ok" else {
      throw MountFailure(answer["error"]?.string ?? "the answer is not understood", status: 1)
    }
    begin()
    while let packet = try client.receive() {
      guard packet["message"]?.string == EventSubscription.messageName, let event = packet["event"], let row = EventRow(event)
      else { continue }
      guard show(event, row) else { return }
    }
  }
}
