/// Processes, and what becomes of them, in lines for people. `width` is the terminal's, nil for none: then nothing is cut.
enum ProcessLines {
  /// `today` is a time of today, RFC 3339: who started today is shown with the hour.
  static func table(_ processes: [JSONValue], width: Int?, today: String) -> String {
    func number(_ process: JSONValue, _ name: String) -> String { process[name]?.integer.map { String($0) } ?? "-" }
    func names(_ list: JSONValue?) -> [String] { (list?.elements ?? []).compactMap(\.string) }
    var rows = [["PID", "START", "TRUSTED", "DENIED", "EVENTS", "FLAGS", "IMAGE"]]
    for process in processes {
      // Trusted has a column of its own.
      var carried = names(process["flags"]).filter { $0 != "Trusted" } + names(process["rules"])
      if let ending = process["doc_open"]?.string { carried.append("opens .\(ending)") }
      rows.append([
        number(process, "pid"), start(process["start"]?.string ?? "", today), process["trusted"]?.boolean == true ? "yes" : "no",
        number(process, "denials"), number(process, "events"), carried.isEmpty ? "-" : carried.joined(separator: ","),
        process["image"]?.string ?? "-",
      ])
    }
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      let cells = row.enumerated().map { column, cell in
        column == row.count - 1 ? cell : padded(cell, widths[column], isNumber: [0, 3, 4].contains(column))
      }
      return cut(cells.dropLast().joined(separator: "  ") + "  ", row[row.count - 1], width) + "\n"
    }.joined()
  }

  /// `2026-01-31T12:00:00.1234567Z`: the time of day when that is today, else the day.
  private static func start(_ time: String, _ today: String) -> String {
    time.prefix(10) == today.prefix(10) ? String(time.dropFirst(11).prefix(8)) : String(time.prefix(10))
  }

  // MARK: What happens

  static func heading(width: Int?) -> String { line("TIME", "EVENT", "PID", "PARENT", "TRUSTED", "IMAGE", width) }

  /// One line, and one more where something was lost before it. `images` is what was told of those who live: not every event
  /// names the image.
  static func text(of event: JSONValue, width: Int?, images: inout [Int64: String]) -> String {
    var text = ""
    if let lost = event["regward"]?["lost"]?["dropped"]?.integer {
      text += "# \(lost) lost: they came faster than they were read\n"
    }
    let process = event["process"] ?? .null
    let action = event["event"]?["action"]?.string ?? ""
    let carried = (event["regward"]?["flags"]?.elements ?? []).compactMap(\.string).filter { $0 != "Trusted" }
    let pid = process["pid"]?.integer ?? 0
    let image = process["executable"]?.string ?? images[pid] ?? "-"
    images[pid] = action == "process-terminated" ? nil : image
    text += line(
      String((event["@timestamp"]?.string ?? "").dropFirst(11).prefix(12)),
      action.hasPrefix("process-") ? String(action.dropFirst(8)) : action, String(pid),
      process["parent"]?["pid"]?.integer.map { String($0) } ?? "-",
      event["regward"]?["trusted"]?.boolean.map { $0 ? "yes" : "no" } ?? "-",
      carried.isEmpty ? image : "\(image) [\(carried.joined(separator: ","))]", width)
    return text + "\n"
  }

  private static func line(
    _ time: String, _ event: String, _ pid: String, _ parent: String, _ trusted: String, _ image: String, _ width: Int?
  ) -> String {
    let head = [
      padded(time, 12, isNumber: false), padded(event, 10, isNumber: false), padded(pid, 7, isNumber: true),
      padded(parent, 7, isNumber: true), padded(trusted, 7, isNumber: false),
    ].joined(separator: "  ")
    return cut(head + "  ", image, width)
  }

  private static func padded(_ text: String, _ width: Int, isNumber: Bool) -> String {
    let blanks = String(repeating: " ", count: max(0, width - text.count))
    return isNumber ? blanks + text : text + blanks
  }

  /// The end of a path says more than its beginning.
  private static func cut(_ head: String, _ path: String, _ width: Int?) -> String {
    let shown = Console.printable(path)
    guard let width, head.count + shown.count > width else { return head + shown }
    let room = max(8, width - head.count)
    return shown.count <= room ? head + shown : head + "…" + shown.suffix(room - 1)
  }
}
