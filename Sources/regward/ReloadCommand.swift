internal import ArgumentParser
internal import Glibc

/// `regward reload`: puts a mount's policy in force again, as it is now.
struct ReloadCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reload",
    abstract: "Reads the policy of a mount again, without unmounting.",
    discussion: """
      All of the new rules come into force, or none: on any error the old ones stay. What messages had set (regward ctl) is \
      dropped with the old rules. Files that are open are judged by the new \
      rules at their next write. SIGHUP to the daemon does the same.

      Prints the old and the new version of the rules; each problem is one line, FILE:LINE:COLUMN: error: or warning: \
      and what it is.

      Exit status: 0 the new rules are in force, 1 the policy has errors, 2 the mount cannot be asked.
      """)

  @Option(
    help: ArgumentHelp("Use this policy from now on, also for later reloads.", valueName: "file"), completion: .file())
  var policy: String?

  @Argument(help: ArgumentHelp("A mount point, or a path below it.", valueName: "mount-point"), completion: .directory)
  var mountPoint: String

  func run() throws {
    do throws(MountFailure) {
      try reload()
    } catch {
      if !error.message.isEmpty { Console.tell(error.message) }
      throw ExitCode(error.status)
    }
  }

  private func reload() throws(MountFailure) {
    let client = try ControlClient(mountOf: mountPoint)
    var message: [JSONValue.Member] = [.init(name: "message", value: .text("REG_UPDATE_DATA"))]
    if let policy { message.append(.init(name: "policy", value: .text(FilePath.absolute(policy)))) }
    let answer = try client.ask(.object(message))
    let problems = answer["problems"]?.elements ?? []
    // As `regward rules lint` has them, for the same tools.
    for problem in problems { Console.write(Array((Self.line(problem) + "\n").utf8), to: STDERR_FILENO) }
    guard answer["status"]?.string == "ok", let old = answer["old_version"]?.integer,
      let new = answer["version"]?.integer
    else {
      let reason = answer["error"]?.string ?? "the answer is not understood"
      throw MountFailure(reason, status: answer["problems"] == nil ? MountFailure.systemStatus : 1)
    }
    print("rules of version \(new) are in force, instead of version \(old)")
    if let dropped = answer["dropped"]?.string { print("no longer in force, for messages had set it: \(dropped)") }
  }

  static func line(_ problem: JSONValue) -> String {
    var place = problem["file"]?.string ?? ""
    if let line = problem["line"]?.integer, line > 0 { place += ":\(line):\(problem["column"]?.integer ?? 0)" }
    return "\(place): \(problem["severity"]?.string ?? "error"): \(problem["text"]?.string ?? "")"
  }
}
