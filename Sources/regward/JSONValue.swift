/// A JSON text as the control socket and `/%ctl/status` use it: numbers are whole.
enum JSONValue: Hashable, Sendable {
  case null
  case flag(Bool)
  case number(Int64)
  case text(String)
  case list([JSONValue])
  /// In the order in which they are written; no name twice.
  case object([Member])

  struct Member: Hashable, Sendable {
    let name: String
    let value: JSONValue
  }

  static func object(_ members: KeyValuePairs<String, JSONValue>) -> JSONValue {
    .object(members.map { Member(name: $0.key, value: $0.value) })
  }

  static func count(_ number: some BinaryInteger) -> JSONValue { .number(Int64(clamping: number)) }

  static func optional(_ text: String?) -> JSONValue { text.map { .text($0) } ?? .null }

  // MARK: Looking in

  /// A member of an object; nil when there is none.
  subscript(name: String) -> JSONValue? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.name == name }?.value
  }

  var members: [Member]? { if case .object(let members) = self { members } else { nil } }
  var elements: [JSONValue]? { if case .list(let elements) = self { elements } else { nil } }
  var string: String? { if case .text(let text) = self { text } else { nil } }
  var integer: Int64? { if case .number(let number) = self { number } else { nil } }
  var boolean: Bool? { if case .flag(let flag) = self { flag } else { nil } }

  // MARK: Writing

  /// One line, without its line feed.
  var json: String {
    var json = ""
    write(to: &json)
    return json
  }

  private func write(to json: inout String) {
    switch self {
    case .null: json += "null"
    case .flag(let flag): json += flag ? "true" : "false"
    case .number(let number): json += String(number)
    case .text(let text): Self.quote(text, in: &json)
    case .list(let elements):
      json += "["
      for (index, element) in elements.enumerated() {
        if index > 0 { json += "," }
        element.write(to: &json)
      }
      json += "]"
    case .object(let members):
      json += "{"
      for (index, member) in members.enumerated() {
        if index > 0 { json += "," }
        Self.quote(member.name, in: &json)
        json += ":"
        member.value.write(to: &json)
      }
      json += "}"
    }
  }

  /// What a terminal might act on (C0, DEL, C1) is escaped too.
  private static func quote(_ text: String, in json: inout String) {
    json += "\""
    for scalar in text.unicodeScalars {
      switch scalar.value {
      case 0x22, 0x5C: json += "\\\(scalar)"
      case 0..<0x20, 0x7F..<0xA0:
        let digits = String(scalar.value, radix: 16)
        json += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: json.unicodeScalars.append(scalar)
      }
    }
    json += "\""
  }
}
