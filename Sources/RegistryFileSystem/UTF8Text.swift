/// Between UTF-8 bytes and UTF-16 units, without String: names and texts may hold NUL and what is no text at all.
enum UTF8Text {
  enum Validity {
    case valid
    /// The last character is cut; more bytes may complete it.
    case incomplete
    case invalid
  }

  /// Appends the units of `bytes`; what was appended before the fault stays.
  static func decode(_ bytes: some RandomAccessCollection<UInt8>, into units: inout [UInt16]) -> Validity {
    var index = bytes.startIndex
    while index < bytes.endIndex {
      let lead = bytes[index]
      index = bytes.index(after: index)
      if lead < 0x80 {
        units.append(UInt16(lead))
        continue
      }
      let length: Int
      var scalar: UInt32
      var smallest: UInt32 = 0x80
      switch lead {
      case 0xC2...0xDF: (length, scalar) = (1, UInt32(lead & 0x1F))
      case 0xE0...0xEF: (length, scalar, smallest) = (2, UInt32(lead & 0x0F), 0x800)
      case 0xF0...0xF4: (length, scalar, smallest) = (3, UInt32(lead & 0x07), 0x10000)
      default: return .invalid
      }
      for _ in 0..<length {
        guard index < bytes.endIndex else { return .incomplete }
        let byte = bytes[index]
        guard byte & 0xC0 == 0x80 else { return .invalid }
        scalar = scalar << 6 | UInt32(byte & 0x3F)
        index = bytes.index(after: index)
      }
      guard scalar >= smallest, scalar <= 0x10FFFF, !(0xD800...0xDFFF).contains(scalar) else { return .invalid }
      if scalar < 0x10000 {
        units.append(UInt16(scalar))
      } else {
        units.append(UInt16(0xD800 + (scalar - 0x10000) >> 10))
        units.append(UInt16(0xDC00 + (scalar - 0x10000) & 0x3FF))
      }
    }
    return .valid
  }

  /// Whether it is a text from its beginning to its end.
  static func isValid(_ bytes: some RandomAccessCollection<UInt8>) -> Bool { validity(bytes) == .valid }

  static func validity(_ bytes: some RandomAccessCollection<UInt8>) -> Validity {
    var units: [UInt16] = []
    units.reserveCapacity(bytes.count)
    return decode(bytes, into: &units)
  }

  /// The next scalar at `index`, which is moved on; nil for an unpaired surrogate (moved on by one unit).
  static func nextScalar(_ units: [UInt16], _ index: inout Int) -> UInt32? {
    let unit = units[index]
    index += 1
    guard unit & 0xF800 == 0xD800 else { return UInt32(unit) }
    guard unit < 0xDC00, index < units.count, units[index] & 0xFC00 == 0xDC00 else { return nil }
    let low = units[index]
    index += 1
    return 0x10000 + (UInt32(unit) - 0xD800) << 10 + (UInt32(low) - 0xDC00)
  }

  static func append(_ scalar: UInt32, to bytes: inout [UInt8]) {
    switch scalar {
    case 0..<0x80: bytes.append(UInt8(scalar))
    case 0x80..<0x800:
      bytes.append(UInt8(0xC0 | scalar >> 6))
      bytes.append(UInt8(0x80 | scalar & 0x3F))
    case 0x800..<0x10000:
      bytes.append(UInt8(0xE0 | scalar >> 12))
      bytes.append(UInt8(0x80 | scalar >> 6 & 0x3F))
      bytes.append(UInt8(0x80 | scalar & 0x3F))
    default:
      bytes.append(UInt8(0xF0 | scalar >> 18 & 0x07))
      bytes.append(UInt8(0x80 | scalar >> 12 & 0x3F))
      bytes.append(UInt8(0x80 | scalar >> 6 & 0x3F))
      bytes.append(UInt8(0x80 | scalar & 0x3F))
    }
  }
}
