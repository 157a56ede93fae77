/// A security descriptor as text in SDDL (MS-DTYP 2.5.1): `O:BAG:SYD:PAI(A;CI;KA;;;SY)`.
///
/// 1. What `text` writes, `init(text:)` reads back to the same parts, whatever the entries hold: data behind an entry's SID (the
///    condition of a conditional entry, a resource attribute) is `#` and hexadecimal digits, and so is the whole content of an
///    entry of unknown type or form, whose type is a number then.
/// 2. Of a list's header only the entries are kept: revision 4 where an entry names objects, else 2, and no room behind them.
extension SecurityDescriptorParts {
  /// The words of one field and the bits that they stand for.
  private typealias Words = [(word: String, bits: UInt32)]

  private static let entryTypes: Words = [
    ("A", 0), ("D", 1), ("AU", 2), ("AL", 3), ("OA", 5), ("OD", 6), ("OU", 7), ("OL", 8), ("XA", 9), ("XD", 10), ("ZA", 11),
    ("XU", 13), ("ML", 17), ("RA", 18), ("SP", 19), ("TL", 20), ("FL", 21),
  ]
  /// Types whose SID is preceded by flags and up to two GUIDs.
  private static let objectTypes: Set<UInt8> = [5, 6, 7, 8, 11]
  private static let labelType: UInt8 = 17

  private static let entryFlags: Words = [
    ("OI", 0x01), ("CI", 0x02), ("NP", 0x04), ("IO", 0x08), ("ID", 0x10), ("CR", 0x20), ("SA", 0x40), ("FA", 0x80),
  ]
  /// Masks that have one word. KX is KR's mask and only read.
  private static let wholeRights: Words = [
    ("KA", 0xF003F), ("KR", 0x20019), ("KW", 0x20006), ("KX", 0x20019), ("FA", 0x1F01FF), ("FR", 0x120089),
    ("FW", 0x120116), ("FX", 0x1200A0),
  ]
  private static let rights: Words = [
    ("CC", 0x1), ("DC", 0x2), ("LC", 0x4), ("SW", 0x8), ("RP", 0x10), ("WP", 0x20), ("DT", 0x40), ("LO", 0x80), ("CR", 0x100),
    ("SD", 0x10000), ("RC", 0x20000), ("WD", 0x40000), ("WO", 0x80000), ("GA", 0x1000_0000), ("GX", 0x2000_0000),
    ("GW", 0x4000_0000), ("GR", 0x8000_0000),
  ]
  private static let labelRights: Words = [("NW", 0x1), ("NR", 0x2), ("NX", 0x4)]

  /// The flags of a list; those of the system list lie one bit higher.
  private static let listFlags: Words = [("P", 0x1000), ("AR", 0x0100), ("AI", 0x0400)]
  private static let nullList = "NO_ACCESS_CONTROL"

  // MARK: Writing

  package var text: String {
    var text = ""
    if let owner { text += "O:" + SecurityIdentifier.text(owner) }
    if let group { text += "G:" + SecurityIdentifier.text(group) }
    text += Self.text(of: discretionaryList, "D:", flags: control & Control.ofDiscretionaryList)
    text += Self.text(of: systemList, "S:", flags: (control & Control.ofSystemList) >> 1)
    return text
  }

  private static func text(of list: AccessList, _ letter: String, flags: UInt16) -> String {
    let words = letter + listFlags.filter { UInt32(flags) & $0.bits != 0 }.map(\.word).joined()
    switch list {
    case .absent: return ""
    case .null: return words + nullList
    case .entries(let bytes):
      var text = words
      var rest = bytes.dropFirst(8)
      for _ in 0..<LittleEndian.number16(bytes, 4) {
        // What does not hold together ends the list.
        guard rest.count >= 4 else { break }
        let size = Int(LittleEndian.number16(rest, 2))
        guard size >= 4, size <= rest.count else { break }
        text += entryText(rest.prefix(size))
        rest = rest.dropFirst(size)
      }
      return text
    }
  }

