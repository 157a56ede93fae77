package import Executive

/// How a file shows its value.
package enum ValueView: Hashable, Sendable {
  /// Text by the value's type.
  case text
  /// Text whose numbers are `0x` and every hexadecimal digit.
  case hexadecimal
  /// The bytes, whatever the type: `%raw`.
  case bytes
}

/// Between a value's data and the text of its file; one table of types, see SEMANTICS.md, Text.
package enum ValueCodec {
  enum Form {
    case string(terminated: Bool)
    case strings
    case number(bytes: Int, bigEndian: Bool)
    case bytes
  }

  static func form(_ type: ValueType, _ view: ValueView) -> Form {
    guard view != .bytes else { return .bytes }
    switch type {
    case .sz, .expandSz: return .string(terminated: true)
    case .link: return .string(terminated: false)
    case .multiSz: return .strings
    case .dword: return .number(bytes: 4, bigEndian: false)
    case .dwordBigEndian: return .number(bytes: 4, bigEndian: true)
    case .qword: return .number(bytes: 8, bigEndian: false)
    default: return .bytes
    }
  }

  /// The text of the file: the best that can be shown, whatever the data.
  package static func text(of value: RegistryValue, as view: ValueView = .text) -> [UInt8] {
    switch form(value.type, view) {
    case .bytes: return value.data
    case .string(let isTerminated):
      guard !value.data.isEmpty else { return [] }
      var units = units(of: value.data)
      if isTerminated, units.last == 0 { units.removeLast() }
      var text: [UInt8] = []
      text.reserveCapacity(units.count + 1)
      append(units, to: &text)
      text.append(0x0A)
      return text
    case .strings:
      var units = units(of: value.data)
      // The list's own terminator; each string's becomes its line end.
      if units.last == 0 { units.removeLast() }
      if let last = units.last, last != 0 { units.append(0) }
      for index in units.indices where units[index] == 0 { units[index] = 0x0A }
      var text: [UInt8] = []
      text.reserveCapacity(units.count)
      append(units, to: &text)
      return text
    case .number(let width, let isBigEndian):
      guard !value.data.isEmpty else { return [] }
      var number: UInt64 = 0
      let bytes = value.data.prefix(value.data.count > width ? 8 : width)
      for byte in isBigEndian ? Array(bytes) : bytes.reversed() { number = number << 8 | UInt64(byte) }
      guard view == .hexadecimal else { return Array("\(number)\n".utf8) }
      let digits = String(number, radix: 16)
      return Array("0x\(String(repeating: "0", count: max(0, 2 * width - digits.utf8.count)))\(digits)\n".utf8)
    }
  }

  /// Bytes of the text, counted without making it.
  package static func textSize(of value: RegistryValue, as view: ValueView = .text) -> Int {
    var size = TextSize(value.type, as: view)
    value.data.withUnsafeBytes { size.add($0) }
    return size.bytes
  }

  /// Whether the text alone gives the data back; if not, `user.reg.data` carries the bytes.
  package static func isLossless(_ value: RegistryValue, as view: ValueView = .text) -> Bool {
    if showsBytes(value.type, as: view) { return true }
    return (try? data(from: text(of: value, as: view), type: value.type, as: view)) == value.data
  }

  /// Whether the file holds the data itself.
  static func showsBytes(_ type: ValueType, as view: ValueView) -> Bool {
    if case .bytes = form(type, view) { true } else { false }
  }

  static func isNumber(_ type: ValueType, as view: ValueView) -> Bool {
    if case .number = form(type, view) { true } else { false }
  }

  /// Bytes of the longest text that `count` bytes of data can be: each character of two bytes takes three at most.
  static func longestText(forData count: Int, type: ValueType, as view: ValueView) -> Int {
    showsBytes(type, as: view) ? count : count / 2 * 3 + 1
  }

  /// Reads a whole text. Throws EINVAL or ERANGE for a number that is none, EILSEQ for text that is not UTF-8.
  package static func data(
    from text: [UInt8], type: ValueType, as view: ValueView = .text
  ) throws(Errno) -> [UInt8] {
    switch form(type, view) {
    case .bytes: return text
    case .string(let isTerminated):
      guard !text.isEmpty else { return [] }
      var units: [UInt16] = []
      units.reserveCapacity(text.count + 1)
      let line = text.last == 0x0A ? text.dropLast() : text[...]
      guard UTF8Text.decode(line, into: &units) == .valid else { throw .illegalSequence }
      if isTerminated { units.append(0) }
      return bytes(of: units)
    case .strings:
      var units: [UInt16] = []
      units.reserveCapacity(text.count + 2)
      guard UTF8Text.decode(text, into: &units) == .valid else { throw .illegalSequence }
      if let last = units.last, last != 0x0A { units.append(0x0A) }
      for index in units.indices where units[index] == 0x0A { units[index] = 0 }
      units.append(0)
      return bytes(of: units)
    case .number(let width, let isBigEndian):
      guard case .number(let number) = parseNumber(text, width: width) else {
        throw parseNumber(text, width: width) == .outOfRange ? .range : .invalid
      }
      let bytes = (0..<width).map { UInt8(truncatingIfNeeded: number >> UInt64($0 * 8)) }
      return isBigEndian ? bytes.reversed() : bytes
    }
  }

  /// Whether more bytes may still make a text of `type` of this beginning. Throws what `data(from:type:)` would.
  package static func check(
    beginning text: [UInt8], type: ValueType, as view: ValueView = .text
  ) throws(Errno) {
    switch form(type, view) {
    case .bytes: return
    case .string, .strings:
      guard UTF8Text.validity(text) != .invalid else { throw .illegalSequence }
    case .number(let width, _):
      switch parseNumber(text, width: width) {
      case .number, .incomplete: return
      case .outOfRange: throw .range
      case .invalid: throw .invalid
      }
    }
  }

  // MARK: Numbers

  private enum Number: Equatable {
    case number(UInt64)
    /// Blanks, a sign or `0x`: no number yet.
    case incomplete
    case outOfRange
    case invalid
  }

  /// Blanks, an optional minus, decimal or 0x hexadecimal digits, blanks.
  private static func parseNumber(_ text: [UInt8], width: Int) -> Number {
    func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
    var rest = text.drop(while: isBlank)
    let isNegative = rest.first == 0x2D
    if isNegative { rest = rest.dropFirst() }
    var radix: UInt64 = 10
    if rest.first == 0x30, let x = rest.dropFirst().first, x == 0x78 || x == 0x58 {
      radix = 16
      rest = rest.dropFirst(2)
    }
    var number: UInt64 = 0
    var digits = 0
    var overflows = false
    while let byte = rest.first, let digit = digit(byte, radix) {
      let (product, over) = number.multipliedReportingOverflow(by: radix)
      let (sum, more) = product.addingReportingOverflow(digit)
      overflows = overflows || over || more
      number = sum
      digits += 1
      rest = rest.dropFirst()
    }
    guard rest.allSatisfy(isBlank) else { return .invalid }
    guard digits > 0 else { return rest.isEmpty ? .incomplete : .invalid }
    let largest = width == 8 ? UInt64.max : (1 << UInt64(width * 8)) - 1
    guard !overflows, number <= (isNegative ? largest / 2 + 1 : largest) else { return .outOfRange }
    return .number(isNegative ? (0 &- number) & largest : number)
  }

  private static func digit(_ byte: UInt8, _ radix: UInt64) -> UInt64? {
    switch byte {
    case 0x30...0x39: UInt64(byte - 0x30)
    case 0x41...0x46 where radix == 16: UInt64(byte - 0x37)
    case 0x61...0x66 where radix == 16: UInt64(byte - 0x57)
    default: nil
    }
  }

  // MARK: Units

  private static func units(of data: [UInt8]) -> [UInt16] {
    data.withUnsafeBytes { bytes in
      (0..<bytes.count / 2).map { UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * 2, as: UInt16.self)) }
    }
  }

  private static func bytes(of units: [UInt16]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(units.count * 2)
    for unit in units {
      bytes.append(UInt8(truncatingIfNeeded: unit))
      bytes.append(UInt8(unit >> 8))
    }
    return bytes
  }

  /// An unpaired surrogate shows as U+FFFD.
  private static func append(_ units: [UInt16], to text: inout [UInt8]) {
    var index = 0
    while index < units.count { UTF8Text.append(UTF8Text.nextScalar(units, &index) ?? 0xFFFD, to: &text) }
  }
}
