internal import Executive

/// The words of a sample's lines: names and texts with their escapes, types, data.
enum SampleText {
  struct Problem: Error { let problem: String }

  /// `"name" type data`.
  static func value(_ line: Substring) throws(Problem) -> HiveSample.Value {
    var rest = line
    guard let name = text(&rest) else { throw Problem(problem: "a value's line begins with its name in quotation marks") }
    let word = rest.prefix { $0 != " " }
    rest = rest.dropFirst(word.count).drop { $0 == " " }
    guard let type = type(word) else { throw Problem(problem: "\(word) is no type") }
    guard let data = data(of: word, &rest) else { throw Problem(problem: "this is no data for \(word)") }
    guard rest.isEmpty else { throw Problem(problem: "nothing may stand after the data") }
    return HiveSample.Value(name: UnicodeName(units: name), value: RegistryValue(type: type, data: data))
  }

  /// The units of a name or text, `{XXXX}` and `{XXXX*N}` resolved.
  static func units(_ text: Substring) -> [UInt16] {
    var units: [UInt16] = []
    var rest = text
    while let character = rest.first {
      if character == "{", let (unit, count, length) = escape(rest) {
        units.append(contentsOf: repeatElement(unit, count: count))
        rest = rest.dropFirst(length)
      } else {
        units.append(contentsOf: String(character).utf16)
        rest = rest.dropFirst()
      }
    }
    return units
  }

  /// Pairs of hexadecimal digits, blanks between them or not.
  static func bytes(_ text: Substring) -> [UInt8]? {
    let digits = text.filter { $0 != " " }
    guard digits.utf8.count.isMultiple(of: 2), digits.allSatisfy(\.isASCII) else { return nil }
    var bytes: [UInt8] = []
    var rest = Substring(digits)
    while !rest.isEmpty {
      guard rest.first?.isHexDigit == true, let byte = UInt8(rest.prefix(2), radix: 16) else { return nil }
      bytes.append(byte)
      rest = rest.dropFirst(2)
    }
    return bytes
  }

  /// The unit, how often, and the escape's length; nil when the brace stands for itself.
  private static func escape(_ text: Substring) -> (unit: UInt16, count: Int, length: Int)? {
    guard let end = text.firstIndex(of: "}") else { return nil }
    let inside = text[text.index(after: text.startIndex)..<end]
    let digits = inside.prefix(4)
    guard digits.count == 4, digits.allSatisfy({ $0.isASCII && $0.isHexDigit }), let unit = UInt16(digits, radix: 16)
    else { return nil }
    let rest = inside.dropFirst(4)
    if rest.isEmpty { return (unit, 1, inside.count + 2) }
    guard rest.hasPrefix("*"), let count = UInt16(rest.dropFirst()) else { return nil }
    return (unit, Int(count), inside.count + 2)
  }

  /// Takes a text in quotation marks and the blanks after it from the front of `rest`.
  private static func text(_ rest: inout Substring) -> [UInt16]? {
    guard rest.hasPrefix("\"") else { return nil }
    let inside = rest.dropFirst()
    guard let end = inside.firstIndex(of: "\"") else { return nil }
    rest = inside[inside.index(after: end)...].drop { $0 == " " }
    return units(inside[..<end])
  }

  private static func type(_ word: Substring) -> ValueType? {
    if word.hasPrefix("0x") { return UInt32(word.dropFirst(2), radix: 16).map { ValueType(rawValue: $0) } }
    return word.allSatisfy { $0.isLetter || $0 == "_" } ? ValueType(name: word) : nil
  }

  private static func data(of word: Substring, _ rest: inout Substring) -> [UInt8]? {
    switch word {
    case "sz", "expand_sz": return text(&rest).map { littleEndian($0 + [0]) }
    case "link": return text(&rest).map { littleEndian($0) }
    case "multi_sz":
      var units: [UInt16] = []
      while let text = text(&rest) { units += text + [0] }
      return littleEndian(units + [0])
    case "dword": return number(&rest, UInt32.self).map { littleEndian([UInt16(truncatingIfNeeded: $0), UInt16($0 >> 16)]) }
    case "dword_be": return number(&rest, UInt32.self).map { value in [24, 16, 8, 0].map { UInt8(value >> $0 & 0xFF) } }
    case "qword":
      return number(&rest, UInt64.self).map { value in (0..<8).map { UInt8(value >> (8 * $0) & 0xFF) } }
    default:
      defer { rest = "" }
      guard rest.hasPrefix("*") else { return bytes(rest) }
      return UInt32(rest.dropFirst()).map { count in (0..<Int(count)).map { UInt8((7 * $0 + $0 / 256) % 256) } }
    }
  }

  private static func number<Number: FixedWidthInteger>(_ rest: inout Substring, _: Number.Type) -> Number? {
    defer { rest = "" }
    return rest.hasPrefix("0x") ? Number(rest.dropFirst(2), radix: 16) : Number(rest)
  }

  private static func littleEndian(_ units: [UInt16]) -> [UInt8] {
    units.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] }
  }
}
