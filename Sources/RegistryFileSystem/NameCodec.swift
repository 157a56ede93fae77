package import Executive

/// What stands behind the bare `%` at a name's end: one `%` that no two hex digits follow is never part of a name.
package enum NameSuffix: Hashable, Sendable {
  case none
  /// `%val`: the value whose name equals a subkey's.
  case value
  /// `%dup2`: the second of twins in a damaged hive; `%val%dup2` where they are values whose name equals a subkey's.
  case twin(Int, isHiddenValue: Bool = false)
  /// `%raw`: a value's bytes.
  case raw
  /// `%dword`: a value of this type.
  case type(ValueType)
  /// `%lost0x12a0`, alone: something that cannot be read, by its offset in the hive's file; nobody knows its name.
  case lost(Int)

  /// The type that `%dword` and its like ask for.
  var type: ValueType? { if case .type(let type) = self { type } else { nil } }
}

/// A file name as the registry understands it.
package struct EntryName: Hashable, Sendable {
  package var name: UnicodeName
  package var suffix: NameSuffix
  /// `%~` and 16 digits of a SHA-256: the name was too long for the kernel, and `name` is its beginning.
  package var isShortened: Bool

  package init(name: UnicodeName, suffix: NameSuffix, isShortened: Bool = false) {
    self.name = name
    self.suffix = suffix
    self.isShortened = isShortened
  }
}

