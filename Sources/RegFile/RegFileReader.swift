internal import Executive

/// Reads `.reg` text (regedit's), a change at a time.
///
/// UTF-16LE with a mark, or UTF-8; lines end with CR LF or LF. In a file of the old format (`REGEDIT4`) what is no UTF-8 is
/// Windows-1252, and so are the strings among its hexadecimal data.
///
/// 1. After a problem reading goes on with the next line, so that all problems of a file can be told.
/// 2. What follows a key that cannot be read belongs to no other key: it is checked, and given to nobody.
package struct RegFileReader {
  package static let header = "Windows Registry Editor Version 5.00"
  package static let oldHeader = "REGEDIT4"

  private enum Section { case none, key, deletedKey, unreadable }

  private var lines: RegFileLines?
  private var hasHeader = false
  private var section = Section.none
  private var line: [UInt16] = []
  private var ending: [UInt16] = []
  private var place = 0

  package init(_ bytes: [UInt8]) { lines = RegFileLines(bytes) }

  /// The line of the change that came last, from 1 on: where it begins.
  package private(set) var lineNumber = 0

  /// Nil at the end. Throws for a line that cannot be read; the next call goes on behind it.
  package mutating func next() throws(RegFileProblem) -> RegFileChange? {
    if !hasHeader { try readHeader() }
    while try advance() {
      skipBlanks()
      lineNumber = lines?.number ?? 0
      switch peek {
      case nil, Self.semicolon: continue
      case Self.leftBracket:
        section = .unreadable
        let change = try readKey()
        if case .key = change { section = .key } else { section = .deletedKey }
        return change
      case Self.quote, Self.at:
        let start = place
        let change = try readValue()
        switch section {
        case .key: return change
        case .unreadable: continue
        case .none: throw problem(at: start, "a value without a key above it")
        case .deletedKey: throw problem(at: start, "a value of a key that is deleted here")
        }
      default: throw problem("neither a key nor a value nor a comment begins like this")
      }
    }
    return nil
  }

  // MARK: Lines

  private mutating func advance() throws(RegFileProblem) -> Bool {
    line = []
    ending = []
    place = 0
    guard let next = try lines?.next() else { return false }
    line = next.units
    ending = next.ending
    return true
  }

  private mutating func readHeader() throws(RegFileProblem) {
    hasHeader = true
    guard lines != nil else {
      throw RegFileProblem(line: 1, column: 1, message: "UTF-16 with the high byte first; a .reg file has the low one first")
    }
    do throws(RegFileProblem) {
      while try advance() {
        skipBlanks()
        guard peek != nil else { continue }
        while let last = line.last, Self.isBlank(last) { line.removeLast() }
        let text = String(decoding: line[place...], as: UTF16.self)
        if text == Self.header { return }
        if text == Self.oldHeader {
          lines?.isANSI = true
          return
        }
        break
      }
      throw problem("a .reg file begins with '\(Self.header)' or '\(Self.oldHeader)'")
    } catch {
      // Nothing tells what the rest is.
      lines = nil
      throw error
    }
  }

  private func problem(at column: Int? = nil, _ message: String) -> RegFileProblem {
    RegFileProblem(line: max(1, lines?.number ?? 1), column: (column ?? place) + 1, message: message)
  }

  // MARK: Keys

  private mutating func readKey() throws(RegFileProblem) -> RegFileChange {
    place += 1
    let isDeleted = peek == Self.minus
    if isDeleted { place += 1 }
    // Names may hold brackets: as for regedit the line's last one closes.
    guard let end = line.lastIndex(of: Self.rightBracket), end >= place else {
      throw problem(at: line.count, "the key's name lacks its closing bracket")
    }
    let name = Array(line[place..<end])
    if let empty = name.split(separator: Self.backslash, omittingEmptySubsequences: false).first(where: \.isEmpty) {
      throw problem(at: place + empty.startIndex, "a key without a name")
    }
    place = end + 1
    try expectEnd()
    return isDeleted ? .deletedKey(UnicodeName(units: name)) : .key(UnicodeName(units: name))
  }

  // MARK: Values

  private mutating func readValue() throws(RegFileProblem) -> RegFileChange {
    let isDefault = peek == Self.at
    if isDefault { place += 1 }
    let name = UnicodeName(units: isDefault ? [] : try readQuoted("name"))
    skipBlanks()
    guard take("=") else { throw problem("'=' expected behind the value's name") }
    skipBlanks()
    if take("-") {
      try expectEnd()
      return .deletedValue(name: name)
    }
    return .value(name: name, try readData())
  }

  private mutating func readData() throws(RegFileProblem) -> RegistryValue {
    if peek == Self.quote {
      let text = try readQuoted("text")
      try expectEnd()
      return RegistryValue(type: .sz, data: Self.bytes(of: text + [0]))
    }
    if take("dword:") {
      skipBlanks()
      let number = try readHex(digits: 8, "one to eight hexadecimal digits expected")
      try expectEnd()
      return RegistryValue(type: .dword, data: (0..<4).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) })
    }
    guard take("hex") else { throw problem("a text in quotes, dword:, hex: or hex(TYPE): expected") }
    var type = ValueType.binary
    if take("(") {
      type = ValueType(rawValue: try readHex(digits: 8, "the type's number expected, in hexadecimal digits"))
      guard take(")") else { throw problem("')' expected behind the type's number") }
    }
    guard take(":") else { throw problem("':' expected") }
    do throws(RegFileProblem) {
      var data = try readBytes()
      if lines?.isANSI == true, [.sz, .expandSz, .multiSz].contains(type) {
        data = Self.bytes(of: data.map { Windows1252.unit($0) })
      }
      return RegistryValue(type: type, data: data)
    } catch {
      // What is left of these data is no line of its own.
      while line.last(where: { !Self.isBlank($0) }) == Self.backslash, (try? advance()) == true {}
      throw error
    }
  }

  /// Bytes parted by commas, over as many lines as end with a backslash.
  private mutating func readBytes() throws(RegFileProblem) -> [UInt8] {
    var data: [UInt8] = []
    var isByteDue = false
    while true {
      skipBlanks()
      switch peek {
      case Self.backslash:
        place += 1
        skipBlanks()
        guard peek == nil else { throw problem("a backslash in hexadecimal data stands at a line's end") }
        let end = place
        guard try advance() else { throw problem(at: end - 1, "the file ends within a value's data") }
      case nil, Self.semicolon:
        guard !isByteDue else { throw problem("a byte expected behind the comma") }
        return data
      default:
        guard data.isEmpty || isByteDue else { throw problem("a comma expected between two bytes") }
        data.append(UInt8(try readHex(digits: 2, "a byte expected: two hexadecimal digits")))
        skipBlanks()
        isByteDue = take(",")
      }
    }
  }

  /// What stands between quotes; a line's end belongs to it. A backslash goes before a quote and before itself, nowhere else:
  /// who forgot to double one would get another text than he sees.
  private mutating func readQuoted(_ what: String) throws(RegFileProblem) -> [UInt16] {
    let (startLine, startColumn) = (lines?.number ?? 1, place + 1)
    place += 1
    var text: [UInt16] = []
    while true {
      guard let unit = peek else {
        text += ending
        guard !ending.isEmpty, try advance() else {
          throw RegFileProblem(line: startLine, column: startColumn, message: "the \(what) lacks its closing quote")
        }
        continue
      }
      place += 1
      switch unit {
      case Self.quote: return text
      case Self.backslash:
        guard let escaped = peek, escaped == Self.quote || escaped == Self.backslash else {
          throw problem(at: place - 1, "a backslash goes before a quote or another backslash only; it stands for itself when doubled")
        }
        text.append(escaped)
        place += 1
      default: text.append(unit)
      }
    }
  }

  // MARK: Characters

  private static let (quote, at, semicolon, backslash, minus): (UInt16, UInt16, UInt16, UInt16, UInt16) =
    (0x22, 0x40, 0x3B, 0x5C, 0x2D)
  private static let (leftBracket, rightBracket): (UInt16, UInt16) = (0x5B, 0x5D)

  private static func isBlank(_ unit: UInt16) -> Bool { unit == 0x20 || unit == 0x09 }

  private var peek: UInt16? { place < line.count ? line[place] : nil }

  private mutating func skipBlanks() {
    while let unit = peek, Self.isBlank(unit) { place += 1 }
  }

  /// Reads `word`, ASCII in small letters, in any case.
  private mutating func take(_ word: String) -> Bool {
    let matches = line[place...].prefix(word.utf8.count).elementsEqual(word.utf8) { unit, byte in
      unit == UInt16(byte) || (0x41...0x5A).contains(unit) && unit + 32 == UInt16(byte)
    }
    if matches { place += word.utf8.count }
    return matches
  }

  private mutating func readHex(digits: Int, _ message: String) throws(RegFileProblem) -> UInt32 {
    var number: UInt32 = 0
    var count = 0
    while count < digits, let digit = peek.flatMap({ UInt8(exactly: $0) }).flatMap({ Character(Unicode.Scalar($0)).hexDigitValue }) {
      number = number << 4 | UInt32(digit)
      count += 1
      place += 1
    }
    guard count > 0 else { throw problem(message) }
    return number
  }

  private mutating func expectEnd() throws(RegFileProblem) {
    skipBlanks()
    guard peek == nil || peek == Self.semicolon else { throw problem("nothing but a comment can stand here") }
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
}
