internal import ConfigurationManager
internal import Executive

/// A hive named on the command line: `HIVE`, or `HKLM/NAME=HIVE` for one of several.
struct HiveSource: Hashable {
  /// Nil: the only hive of its mount.
  let place: HivePlace?
  let path: String

  /// Only what begins with `HKLM/` or `HKU/` (or with a backslash there) is a place: a file's name may hold `=`.
  init(_ text: String) {
    if let cut = text.firstIndex(of: "=") {
      let components = text[..<cut].split(separator: text[..<cut].contains("/") ? "/" : "\\", omittingEmptySubsequences: false)
      if let place = HivePlace(components.map { UnicodeName($0) }) {
        self.place = place
        path = String(text[text.index(after: cut)...])
        return
      }
    }
    place = nil
    path = text
  }

  /// What stands before the `=` where that was meant for a place and is none.
  static func place(in text: String) -> String? {
    guard let cut = text.firstIndex(of: "=") else { return nil }
    let place = text[..<cut]
    let isMeant = ["HKLM", "HKU", "HKCU", "HKCR", "HKEY_"].contains { place.uppercased().hasPrefix($0) }
    return isMeant ? String(place) : nil
  }

  init(place: HivePlace?, path: String) {
    self.place = place
    self.path = path
  }

  /// As `init(_:)` reads it.
  var argument: String { place.map { "\($0.root.directory)/\($0.name)=\(path)" } ?? path }
}
