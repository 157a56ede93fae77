/// Events as one page of HTML that needs nothing else. Everything that comes from an event is escaped text: names are anybody's.
struct ReportPage {
  /// Of the tables: the last ones. The sums count all.
  static let mostRows = 20_000
  static let mostProcesses = 200
  static let mostMarks = 20_000

  private struct Process: Hashable {
    let name: String
    let id: Int64
  }

  private struct Sum {
    var events = 0
    var refused = 0
    var executable = ""

    mutating func add(_ row: EventRow) {
      events += 1
      if row.isRefused { refused += 1 }
      if !row.executable.isEmpty { executable = row.executable }
    }
  }

  let title: String
  /// Lines of the log that were no events.
  var skipped = 0
  private var rows: [EventRow] = []
  private var lost: Int64 = 0
  private var total = Sum()
  private var processes: [Process: Sum] = [:]
  private var paths: [String: Sum] = [:]
  private var detections: [EventRow.Detection: Sum] = [:]

  init(title: String) { self.title = title }

  mutating func add(_ row: EventRow) {
    total.add(row)
    lost += row.lost
    processes[Process(name: row.process, id: row.processID), default: Sum()].add(row)
    if !row.path.isEmpty { paths[row.path, default: Sum()].add(row) }
    for detection in row.detections { detections[detection, default: Sum()].add(row) }
    rows.append(row)
    // Not at every one.
    if rows.count >= 2 * Self.mostRows { rows.removeFirst(rows.count - Self.mostRows) }
  }

  // MARK: The page

  var html: String {
    let shown = rows.suffix(Self.mostRows)
    var facts = "\(Console.count(total.events, "event")) of \(Console.count(processes.count, "process", "processes")), \(total.refused) refused"
    if lost > 0 { facts += "; \(lost) more were lost before they reached the log" }
    if skipped > 0 { facts += "; lines of the log that are no events: \(skipped)" }
    if shown.count < total.events { facts += "; timeline and table show the last \(shown.count)" }
    var page = """
      <!DOCTYPE html>
      <html lang="en"><head><meta charset="utf-8">
      <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <title>\(Self.escaped(title)) – regward</title>
      <style>\(ReportAssets.style)</style></head><body>
      <header><h1>\(Self.escaped(title))</h1><p>\(facts).</p></header><main>

      """
    page += "<section><h2>Timeline</h2>" + timeline(shown) + "</section>\n"
    page += Self.table(
      "processes", "Processes", ["Process", "PID", "Events", "Refused", "Executable"], numbers: [1, 2, 3],
      processes.sorted { ($0.value.refused, $0.value.events, $0.key.id) > ($1.value.refused, $1.value.events, $1.key.id) }
        .map { entry in
          (
            [
              entry.key.name, String(entry.key.id), String(entry.value.events), String(entry.value.refused),
              entry.value.executable,
            ], entry.value.refused > 0
          )
        })
    if !detections.isEmpty {
      page += Self.table(
        "sigma", "Sigma rules", ["Rule", "Level", "Events", "Refused", "Id"], numbers: [2, 3],
        detections.sorted { ($1.value.events, $0.key.id) < ($0.value.events, $1.key.id) }.map { entry in
          (
            [entry.key.title, entry.key.level, String(entry.value.events), String(entry.value.refused), entry.key.id],
            entry.value.refused > 0
          )
        })
    }
    page += Self.table(
      "paths", "Keys and values", ["Path", "Events", "Refused"], numbers: [1, 2],
      paths.sorted { ($1.value.refused, $1.value.events, $0.key) < ($0.value.refused, $0.value.events, $1.key) }
        .prefix(Self.mostRows).map { ([$0.key, String($0.value.events), String($0.value.refused)], $0.value.refused > 0) })
    page += Self.table(
      "events", "Events", ["Time (UTC)", "Process", "PID", "Operation", "Path", "Result", "Detail"], numbers: [2],
      shown.map { ([$0.time, $0.process, String($0.processID), $0.operation, $0.path, $0.result, $0.detail], $0.isRefused) })
    return page + "</main><script>\(ReportAssets.script)</script></body></html>\n"
  }

