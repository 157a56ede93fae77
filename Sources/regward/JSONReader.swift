/// Reads one JSON text (RFC 8259), strictly and within bounds: what comes through the control socket is anybody's.
///
/// Foundation's decoder would take more time to load than everything else here takes to start. Refused beyond the grammar: a name
/// twice in an object, numbers that are not whole or have no room in 64 bits, escapes of half a surrogate pair.
struct JSONReader {
  struct Problem: Error, Hashable, CustomStringConvertible {
    let description: String
    /// Of the byte where it was seen.
    let offset: Int
  }

  static let deepest = 8

  private let bytes: [UInt8]
  private var position = 0

  private init(_ bytes: [UInt8]) { self.bytes = bytes }

  static func read(_ bytes: [UInt8]) throws(Problem) -> JSONValue {
    guard String(validating: bytes, as: UTF8.self) != nil else { throw Problem(description: "no UTF-8", offset: 0) }
    var reader = JSONReader(bytes)
    let value = try reader.value(depth: 0)
    reader.skipBlanks()
    guard reader.position == bytes.count else { throw reader.problem("something follows the value") }
    return value
  }

  private func problem(_ description: String) -> Problem { Problem(description: description, offset: position) }

  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func skipBlanks() {
    while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    skipBlanks()
    guard next == byte else { return false }
    position += 1
    return true
  }

  private mutating func value(depth: Int) throws(Problem) -> JSONValue {
    guard depth < Self.deepest else { throw problem("nested too deeply") }
    skipBlanks()
    switch next {
    case UInt8(ascii: "{"): return .object(try members(depth: depth))
    case UInt8(ascii: "["): return .list(try elements(depth: depth))
    case UInt8(ascii: "\""): return .text(try text())
    case UInt8(ascii: "-"), (UInt8(ascii: "0")...UInt8(ascii: "9"))?: return .number(try number())
    case nil: throw problem("a value is missing")
    default:
      for (word, value) in [("true", JSONValue.flag(true)), ("false", .flag(false)), ("null", .null)]
      where bytes[position...].starts(with: word.utf8) {
        position += word.utf8.count
        return value
      }
      throw problem("this is no value")
    }
  }

  private mutating func members(depth: Int) throws(Problem) -> [JSONValue.Member] {
    position += 1
    var members: [JSONValue.Member] = []
    var names: Set<String> = []
    if take(UInt8(ascii: "}")) { return members }
    while true {
      skipBlanks()
      guard next == UInt8(ascii: "\"") else { throw problem("a member's name is missing") }
      let name = try text()
      guard names.insert(name).inserted else { throw problem("a name stands twice in an object") }
      guard take(UInt8(ascii: ":")) else { throw problem("a colon is missing") }
      members.append(JSONValue.Member(name: name, value: try value(depth: depth + 1)))
      if take(UInt8(ascii: "}")) { return members }
      guard take(UInt8(ascii: ",")) else { throw problem("an object does not end") }
    }
  }

  private mutating func elements(depth: Int) throws(Problem) -> [JSONValue] {
    position += 1
    var elements: [JSONValue] = []
    if take(UInt8(ascii: "]")) { return elements }
    while true {
      elements.append(try value(depth: depth + 1))
      if take(UInt8(ascii: "]")) { return elements }
      guard take(UInt8(ascii: ",")) else { throw problem("a list does not end") }
    }
  }

  private mutating func number() throws(Problem) -> Int64 {
    let start = position
    if next == UInt8(ascii: "-") { position += 1 }
    let digits = position
    while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
    if let byte = next, byte == UInt8(ascii: ".") || byte | 0x20 == UInt8(ascii: "e") {
      throw problem("only whole numbers are understood")
    }
    guard position > digits, bytes[digits] != UInt8(ascii: "0") || position == digits + 1,
      let number = Int64(String(decoding: bytes[start..<position], as: UTF8.self))
    else { throw problem("this is no number") }
    return number
  }

  private mutating func text() throws(Problem) -> String {
    position += 1
    var utf8: [UInt8] = []
    while true {
      guard let byte = next else { throw problem("a text does not end") }
      position += 1
      switch byte {
      case UInt8(ascii: "\""): return String(decoding: utf8, as: UTF8.self)
      case UInt8(ascii: "\\"): utf8.append(contentsOf: String(try escaped()).utf8)
      case 0..<0x20: throw problem("a control character stands in a text")
      default: utf8.append(byte)
      }
    }
  }

  private mutating func escaped() throws(Problem) -> Character {
    guard let byte = next else { throw problem("a text does not end") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Character(Unicode.Scalar(byte))
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{C}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"):
      let unit = try hexadecimal()
      if let scalar = Unicode.Scalar(unit) { return Character(scalar) }
      guard UTF16.isLeadSurrogate(unit), bytes[position...].starts(with: "\\u".utf8) else {
        throw problem("half a surrogate pair")
      }
      position += 2
      let trail = try hexadecimal()
      guard UTF16.isTrailSurrogate(trail) else { throw problem("half a surrogate pair") }
      return Character(UTF16.decode(UTF16.EncodedScalar([unit, trail])))
    default: throw problem("an unknown escape")
    }
  }

  private mutating func hexadecimal() throws(Problem) -> UInt16 {
    let digits = bytes[position...].prefix(4)
    guard digits.count == 4, digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
      let unit = UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
    else { throw problem("four hexadecimal digits are missing") }
    position += 4
    return unit
  }
}
