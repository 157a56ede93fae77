package import Executive

/// Writes `.reg` text of the new format as regedit does, in pieces: the caller never holds the whole.
package struct RegFileWriter {
  package enum Encoding: String, CaseIterable, Sendable {
    /// With a mark, and lines that end with CR LF: what Windows reads.
    case utf16 = "utf-16"
    /// Without a mark, lines that end with LF: for people and their tools.
    case utf8 = "utf-8"
  }

  /// What becomes of a name in a `.reg` file.
  package enum Fate: Sendable {
    case kept
    /// `RegFileReader` reads it as it was, other programs may not: a NUL, or a line's end.
    case keptByUs
    /// The text would mean another name.
    case lost
  }

  private let encoding: Encoding
  private let write: ([UInt8]) -> Bool
  private var units: [UInt16] = []
  /// The receiver takes no more.
  private var isBroken = false

  private static let pieceSize = 1 << 18
  /// A line is broken behind the byte with which it reaches this many characters: 80 at most, and as regedit does it.
  private static let hexLineLength = 76

  /// `write` gets the text and says whether it can take more.
  package init(encoding: Encoding, write: @escaping ([UInt8]) -> Bool) {
    self.encoding = encoding
    self.write = write
    if encoding == .utf16 { units.append(0xFEFF) }
    put(RegFileReader.header)
    endLine()
  }

  // MARK: Names

  package func fate(ofKey name: UnicodeName) -> Fate {
    guard !name.isEmpty, !name.units.contains(0x0A), !name.units.contains(0x5C), isText(name) else { return .lost }
    return name.units.contains { $0 == 0 || $0 == 0x0D } ? .keptByUs : .kept
  }

  package func fate(ofValue name: UnicodeName) -> Fate {
    guard isText(name) else { return .lost }
    return name.units.contains { $0 == 0 || $0 == 0x0D || $0 == 0x0A } ? .keptByUs : .kept
  }

  /// UTF-8 has no unpaired surrogates.
  private func isText(_ name: UnicodeName) -> Bool { encoding == .utf16 || Self.isWellFormed(name.units[...]) }

  // MARK: Pieces

  /// Begins a key; its values follow.
  package mutating func key(_ path: UnicodeName) {
    endLine()
    put("[")
    units += path.units
    put("]")
    endLine()
  }

  package mutating func value(_ name: UnicodeName, _ value: RegistryValue) {
    let start = units.count
    if name.isEmpty {
      put("@")
    } else {
      quote(name.units[...])
    }
    put("=")
    if let text = Self.text(of: value) {
      quote(text[...])
    } else if value.type == .dword, value.data.count == 4 {
      put("dword:")
      for byte in value.data.reversed() { putHex(byte) }
    } else {
      put(value.type == .binary ? "hex:" : "hex(\(String(value.type.rawValue, radix: 16))):")
      putHex(value.data, lineLength: units.count - start)
    }
    endLine()
  }

  /// False when the receiver could not take all of it.
  package mutating func finish() -> Bool {
    endLine()
    flush()
    return !isBroken
  }

  // MARK: Data

  /// The units of a string that a text in quotes gives back exactly; nil for all other data.
  private static func text(of value: RegistryValue) -> [UInt16]? {
    let data = value.data
    guard value.type == .sz, data.count >= 2, data.count % 2 == 0 else { return nil }
    var units = stride(from: 0, to: data.count, by: 2).map { UInt16(data[$0]) | UInt16(data[$0 + 1]) << 8 }
    // Control characters would be lost in some editor; what is no text in UTF-16 is none in UTF-8 either.
    guard units.removeLast() == 0, units.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }), isWellFormed(units[...]) else { return nil }
    return units
  }

  private static func isWellFormed(_ units: ArraySlice<UInt16>) -> Bool {
    !transcode(units.makeIterator(), from: UTF16.self, to: UTF16.self, stoppingOnError: true) { _ in }
  }

  private mutating func putHex(_ data: [UInt8], lineLength: Int) {
    var length = lineLength
    for (place, byte) in data.enumerated() {
      putHex(byte)
      guard place < data.count - 1 else { return }
      put(",")
      length += 3
      if length >= Self.hexLineLength {
        put("\\")
        endLine()
        put("  ")
        length = 2
      }
    }
  }

  private mutating func putHex(_ byte: UInt8) {
    for digit in [byte >> 4, byte & 15] { units.append(UInt16(digit < 10 ? 0x30 + digit : 0x57 + digit)) }
  }

  private mutating func quote(_ text: ArraySlice<UInt16>) {
    put("\"")
    for unit in text {
      if unit == 0x22 || unit == 0x5C { put("\\") }
      units.append(unit)
    }
    put("\"")
  }

  // MARK: Text

  private mutating func put(_ text: String) { units.append(contentsOf: text.utf16) }

  /// Pieces end with lines: no character is cut.
  private mutating func endLine() {
    put(encoding == .utf16 ? "\r\n" : "\n")
    if units.count >= Self.pieceSize { flush() }
  }

  private mutating func flush() {
    defer { units.removeAll(keepingCapacity: true) }
    guard !isBroken, !units.isEmpty else { return }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(units.count * 2)
    switch encoding {
    case .utf16:
      for unit in units {
        bytes.append(UInt8(truncatingIfNeeded: unit))
        bytes.append(UInt8(unit >> 8))
      }
    case .utf8: bytes.append(contentsOf: String(decoding: units, as: UTF16.self).utf8)
    }
    isBroken = !write(bytes)
  }
}