/// Between registry names and file names; see SEMANTICS.md, Names. Every name has one encoding, and every encoding its name.
package enum NameCodec {
  /// The kernel's limit on one name, bytes.
  static let maximumBytes = 1024
  private static let keptBytes = 900
  private static let digestDigits = 16
  /// Fewer UTF-16 units make no name that is shortened: each is six bytes at most, and no suffix has more than 17.
  static let fewestUnitsShortened = (maximumBytes - 17) / 6

  /// Appends the file name of `name`; the default value's (empty) name is `@`.
  package static func encode(_ name: UnicodeName, suffix: NameSuffix = .none, into bytes: inout [UInt8]) {
    let start = bytes.count
    encodeWhole(name.units, into: &bytes)
    var tail: [UInt8] = []
    switch suffix {
    case .none, .lost: break
    case .value: tail = Array("%val".utf8)
    case .twin(let ordinal, let isHiddenValue): tail = Array("\(isHiddenValue ? "%val" : "")%dup\(ordinal)".utf8)
    case .raw: tail = Array("%raw".utf8)
    case .type(let type): tail = Array(("%" + typeAlias(type)).utf8)
    }
    if bytes.count - start + tail.count > maximumBytes {
      let digest = SHA256.hexDigest(Array(bytes[start...]))
      var end = start + keptBytes
      while bytes[end] & 0xC0 == 0x80 { end -= 1 }
      // An escape is not cut either: it would read as another name's.
      if let percent = bytes[max(start, end - 5)..<end].lastIndex(of: 0x25) {
        let length = percent + 1 < bytes.count && bytes[percent + 1] == 0x75 ? 6 : 3
        if percent + length > end { end = percent }
      }
      bytes.removeSubrange(end...)
      bytes.append(contentsOf: "%~".utf8)
      bytes.append(contentsOf: digest.utf8.prefix(digestDigits))
    }
    bytes.append(contentsOf: tail)
  }

  /// Appends the file name of what is lost at `offset`.
  package static func encode(lost offset: Int, into bytes: inout [UInt8]) {
    bytes.append(contentsOf: "%lost0x\(String(offset, radix: 16))".utf8)
  }

  private static func encodeWhole(_ units: [UInt16], into bytes: inout [UInt8]) {
    // Comparing with each is dear, and few names are that short.
    guard units.count <= 2 else { return encodeUnits(units, into: &bytes) }
    switch units {
    case []: bytes.append(0x40)
    case [0x40]: bytes.append(contentsOf: "%40".utf8)
    case [0x2E]: bytes.append(contentsOf: "%2E".utf8)
    case [0x2E, 0x2E]: bytes.append(contentsOf: "%2E.".utf8)
    default: encodeUnits(units, into: &bytes)
    }
  }

  /// Appends UTF-8 with the escapes for what a file name cannot hold.
  static func encodeUnits(_ units: [UInt16], into bytes: inout [UInt8]) {
    var index = 0
    while index < units.count {
      let unit = units[index]
      if let scalar = UTF8Text.nextScalar(units, &index) {
        if scalar < 0x20 || scalar == 0x25 || scalar == 0x2F || scalar == 0x7F {
          bytes.append(0x25)
          bytes.append(hexDigit(UInt16(scalar >> 4)))
          bytes.append(hexDigit(UInt16(scalar & 15)))
        } else {
          UTF8Text.append(scalar, to: &bytes)
        }
      } else {
        bytes.append(contentsOf: [0x25, 0x75])
        for shift: UInt16 in [12, 8, 4, 0] { bytes.append(hexDigit(unit >> shift & 15)) }
      }
    }
  }

  /// Reads a file name. Throws EILSEQ for bytes that are no UTF-8, EINVAL for an unknown suffix.
  package static func decode(_ bytes: some RandomAccessCollection<UInt8>) throws(Errno) -> EntryName {
    guard let percent = barePercent(bytes) else { return EntryName(name: try decodeWhole(bytes), suffix: .none) }
    var tail = bytes[percent...].dropFirst()
    let isShortened = tail.first == 0x7E
    if isShortened {
      let digits = tail.dropFirst().prefix(digestDigits)
      tail = tail.dropFirst(1 + digits.count)
      guard digits.count == digestDigits, digits.allSatisfy({ hexValue($0) != nil }) else { throw .invalid }
    }
    var suffix = NameSuffix.none
    if !isShortened || !tail.isEmpty {
      // Behind the digits the suffix has a percent sign of its own.
      if isShortened, tail.popFirst() != 0x25 { throw .invalid }
      suffix = try decodeSuffix(tail)
    }
    return EntryName(name: try decodeWhole(bytes[..<percent]), suffix: suffix, isShortened: isShortened)
  }

  /// The same where a bare `%` stands for itself: what a program made of a file name with a suffix (`.NAME%val.swp`).
  static func decodeLiterally(_ bytes: [UInt8]) throws(Errno) -> EntryName {
    var escaped = bytes
    while let percent = barePercent(escaped) { escaped.insert(contentsOf: [0x32, 0x35], at: percent + 1) }
    return try decode(escaped)
  }

  private static func barePercent<Bytes: RandomAccessCollection<UInt8>>(_ bytes: Bytes) -> Bytes.Index? {
    var rest = bytes[...]
    while let percent = rest.firstIndex(of: 0x25) {
      let after = bytes[percent...].dropFirst()
      if escape(after) == nil { return percent }
      rest = after
    }
    return nil
  }

  /// The unit that an escape stands for and the bytes it takes behind the percent sign.
  private static func escape(_ bytes: some RandomAccessCollection<UInt8>) -> (unit: UInt16, length: Int)? {
    guard let first = bytes.first else { return nil }
    let isLong = first == 0x75
    let digits = isLong ? bytes.dropFirst().prefix(4) : bytes.dropFirst(0).prefix(2)
    guard digits.count == (isLong ? 4 : 2) else { return nil }
    var unit: UInt16 = 0
    for digit in digits {
      guard let value = hexValue(digit) else { return nil }
      unit = unit << 4 | value
    }
    return (unit, isLong ? 5 : 2)
  }

  /// The name without its suffix; `@` is the empty one.
  private static func decodeWhole(_ bytes: some RandomAccessCollection<UInt8>) throws(Errno) -> UnicodeName {
    bytes.count == 1 && bytes.first == 0x40 ? UnicodeName(units: []) : UnicodeName(units: try decodeUnits(bytes))
  }

  /// Reads what `encodeUnits` writes. Throws EILSEQ for bytes that are no UTF-8, EINVAL for a `%` that begins no escape.
  static func decodeUnits(_ bytes: some RandomAccessCollection<UInt8>) throws(Errno) -> [UInt16] {
    var units: [UInt16] = []
    units.reserveCapacity(bytes.count)
    var rest = bytes.dropFirst(0)
    while let percent = rest.firstIndex(of: 0x25) {
      guard UTF8Text.decode(rest[..<percent], into: &units) == .valid else { throw .illegalSequence }
      let after = rest[percent...].dropFirst()
      guard let (unit, length) = escape(after) else { throw .invalid }
      units.append(unit)
      rest = after.dropFirst(length)
    }
    guard UTF8Text.decode(rest, into: &units) == .valid else { throw .illegalSequence }
    return units
  }

  private static func decodeSuffix(_ bytes: some RandomAccessCollection<UInt8>) throws(Errno) -> NameSuffix {
    guard bytes.count <= 20 else { throw .invalid }
    let text = String(decoding: bytes, as: UTF8.self)
    switch text {
    case "val": return .value
    case "raw": return .raw
    default:
      if let ordinal = number(text, after: "dup", radix: 10) { return .twin(try twin(ordinal)) }
      if let ordinal = number(text, after: "val%dup", radix: 10) { return .twin(try twin(ordinal), isHiddenValue: true) }
      if let offset = number(text, after: "lost0x", radix: 16) { return .lost(offset) }
      if let type = typeAliases.first(where: { $0.alias == text })?.type { return .type(type) }
      guard let type = number(text, after: "0x", radix: 16).flatMap({ UInt32(exactly: $0) }) else { throw .invalid }
      return .type(ValueType(rawValue: type))
    }
  }

  private static func twin(_ ordinal: Int) throws(Errno) -> Int {
    guard (2...65535).contains(ordinal) else { throw .invalid }
    return ordinal
  }

  /// Digits only, without a sign.
  private static func number(_ text: String, after word: String, radix: Int) -> Int? {
    guard text.hasPrefix(word), let first = text.dropFirst(word.count).first, first != "-", first != "+" else { return nil }
    return Int(text.dropFirst(word.count), radix: radix)
  }

  private static let typeAliases: [(alias: String, type: ValueType)] = [
    ("sz", .sz), ("expand_sz", .expandSz), ("multi_sz", .multiSz), ("dword", .dword), ("dword_be", .dwordBigEndian),
    ("qword", .qword), ("binary", .binary), ("none", .none), ("link", .link),
  ]

  private static func typeAlias(_ type: ValueType) -> String {
    typeAliases.first { $0.type == type }?.alias ?? "0x" + String(type.rawValue, radix: 16)
  }

  private static func hexDigit(_ value: UInt16) -> UInt8 { UInt8(value < 10 ? 0x30 + value : 0x37 + value) }

  private static func hexValue(_ digit: UInt8) -> UInt16? {
    switch digit {
    case 0x30...0x39: UInt16(digit - 0x30)
    case 0x41...0x46: UInt16(digit - 0x37)
    case 0x61...0x66: UInt16(digit - 0x57)
    default: nil
    }
  }
}
