internal import ArgumentParser
internal import Glibc

/// `regward status`: what a mount is, and what it has counted.
struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Tells the state of a mount: rules, decisions, events, sync client.",
    discussion: "Exit status: 0, or 2 when the mount cannot be asked.")

  @Flag(help: "Print the mount's own JSON.")
  var json = false

  @Argument(help: ArgumentHelp("A mount point, or a path below it.", valueName: "mount-point"), completion: .directory)
  var mountPoint: String

  func run() throws {
    do throws(MountFailure) {
      let text = json
        ? try MountStatus.text(of: mountPoint) : Array(Self.text(of: try MountStatus.read(of: mountPoint)).utf8)
      Console.write(text, to: STDOUT_FILENO)
    } catch {
      Console.tell(error.message)
      throw ExitCode(error.status)
    }
  }

  /// For people: a name and its value a line, in two columns, then the decisions as a table.
  static func text(of status: JSONValue) -> String {
    func number(_ path: String...) -> Int64 { path.reduce(status) { $0[$1] ?? .null }.integer ?? 0 }
    var rows: [(String, String)] = [
      ("hive", status["hive"]?.string ?? "?"), ("mount point", status["mountPoint"]?.string ?? "?"),
      ("location", status["location"]?.string ?? "?"), ("daemon", "process \(number("pid"))"),
      ("access", status["readOnly"]?.boolean == true ? "read-only" : "read and write"),
      ("socket", status["socket"]?.string ?? "none"), ("policy", status["policy"]?.string ?? "?"),
      (
        "rules",
        "version \(number("rulesVersion")), mode \(status["mode"]?.string ?? "?"): "
          + "\(number("rules", "hardened")) hardened, "
          + "\(number("rules", "monitored")) monitored, \(Console.count(number("rules", "processes"), "process", "processes")), "
          + "\(Console.count(number("rules", "sigma"), "Sigma rule"))"
      ),
      ("set by message", status["amendments"]?.string ?? "nothing"),
      ("callers known by", status["guards"]?.string ?? "?"),
      (
        "callers",
        [
          Console.count(number("callers", "processes"), "process", "processes"),
          Console.count(number("callers", "threads"), "thread"),
          Console.count(number("callers", "losses"), "loss of events", "losses of events"),
        ].joined(separator: ", ")
      ),
      ("updates", "\(number("updates", "succeeded")) done, \(number("updates", "failed")) failed"),
    ]
    for line in (status["updates"]?["lastError"]?.string ?? "").split(separator: "\n") {
      rows.append(("last error", String(line)))
    }
    rows.append(
      (
        "events",
        "\(number("events", "queued")) queued, \(number("events", "delivered")) delivered, "
          + "\(number("events", "dropped")) dropped"
      ))
    for log in status["logs"]?.elements ?? [] {
      func count(_ name: String) -> Int64 { log[name]?.integer ?? 0 }
      rows.append(
        (
          "log",
          "\(log["name"]?.string ?? "?"): \(count("accepted")) told, \(count("lost")) lost, \(count("dropped")) dropped, "
            + Console.count(count("errors"), "error")
        ))
    }
    if number("unsaved", "values") + number("unsaved", "promoted") + number("unsaved", "lost") > 0 {
      rows.append(
        (
          "in memory",
          "\(Console.count(number("unsaved", "values"), "value")) that nobody has saved, "
            + "\(Console.count(number("unsaved", "scratchBytes"), "byte")) under scratch names; "
            + "\(number("unsaved", "promoted")) promoted, \(number("unsaved", "lost")) lost"
        ))
    }
    for hive in status["storage"]?.elements ?? [] {
      guard let reason = hive["stopped"]?.string else { continue }
      rows.append(("no changes", "\(hive["hive"]?.string ?? "?"): \(reason); `regward flush` tries again"))
    }
    for (title, name) in [("match time", "match_time"), ("process look-up", "lookup_time")] {
      rows.append((title, time(status[name] ?? .null)))
    }
    rows += sync(status["sync"] ?? .null)
    if status["control"] != nil {
      rows.append(
        (
          "connections",
          "\(number("control", "connections")) now, \(number("control", "accepted")) accepted, "
            + "\(number("control", "refused")) refused, \(number("control", "cut_off")) cut off"
        ))
    }
    let width = rows.map(\.0.count).max() ?? 0
    let lines = rows.map { name, value in
      "\(name):" + String(repeating: " ", count: width - name.count + 2) + Console.printable(value) + "\n"
    }
    return lines.joined() + decisions(status["decisions"]?.members ?? [])
  }

  private static func time(_ time: JSONValue) -> String {
    guard let count = time["count"]?.integer, count > 0 else { return "none taken" }
    func duration(_ name: String) -> String { time[name]?.integer.map(Self.duration) ?? "?" }
    return "median \(duration("p50_ns")), 99 % below \(duration("p99_ns")), longest \(duration("max_ns"))"
      + " (\(count) taken)"
  }

  private static func sync(_ sync: JSONValue) -> [(String, String)] {
    var rows: [(String, String)] = []
    let client = sync["client"]?["pid"]?.integer.map {
      "process \($0), \(sync["client"]?["deciding"]?.boolean == true ? "deciding" : "listening")"
    }
    func setting(_ name: String) -> Int64 { sync[name]?.integer ?? 0 }
    rows.append(("sync client", "\(client ?? "none"); \(Console.count(setting("waiting"), "operation")) waiting"))
    rows.append(
      (
        "sync settings",
        "wait \(setting("timeout_ms")) ms, after \(Console.count(setting("timeouts_until_pass_through"), "time-out")) not asked for "
          + "\(setting("retry_after_ms")) ms, silence means \(sync["on_timeout"]?.string ?? "?")"
      ))
    for type in sync["types"]?.members ?? [] {
      func number(_ name: String) -> Int64 { type.value[name]?.integer ?? 0 }
      var text = "\(number("sent")) sent, \(number("received")) answered, \(number("denied")) denied, "
      text += [
        Console.count(number("timeouts"), "time-out"), Console.count(number("mismatches"), "mismatch", "mismatches"),
        Console.count(number("errors"), "error"),
      ].joined(separator: ", ")
      if number("last_error") != 0 { text += " (\(Console.reason(Int32(clamping: number("last_error")))))" }
      text += ", \(number("passed_through") + number("unattended") + number("crowded")) not asked"
      rows.append((type.name, text + "; waited \(duration(number("total_wait_ns")))"))
    }
    return rows
  }

  /// Only classes and outcomes that have happened.
  private static func decisions(_ classes: [JSONValue.Member]) -> String {
    let outcomes = (classes.first?.value.members ?? []).map(\.name).filter { name in
      classes.contains { ($0.value[name]?.integer ?? 0) > 0 }
    }
    guard !outcomes.isEmpty else { return "" }
    var table = [[""] + outcomes]
    for row in classes {
      let counts = outcomes.map { row.value[$0]?.integer ?? 0 }
      if counts.contains(where: { $0 > 0 }) { table.append([row.name] + counts.map { String($0) }) }
    }
    let widths = table[0].indices.map { column in table.map { $0[column].count }.max() ?? 0 }
    let lines = table.map { row in
      row.enumerated().map { column, cell in
        let blanks = String(repeating: " ", count: widths[column] - cell.count)
        return column == 0 ? cell + blanks : "  " + blanks + cell
      }.joined() + "\n"
    }
    return "\n" + lines.joined()
  }

  /// Three digits or so, with a unit.
  static func duration(_ nanoseconds: Int64) -> String {
    let units: [(String, Int64)] = [("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1000)]
    guard let (unit, size) = units.first(where: { nanoseconds >= $0.1 }) else { return "\(nanoseconds) ns" }
    let whole = nanoseconds / size
    let tenth = nanoseconds % size * 10 / size
    return whole >= 100 || tenth == 0 ? "\(whole) \(unit)" : "\(whole).\(tenth) \(unit)"
  }

}