  private static func entryText(_ entry: ArraySlice<UInt8>) -> String {
    let type = entry[entry.startIndex]
    let flags = letters(UInt32(entry[entry.startIndex + 1]), entryFlags) ?? ""
    let content = entry.dropFirst(4)
    guard let word = entryTypes.first(where: { $0.bits == type })?.word, content.count >= 4,
      let (guids, length) = objects(content.dropFirst(4), type),
      let sidLength = SecurityIdentifier.length(content.dropFirst(4 + length))
    else { return "(0x\(String(type, radix: 16));\(flags);;;;;\(digits(content)))" }
    let sid = SecurityIdentifier.text(content.dropFirst(4 + length).prefix(sidLength))
    let data = content.dropFirst(4 + length + sidLength)
    let rights = rightsText(LittleEndian.number32(content, 0), type)
    return "(\(word);\(flags);\(rights);\(guids.0);\(guids.1);\(sid)\(data.isEmpty ? "" : ";" + digits(data)))"
  }

  /// The GUIDs of an entry about objects, and the bytes before its SID. Nil for flags that nobody knows.
  private static func objects(_ content: ArraySlice<UInt8>, _ type: UInt8) -> ((String, String), length: Int)? {
    guard objectTypes.contains(type) else { return (("", ""), 0) }
    guard content.count >= 4 else { return nil }
    let flags = LittleEndian.number32(content, 0)
    guard flags & ~3 == 0 else { return nil }
    var length = 4
    var guids: [String] = []
    for bit: UInt32 in [1, 2] {
      guard flags & bit != 0 else {
        guids.append("")
        continue
      }
      guard content.count >= length + 16 else { return nil }
      guids.append(guidText(Array(content.dropFirst(length).prefix(16))))
      length += 16
    }
    return ((guids[0], guids[1]), length)
  }

  private static func rightsText(_ mask: UInt32, _ type: UInt8) -> String {
    let words = type == labelType ? labelRights : rights
    let whole = type == labelType ? nil : wholeRights.first { $0.bits == mask }?.word
    return whole ?? letters(mask, words) ?? "0x" + String(mask, radix: 16)
  }

  /// Nil when some bit has no word.
  private static func letters(_ bits: UInt32, _ words: Words) -> String? {
    let named = words.filter { bits & $0.bits != 0 }
    return named.reduce(0) { $0 | $1.bits } == bits ? named.map(\.word).joined() : nil
  }

  private static func digits(_ bytes: some Collection<UInt8>) -> String {
    "#" + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  /// Three numbers, least significant byte first, and eight bytes.
  private static let guidOrder = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]

  private static func guidText(_ bytes: [UInt8]) -> String {
    var text = digits(guidOrder.map { bytes[$0] }).dropFirst()
    for place in [20, 16, 12, 8] { text.insert("-", at: text.index(text.startIndex, offsetBy: place)) }
    return String(text)
  }

  // MARK: Reading

  /// Nil for text that is no SDDL. Parts come in any order, each once at most; blanks around the whole are let pass.
  package init?(text: String) {
    self.init()
    var rest = text[...]
    while let last = rest.last, last.isWhitespace { rest.removeLast() }
    rest = rest.drop(while: \.isWhitespace)
    var seen: Set<Character> = []
    while let letter = rest.first {
      rest = rest.dropFirst()
      guard rest.first == ":", seen.insert(letter).inserted else { return nil }
      rest = rest.dropFirst()
      switch letter {
      case "O", "G":
        guard let identifier = SecurityIdentifier.take(&rest) else { return nil }
        if letter == "O" { owner = identifier } else { group = identifier }
      case "D", "S":
        guard let (list, flags) = Self.takeList(&rest) else { return nil }
        if letter == "D" {
          discretionaryList = list
          control |= flags
        } else {
          systemList = list
          control |= flags << 1
        }
      default: return nil
      }
    }
    guard !seen.isEmpty else { return nil }
  }

