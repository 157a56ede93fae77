/// Events in lines, in Process Monitor's columns.
enum EventLines {
  static let columns = ["Time of Day", "Process Name", "PID", "Operation", "Path", "Result", "Detail"]

  // MARK: CSV

  /// As Process Monitor saves it: everything in quotes, lines with CR LF, a byte order mark before the first.
  static let csvHeading = "\u{FEFF}" + csvLine(columns)

  static func csv(_ row: EventRow) -> String {
    csvLine([
      halfDay(row.time), row.process, String(row.processID), row.operation, row.path, row.result, row.detail,
    ])
  }

  private static func csvLine(_ cells: [String]) -> String {
    cells.map { "\"" + cell($0) + "\"" }.joined(separator: ",") + "\r\n"
  }

  /// What a spreadsheet would take for a formula is text to it with an apostrophe before: names are anybody's.
  private static func cell(_ text: String) -> String {
    let quoted = text.replacing("\"", with: "\"\"")
    guard let first = text.unicodeScalars.first, "=+-@\t\r".unicodeScalars.contains(first) else { return quoted }
    return "'" + quoted
  }

  /// `2:40:00.1234567 PM`, UTC.
  private static func halfDay(_ time: String) -> String {
    let clock = clock(time)
    guard let hour = Int(clock.prefix(2)) else { return clock }
    return "\((hour + 11) % 12 + 1)\(clock.dropFirst(2)) \(hour < 12 ? "AM" : "PM")"
  }

  private static func clock(_ time: String) -> String { String(time.dropFirst(11).prefix { $0 != "Z" }) }

  // MARK: For people

  /// What is refused is red where there is colour, and says ACCESS DENIED anyway.
  static func table(_ row: EventRow, isColoured: Bool) -> String {
    var text = row.lost > 0 ? "# \(row.lost) events were lost before the next\n" : ""
    let cells = [
      padded(clock(row.time), 16), padded(Console.printable(row.process), 16), padded(String(row.processID), 7),
      padded(row.operation, 18), padded(row.result, 13), Console.printable(row.path),
    ]
    let line = cells.joined(separator: "  ") + (row.detail.isEmpty ? "" : "  " + Console.printable(row.detail))
    text += isColoured && row.isRefused ? "\u{1B}[31m\(line)\u{1B}[0m" : line
    return text + "\n"
  }

  static let heading = [
    padded(columns[0], 16), padded(columns[1], 16), padded(columns[2], 7), padded(columns[3], 18), padded(columns[5], 13),
    columns[4], columns[6],
  ].joined(separator: "  ") + "\n"

  private static func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }
}