  private static func table(
    _ id: String, _ title: String, _ columns: [String], numbers: Set<Int>, _ rows: [(cells: [String], isRefused: Bool)]
  ) -> String {
    var text = """
      <section><h2>\(title)</h2><p class="tools"><label>Filter <input type="search" data-table="\(id)"></label>
      <label><input type="checkbox" data-table="\(id)"> only refused</label> <output data-table="\(id)">\(rows.count) rows</output></p>
      <div class="scroll"><table id="\(id)"><thead><tr>
      """
    for (index, column) in columns.enumerated() {
      text += "<th scope=\"col\"\(numbers.contains(index) ? " class=\"number\"" : "")><button type=\"button\">\(column)</button></th>"
    }
    text += "</tr></thead><tbody>\n"
    for row in rows {
      text += row.isRefused ? "<tr class=\"refused\">" : "<tr>"
      for (index, cell) in row.cells.enumerated() {
        text += "<td\(numbers.contains(index) ? " class=\"number\"" : "")>\(escaped(cell))</td>"
      }
      text += "</tr>\n"
    }
    return text + "</tbody></table></div></section>\n"
  }

  // MARK: The timeline

  private static let left = 240.0
  private static let right = 1180.0
  private static let rowHeight = 22.0

  /// A line for each process, in the order of its first event; a ring is something done, a red cross something refused.
  private func timeline(_ shown: ArraySlice<EventRow>) -> String {
    let timed = shown.suffix(Self.mostMarks).compactMap { row in row.ticks.map { (row, $0) } }
    guard let first = timed.map(\.1).min(), let last = timed.map(\.1).max() else { return "<p>No events.</p>" }
    var lines: [Process: Int] = [:]
    var order: [Process] = []
    for (row, _) in timed {
      let process = Process(name: row.process, id: row.processID)
      guard lines[process] == nil, order.count < Self.mostProcesses else { continue }
      lines[process] = order.count
      order.append(process)
    }
    let span = Double(max(1, last - first))
    func x(_ ticks: Int64) -> Double { Self.left + (Self.right - Self.left) * Double(ticks - first) / span }
    let height = Self.rowHeight * Double(order.count) + 40
    var svg = "<p class=\"legend\"><span class=\"done\">○</span> done <span class=\"refused\">✕</span> refused</p>"
    svg += "<svg viewBox=\"0 0 1200 \(height)\" role=\"img\" aria-label=\"Events of each process over time\">"
    for (index, process) in order.enumerated() {
      let y = Self.rowHeight * (Double(index) + 0.5)
      svg += "<line class=\"row\" x1=\"\(Self.left)\" x2=\"\(Self.right)\" y1=\"\(y)\" y2=\"\(y)\"/>"
      let name = process.name.count > 24 ? process.name.prefix(23) + "…" : process.name[...]
      svg += "<text x=\"\(Self.left - 10)\" y=\"\(y + 4)\" text-anchor=\"end\">\(Self.escaped(String(name))) (\(process.id))</text>"
    }
    // What is refused lies on top.
    for wantsRefused in [false, true] {
      for (row, ticks) in timed where row.isRefused == wantsRefused {
        guard let line = lines[Process(name: row.process, id: row.processID)] else { continue }
        let (x, y) = (Self.rounded(x(ticks)), Self.rowHeight * (Double(line) + 0.5))
        let title = "<title>\(Self.escaped("\(row.time) \(row.operation) \(row.path): \(row.result)"))</title>"
        svg += wantsRefused
          ? "<path class=\"refused\" d=\"M\(x - 4) \(y - 4)l8 8m0 -8l-8 8\">\(title)</path>"
          : "<circle class=\"done\" cx=\"\(x)\" cy=\"\(y)\" r=\"3.5\">\(title)</circle>"
      }
    }
    let base = Self.rowHeight * Double(order.count) + 8
    for (row, ticks, anchor) in [(timed.first { $0.1 == first }?.0, first, "start"), (timed.last { $0.1 == last }?.0, last, "end")] {
      guard let row else { continue }
      svg += "<text class=\"time\" x=\"\(x(ticks))\" y=\"\(base + 16)\" text-anchor=\"\(anchor)\">\(Self.escaped(row.time))</text>"
    }
    svg += "<line class=\"axis\" x1=\"\(Self.left)\" x2=\"\(Self.right)\" y1=\"\(base)\" y2=\"\(base)\"/></svg>"
    let all = Set(shown.map { Process(name: $0.process, id: $0.processID) }).count
    return all > order.count ? svg + "<p>\(all - order.count) more processes are in the tables only.</p>" : svg
  }

  private static func rounded(_ number: Double) -> Double { (number * 10).rounded() / 10 }

  /// Text for HTML, inside of elements and of attributes in quotes; control characters are shown as U+FFFD.
  static func escaped(_ text: String) -> String {
    var escaped = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": escaped += "&amp;"
      case "<": escaped += "&lt;"
      case ">": escaped += "&gt;"
      case "\"": escaped += "&quot;"
      case "'": escaped += "&#39;"
      case _ where scalar.value < 0x20 && scalar != "\n" && scalar != "\t" || (0x7F...0x9F).contains(scalar.value):
        escaped += "\u{FFFD}"
      // They would turn the text around them.
      case "\u{202A}"..."\u{202E}", "\u{2066}"..."\u{2069}": escaped += "\u{FFFD}"
      default: escaped.unicodeScalars.append(scalar)
      }
    }
    return escaped
  }
}
