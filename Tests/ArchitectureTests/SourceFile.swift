import Foundation

/// One Swift file of the package, as the rules look at it.
struct SourceFile: Sendable, CustomStringConvertible {
  /// The folder below `Sources`.
  let target: String
  /// Below `Sources`.
  let path: String
  let size: Int
  let lines: [String]
  /// `lines` without comments and without the contents of string literals.
  let code: [String]

  var description: String { path }

  init(target: String, path: String, text: String) {
    self.target = target
    self.path = path
    size = text.utf8.count
    lines = text.components(separatedBy: "\n")
    code = Self.code(of: text).components(separatedBy: "\n")
  }

  /// Every file below `Sources`, sorted.
  static let all: [SourceFile] = {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Sources")
    let paths = (FileManager.default.enumerator(atPath: root.path)?.allObjects as? [String] ?? [])
    return paths.filter { $0.hasSuffix(".swift") }.sorted().compactMap { path in
      guard let text = try? String(contentsOf: root.appending(path: path), encoding: .utf8) else { return nil }
      return SourceFile(target: String(path.prefix { $0 != "/" }), path: path, text: text)
    }
  }()

  /// `text` with comments and string contents blanked, line by line the same. Knows what this package uses: `//`, `/* */`,
  /// `"…"` with escapes, `"""`, and one `#` of raw strings; the code inside an interpolation is blanked with its string.
  private static func code(of text: String) -> String {
    var code = ""
    var rest = Substring(text)
    func skip(until end: String, escape: Character?) {
      while !rest.isEmpty {
        if let escape, rest.first == escape {
          rest = rest.dropFirst(2)
        } else if rest.hasPrefix(end) {
          rest = rest.dropFirst(end.count)
          return
        } else {
          if rest.first == "\n" { code.append("\n") }
          rest = rest.dropFirst()
        }
      }
    }
    while let character = rest.first {
      if rest.hasPrefix("//") {
        rest = rest.drop { $0 != "\n" }
      } else if let literal = literals.first(where: { rest.hasPrefix($0.start) }) {
        rest = rest.dropFirst(literal.start.count)
        if literal.isString { code += "\"\"" }
        skip(until: literal.end, escape: literal.escape)
      } else {
        code.append(character)
        rest = rest.dropFirst()
      }
    }
    return code
  }

  private static let literals: [(start: String, end: String, escape: Character?, isString: Bool)] = [
    ("/*", "*/", nil, false), ("#\"\"\"", "\"\"\"#", nil, true), ("#\"", "\"#", nil, true),
    ("\"\"\"", "\"\"\"", "\\", true), ("\"", "\"", "\\", true),
  ]
}
