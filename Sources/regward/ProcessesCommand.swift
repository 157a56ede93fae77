internal import ArgumentParser
internal import Executive
internal import Glibc

/// `regward processes`: who is there, as a mount's process table knows it.
struct ProcessesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "processes",
    abstract: "Lists the live processes as a mount knows them, or follows what becomes of them.",
    discussion: """
      One line for each: number, start (UTC), what it carries by the policy, whether it is trusted, how many of its operations \
      were refused, how many events it caused, and its executable.

      --follow tells first every process that is there, then each that begins (with every program that it starts to execute), \
      ends, or becomes trusted or not, until the mount ends. Who reads too slowly loses the oldest, and is told how many; the \
      mount waits for nobody.

      Exit status: 0; 1 refused; 2 when the mount cannot be asked.
      """)

  @Flag(help: "Tell what happens, until the mount ends.")
  var follow = false

  @Flag(help: "A JSON object a line; with --follow each is an event as in the log.")
  var json = false

  @Argument(help: ArgumentHelp("A mount point, or a path below it.", valueName: "mount-point"), completion: .directory)
  var mountPoint: String

  func run() throws {
    try MountFailure.exiting { () throws(MountFailure) in
      let client = try ControlClient(mountOf: mountPoint)
      if follow { try followProcesses(client) } else { try list(client) }
    }
  }

  private static func check(_ answer: JSONValue) throws(MountFailure) {
    guard answer["status"]?.string == "ok" else {
      throw MountFailure(answer["error"]?.string ?? "the answer is not understood", status: 1)
    }
  }

  // MARK: The list

  private func list(_ client: borrowing ControlClient) throws(MountFailure) {
    var processes: [JSONValue] = []
    var after: JSONValue?
    repeat {
      var message: [JSONValue.Member] = [.init(name: "message", value: .text("QUERY_TRUSTED_AND_UNTRUSTED_PROCESS"))]
      if let after { message.append(.init(name: "after", value: after)) }
      let answer = try client.ask(.object(message))
      try Self.check(answer)
      processes += (answer["trusted"]?.elements ?? []) + (answer["untrusted"]?.elements ?? [])
      after = answer["next"]
    } while after != nil
    processes.sort { ($0["pid"]?.integer ?? 0) < ($1["pid"]?.integer ?? 0) }
    let text = json
      ? processes.map { $0.json + "\n" }.joined()
      : ProcessLines.table(processes, width: Console.width, today: FileTime.now().rfc3339)
    Console.write(Array(text.utf8), to: STDOUT_FILENO)
  }

  // MARK: What happens

  private func followProcesses(_ client: borrowing ControlClient) throws(MountFailure) {
    try Self.check(
      try client.ask(.object(["message": .text("SUBSCRIBE_PROCESS_NOTIFICATIONS"), "refresh": .flag(true)])))
    let width = Console.width
    if !json { Console.write(Array((ProcessLines.heading(width: width) + "\n").utf8), to: STDOUT_FILENO) }
    var images: [Int64: String] = [:]
    while let packet = try client.receive() {
      guard packet["message"]?.string == ProcessSubscription.messageName, let event = packet["event"] else { continue }
      let text = json ? event.json + "\n" : ProcessLines.text(of: event, width: width, images: &images)
      guard Console.write(Array(text.utf8), to: STDOUT_FILENO) else { return }
    }
  }
}
