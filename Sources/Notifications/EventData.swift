internal import Executive

/// A value's data in the ways that events tell it.
struct EventData {
  /// Longer data is cut to this, with its full length and SHA-256 beside.
  static let longest = 64 * 1024

  let value: RegistryValue
  /// As much of it as is told.
  let shown: ArraySlice<UInt8>

  init(_ value: RegistryValue) {
    self.value = value
    shown = value.data.prefix(Self.longest)
  }

  /// `type`, `strings`, `bytes` (ECS, registry.data).
  func write(to json: inout JSONWriter) {
    json.member("type", value.type.name)
    if let strings { json.member("strings", strings) }
    json.member("bytes", base64: shown)
  }

  var isCut: Bool { shown.count < value.data.count }

  /// Of data that is cut: what it was.
  func writeWhole(to json: inout JSONWriter) {
    json.member("length", value.data.count)
    json.member("sha256", SHA256.hexDigest(value.data))
  }

  /// Sysmon's Details.
  var details: String {
    if value.data.isEmpty { return "(Empty)" }
    switch value.type {
    case .dword where value.data.count == 4:
      return "DWORD (0x\(Self.hexadecimal(number(bigEndian: false))))"
    case .qword where value.data.count == 8:
      let number = number(bigEndian: false)
      return "QWORD (0x\(Self.hexadecimal(number >> 32))-0x\(Self.hexadecimal(number & 0xFFFF_FFFF)))"
    case .sz, .expandSz, .link: return text
    default: return "Binary Data"
    }
  }

  /// Texts without terminators, numbers in decimal; nil for types that are neither, and numbers of a wrong size.
  var strings: [String]? {
    switch value.type {
    case .sz, .expandSz, .link: return [text]
    case .multiSz:
      var texts = units.split(separator: 0, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF16.self) }
      // Each string ends with a terminator, and the list with one more.
      while texts.last == "" { texts.removeLast() }
      return texts
    default: return integer.map { [String($0)] }
    }
  }

  private var text: String {
    var units = units
    if units.last == 0 { units.removeLast() }
    // An unpaired surrogate becomes U+FFFD here; `bytes` has the truth.
    return String(decoding: units, as: UTF16.self)
  }

  private var units: [UInt16] {
    let bytes = Array(shown)
    return stride(from: 0, to: bytes.count - bytes.count % 2, by: 2).map {
      UInt16(bytes[$0]) | UInt16(bytes[$0 + 1]) << 8
    }
  }

  /// Of a number of the right size.
  var integer: UInt64? {
    switch value.type {
    case .dword where value.data.count == 4, .qword where value.data.count == 8: number(bigEndian: false)
    case .dwordBigEndian where value.data.count == 4: number(bigEndian: true)
    default: nil
    }
  }

  private func number(bigEndian: Bool) -> UInt64 {
    let bytes = Array(value.data.prefix(8))
    return (bigEndian ? bytes : bytes.reversed()).reduce(0) { $0 << 8 | UInt64($1) }
  }

  private static func hexadecimal(_ number: UInt64) -> String {
    let digits = String(number, radix: 16)
    return String(repeating: "0", count: max(0, 8 - digits.utf8.count)) + digits
  }
}