  private static func takeList(_ rest: inout Substring) -> (AccessList, flags: UInt16)? {
    var flags: UInt32 = 0
    while let flag = listFlags.first(where: { rest.hasPrefix($0.word) }) {
      flags |= flag.bits
      rest = rest.dropFirst(flag.word.count)
    }
    if rest.hasPrefix(nullList) {
      rest = rest.dropFirst(nullList.count)
      return (.null, UInt16(flags))
    }
    var entries: [UInt8] = []
    var count: UInt16 = 0
    var hasObjects = false
    while rest.first == "(" {
      guard let end = rest.firstIndex(of: ")"), let entry = entry(rest[..<end].dropFirst()) else { return nil }
      rest = rest[rest.index(after: end)...]
      hasObjects = hasObjects || objectTypes.contains(entry[0])
      entries += entry
      count += 1
      guard entries.count + 8 <= 0xFFFF else { return nil }
    }
    let header = [hasObjects ? 4 : 2, 0] + LittleEndian.bytes(UInt16(entries.count + 8)) + LittleEndian.bytes(count) + [0, 0]
    return (.entries(header + entries), UInt16(flags))
  }

  private static func entry(_ text: Substring) -> [UInt8]? {
    let fields = text.split(separator: ";", omittingEmptySubsequences: false)
    guard fields.count == 6 || fields.count == 7, let flags = bits(fields[1], entryFlags) else { return nil }
    let type: UInt8
    var content: [UInt8]
    if fields[0].hasPrefix("0x") {
      guard let number: UInt8 = hexadecimal(fields[0].dropFirst(2)), fields.count == 7,
        fields[2...5].allSatisfy(\.isEmpty), let bytes = bytes(fields[6])
      else { return nil }
      (type, content) = (number, bytes)
    } else {
      guard let known = entryTypes.first(where: { $0.word == fields[0] }), let mask = mask(fields[2], UInt8(known.bits))
      else { return nil }
      type = UInt8(known.bits)
      content = LittleEndian.bytes(mask)
      if objectTypes.contains(type) {
        content += LittleEndian.bytes((fields[3].isEmpty ? 0 : 1) | (fields[4].isEmpty ? 0 : 2) as UInt32)
        for field in fields[3...4] where !field.isEmpty {
          guard let guid = guid(field) else { return nil }
          content += guid
        }
      } else {
        guard fields[3].isEmpty, fields[4].isEmpty else { return nil }
      }
      var sid = fields[5]
      guard let identifier = SecurityIdentifier.take(&sid), sid.isEmpty else { return nil }
      content += identifier
      if fields.count == 7 {
        guard let data = bytes(fields[6]) else { return nil }
        content += data
      }
    }
    guard content.count % 4 == 0, content.count + 4 <= 0xFFFF else { return nil }
    return [type, UInt8(flags)] + LittleEndian.bytes(UInt16(content.count + 4)) + content
  }

  private static func mask(_ text: Substring, _ type: UInt8) -> UInt32? {
    if text.hasPrefix("0x") || text.hasPrefix("0X") { return hexadecimal(text.dropFirst(2)) }
    if text.first?.isNumber == true { return UInt32(text) }
    return bits(text, type == labelType ? labelRights : wholeRights + rights)
  }

  /// Digits without a sign.
  private static func hexadecimal<Number: FixedWidthInteger>(_ digits: Substring) -> Number? {
    digits.first?.isHexDigit == true ? Number(digits, radix: 16) : nil
  }

  /// Words of two letters each.
  private static func bits(_ text: Substring, _ words: Words) -> UInt32? {
    var rest = text
    var bits: UInt32 = 0
    while !rest.isEmpty {
      guard let word = words.first(where: { $0.word == rest.prefix(2) }) else { return nil }
      bits |= word.bits
      rest = rest.dropFirst(2)
    }
    return bits
  }

  /// What `digits` writes.
  private static func bytes(_ text: Substring) -> [UInt8]? {
    guard text.first == "#", text.utf8.count % 2 == 1 else { return nil }
    var bytes: [UInt8] = []
    var rest = text.dropFirst()
    while !rest.isEmpty {
      guard let byte: UInt8 = hexadecimal(rest.prefix(2)) else { return nil }
      bytes.append(byte)
      rest = rest.dropFirst(2)
    }
    return bytes
  }

  private static func guid(_ text: Substring) -> [UInt8]? {
    let groups = text.split(separator: "-", omittingEmptySubsequences: false)
    guard groups.map(\.count) == [8, 4, 4, 4, 12], let bytes = bytes("#" + groups.joined()) else { return nil }
    var guid = bytes
    for (place, byte) in zip(guidOrder, bytes) { guid[place] = byte }
    return guid
  }
}
