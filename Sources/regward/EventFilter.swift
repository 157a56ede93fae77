/// Which events are shown.
struct EventFilter {
  var onlyRefused = false
  /// With `*` for any characters and `?` for one, in any case; nil for every key.
  var key: String?
  /// A number, a file name or, with a slash, a whole path; nil for every process.
  var process: String?
  /// Of the title or the id of a Sigma rule that fired, like `key`; nil for every event.
  var sigma: String?

  func admits(_ row: EventRow) -> Bool {
    if onlyRefused, !row.isRefused { return false }
    if let key, !Self.matches(row.path, key) { return false }
    if let sigma, !row.detections.contains(where: { Self.matches($0.title, sigma) || Self.matches($0.id, sigma) }) { return false }
    guard let process else { return true }
    if process.contains("/") { return row.executable == process }
    return process == String(row.processID) || row.process.lowercased() == process.lowercased()
  }

  static func matches(_ text: String, _ pattern: String) -> Bool {
    let text = Array(text.lowercased().unicodeScalars)
    let pattern = Array(pattern.lowercased().unicodeScalars)
    var (at, place) = (0, 0)
    // Where the last `*` stood, and how much of the text it has taken.
    var star: (pattern: Int, text: Int)?
    while at < text.count {
      if place < pattern.count, pattern[place] == "*" {
        star = (place, at)
        place += 1
      } else if place < pattern.count, pattern[place] == "?" || pattern[place] == text[at] {
        at += 1
        place += 1
      } else if let last = star {
        star = (last.pattern, last.text + 1)
        place = last.pattern + 1
        at = last.text + 1
      } else {
        return false
      }
    }
    return pattern[place...].allSatisfy { $0 == "*" }
  }
}
