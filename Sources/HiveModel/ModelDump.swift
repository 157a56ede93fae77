internal import Executive

/// The canonical dump (see `HiveDump`) of what the model holds, made without a hive and without `HiveDump`.
package struct ModelDump {
  package let bytes: [UInt8]

  /// Of the tree at `key`, as a hive of its own would have it.
  package init(_ key: ModelKey) {
    var lines: [[UInt8]] = []
    var open: [(key: ModelKey, path: String)] = [(key, "")]
    while let (place, path) = open.popLast() {
      let descriptor = SHA256.hexDigest(place.descriptor)
      let className = Self.escaped((place.className?.units ?? [])[...])
      lines.append(Array("K\t\(path)\t\(place.time.rawValue)\t\(className)\t\(descriptor)\n".utf8))
      for value in place.values {
        let name = Self.escaped(value.name.units[...])
        let digest = SHA256.hexDigest(value.data.bytes)
        lines.append(Array("V\t\(path)\t\(name)\t\(value.type.rawValue)\t\(value.data.count)\t\(digest)\n".utf8))
      }
      for subkey in place.subkeys {
        let component = Self.component(subkey.name)
        open.append((subkey, place === key ? component : path + "\\" + component))
      }
    }
    lines.sort { $0.lexicographicallyPrecedes($1) }
    bytes = lines.flatMap { $0 }
  }

  /// A name between backslashes: where it begins like what follows the backslash of an escape, that is escaped too.
  private static func component(_ name: UnicodeName) -> String {
    let text = escaped(name.units[...])
    let isHex = name.units.dropFirst().prefix(4).filter { unit in
      Unicode.Scalar(unit).map { Character($0).isASCII && Character($0).isHexDigit } ?? false
    }
    guard name.units.first == 0x75, isHex.count == 4 || name.units.dropFirst().starts(with: [0x7B, 0x7D]) else {
      return text
    }
    return "\\u0075" + escaped(name.units.dropFirst())
  }

  private static func escaped(_ units: ArraySlice<UInt16>) -> String {
    var text = ""
    var decoder = UTF16()
    var iterator = units.makeIterator()
    var place = units.startIndex
    while true {
      switch decoder.decode(&iterator) {
      case .emptyInput: return text
      case .scalarValue(let scalar):
        place += UTF16.width(scalar)
        if isEscaped(scalar) { text += escape(UInt16(scalar.value)) } else { text.unicodeScalars.append(scalar) }
      case .error:
        text += escape(units[place])
        place += 1
      }
    }
  }

  private static func isEscaped(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0..<0x20, 0x5C, 0x7F..<0xA0, 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF: true
    default: false
    }
  }

  private static func escape(_ unit: UInt16) -> String {
    let digits = String(unit, radix: 16, uppercase: true)
    return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
  }
}
