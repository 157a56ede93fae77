/// A SID in its bytes, as text: `S-1-5-18`, or the two letters that SDDL has for it.
enum SecurityIdentifier {
  private static let mostSubauthorities = 15

  /// SDDL's abbreviations for SIDs that are the same everywhere (MS-DTYP 2.5.1.1, sddl.h).
  private static let known: [(letters: String, text: String)] = [
    ("WD", "S-1-1-0"), ("CO", "S-1-3-0"), ("CG", "S-1-3-1"), ("OW", "S-1-3-4"), ("NU", "S-1-5-2"), ("IU", "S-1-5-4"),
    ("SU", "S-1-5-6"), ("AN", "S-1-5-7"), ("ED", "S-1-5-9"), ("PS", "S-1-5-10"), ("AU", "S-1-5-11"), ("RC", "S-1-5-12"),
    ("SY", "S-1-5-18"), ("LS", "S-1-5-19"), ("NS", "S-1-5-20"), ("WR", "S-1-5-33"), ("BA", "S-1-5-32-544"),
    ("BU", "S-1-5-32-545"), ("BG", "S-1-5-32-546"), ("PU", "S-1-5-32-547"), ("AO", "S-1-5-32-548"), ("SO", "S-1-5-32-549"),
    ("PO", "S-1-5-32-550"), ("BO", "S-1-5-32-551"), ("RE", "S-1-5-32-552"), ("RU", "S-1-5-32-554"), ("RD", "S-1-5-32-555"),
    ("NO", "S-1-5-32-556"), ("MU", "S-1-5-32-558"), ("LU", "S-1-5-32-559"), ("IS", "S-1-5-32-568"), ("CY", "S-1-5-32-569"),
    ("ER", "S-1-5-32-573"), ("CD", "S-1-5-32-574"), ("RA", "S-1-5-32-575"), ("ES", "S-1-5-32-576"), ("MS", "S-1-5-32-577"),
    ("HA", "S-1-5-32-578"), ("AA", "S-1-5-32-579"), ("RM", "S-1-5-32-580"), ("HO", "S-1-5-32-584"),
    ("UD", "S-1-5-84-0-0-0-0-0"), ("AC", "S-1-15-2-1"), ("LW", "S-1-16-4096"), ("ME", "S-1-16-8192"),
    ("MP", "S-1-16-8448"), ("HI", "S-1-16-12288"), ("SI", "S-1-16-16384"), ("AS", "S-1-18-1"), ("SS", "S-1-18-2"),
  ]

  /// Bytes of the SID that these begin with; nil when they begin with none.
  static func length(_ bytes: some RandomAccessCollection<UInt8>) -> Int? {
    guard bytes.count >= 8, bytes.first == 1, let count = bytes.dropFirst().first, count <= mostSubauthorities else {
      return nil
    }
    let length = 8 + 4 * Int(count)
    return length <= bytes.count ? length : nil
  }

  /// The text of a SID that `length` has found.
  static func text(_ bytes: some RandomAccessCollection<UInt8>) -> String {
    let authority = bytes.dropFirst(2).prefix(6).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    var text = "S-1-\(authority)"
    if authority > UInt64(UInt32.max) {
      let digits = String(authority, radix: 16)
      text = "S-1-0x" + String(repeating: "0", count: 12 - digits.utf8.count) + digits
    }
    for place in stride(from: 8, to: bytes.count, by: 4) { text += "-\(LittleEndian.number32(bytes, place))" }
    return known.first { $0.text == text }?.letters ?? text
  }

  /// Takes a SID off the front of `rest`. Nil for text that begins with none; letters that stand for a SID of some domain (`DA`)
  /// are none: a hive belongs to no domain that is known.
  static func take(_ rest: inout Substring) -> [UInt8]? {
    guard rest.uppercased().hasPrefix("S-1-") else {
      let letters = rest.prefix(2).uppercased()
      guard var text = known.first(where: { $0.letters == letters }).map({ Substring($0.text) }) else { return nil }
      rest = rest.dropFirst(2)
      return take(&text)
    }
    rest = rest.dropFirst(4)
    let authority: UInt64
    if rest.hasPrefix("0x") || rest.hasPrefix("0X") {
      let digits = rest.dropFirst(2).prefix(12).prefix { $0.isASCII && $0.isHexDigit }
      guard let number = UInt64(digits, radix: 16) else { return nil }
      authority = number
      rest = rest.dropFirst(2 + digits.count)
    } else {
      guard let number = takeDecimal(&rest), number < 1 << 48 else { return nil }
      authority = number
    }
    var subauthorities: [UInt8] = []
    while rest.first == "-" {
      rest = rest.dropFirst()
      guard let number = takeDecimal(&rest).flatMap({ UInt32(exactly: $0) }) else { return nil }
      subauthorities += LittleEndian.bytes(number)
    }
    guard subauthorities.count <= 4 * mostSubauthorities else { return nil }
    let authorityBytes = withUnsafeBytes(of: authority.bigEndian) { Array($0.dropFirst(2)) }
    return [1, UInt8(subauthorities.count / 4)] + authorityBytes + subauthorities
  }

  private static func takeDecimal(_ rest: inout Substring) -> UInt64? {
    let digits = rest.prefix { $0.isASCII && $0.isNumber }
    rest = rest.dropFirst(digits.count)
    return UInt64(digits)
  }
}
