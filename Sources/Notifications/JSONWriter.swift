/// Writes one JSON text (RFC 8259), member by member, into bytes. Members that are nil are left out.
///
/// Everything that a terminal might act on (C0, DEL, C1) is escaped too: log lines are read in terminals.
struct JSONWriter {
  private(set) var bytes: [UInt8] = []
  /// A member or element stands before the next one.
  private var needsComma = false

  init() { bytes.reserveCapacity(2048) }

  /// The outermost object and a line feed.
  mutating func line(_ members: (inout JSONWriter) -> Void) {
    braced(members)
    bytes.append(0x0A)
  }

  mutating func object(_ name: StaticString, _ members: (inout JSONWriter) -> Void) {
    key(name)
    braced(members)
  }

  /// A list of objects, one for each element.
  mutating func objects<Element>(_ name: StaticString, of elements: [Element], _ members: (inout JSONWriter, Element) -> Void) {
    key(name)
    bytes.append(0x5B)
    needsComma = false
    for element in elements {
      separate()
      braced { members(&$0, element) }
    }
    bytes.append(0x5D)
    needsComma = true
  }

  /// A text, or a list of several; none for no text.
  mutating func member(_ name: StaticString, oneOrMore texts: [String]) {
    if texts.count > 1 { member(name, texts) } else { member(name, texts.first) }
  }

  mutating func member(_ name: StaticString, _ text: String?) {
    guard let text else { return }
    key(name)
    string(text)
  }

  mutating func member(_ name: StaticString, _ number: (some BinaryInteger)?) {
    guard let number else { return }
    key(name)
    bytes.append(contentsOf: String(number).utf8)
  }

  mutating func member(_ name: StaticString, _ flag: Bool) {
    key(name)
    bytes.append(contentsOf: (flag ? "true" : "false").utf8)
  }

  mutating func member(_ name: StaticString, _ texts: [String]) {
    key(name)
    bytes.append(0x5B)
    needsComma = false
    for text in texts {
      separate()
      string(text)
    }
    bytes.append(0x5D)
    needsComma = true
  }

  /// Bytes in base64 with padding (RFC 4648, section 4).
  mutating func member(_ name: StaticString, base64 data: ArraySlice<UInt8>) {
    key(name)
    bytes.append(0x22)
    var rest = data
    while !rest.isEmpty {
      let group = rest.prefix(3)
      rest = rest.dropFirst(3)
      var word: UInt32 = 0
      for offset in 0..<3 {
        let index = group.startIndex + offset
        word = word << 8 | (index < group.endIndex ? UInt32(group[index]) : 0)
      }
      for place in 0..<4 {
        bytes.append(place <= group.count ? Self.base64Digits[Int(word >> UInt32(18 - 6 * place) & 63)] : 0x3D)
      }
    }
    bytes.append(0x22)
    needsComma = true
  }

  private static let base64Digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  private mutating func braced(_ members: (inout JSONWriter) -> Void) {
    bytes.append(0x7B)
    needsComma = false
    members(&self)
    bytes.append(0x7D)
    needsComma = true
  }

  private mutating func separate() {
    if needsComma { bytes.append(0x2C) }
    needsComma = true
  }

  private mutating func key(_ name: StaticString) {
    separate()
    bytes.append(0x22)
    name.withUTF8Buffer { bytes.append(contentsOf: $0) }
    bytes.append(0x22)
    bytes.append(0x3A)
  }

  private mutating func string(_ text: String) {
    bytes.append(0x22)
    for scalar in text.unicodeScalars {
      switch scalar.value {
      case 0x22: bytes.append(contentsOf: [0x5C, 0x22])
      case 0x5C: bytes.append(contentsOf: [0x5C, 0x5C])
      case 0x0A: bytes.append(contentsOf: [0x5C, 0x6E])
      case 0x0D: bytes.append(contentsOf: [0x5C, 0x72])
      case 0x09: bytes.append(contentsOf: [0x5C, 0x74])
      case 0..<0x20, 0x7F..<0xA0:
        let digits = String(scalar.value, radix: 16)
        bytes.append(contentsOf: ("\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits).utf8)
      default: bytes.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
      }
    }
    bytes.append(0x22)
    needsComma = true
  }
}
