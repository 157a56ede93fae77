/// A self-relative security descriptor (SECURITY_DESCRIPTOR_RELATIVE): a header, and the owner, the group and the two
/// access control lists that it points to.
///
/// 1. The revision is 1 and the control word says that the descriptor is self-relative.
/// 2. Owner and group are absent (offset 0) or whole SIDs behind the header.
/// 3. A list that is said to be present is null (offset 0) or a whole ACL behind the header: its entries lie inside it,
///    and those of the common types hold a mask and a whole SID.
///
/// The rules are those of RtlValidRelativeSecurityDescriptor; the parts may lie in any order and may overlap.
enum SecurityDescriptor {
  static let headerSize = 20
  /// Two lists and two SIDs cannot fill more.
  static let longest = headerSize + 2 * 0xFFFF + 2 * (8 + 4 * mostSubauthorities)
  private static let mostSubauthorities = 15

  private enum Field {
    static let control = 2
    static let owner = 4
    static let group = 8
    static let systemList = 12
    static let discretionaryList = 16
  }

  private enum Control {
    static let discretionaryListPresent = 0x0004
    static let systemListPresent = 0x0010
    static let selfRelative = 0x8000
  }

  /// Throws `invalid` with the first thing that is wrong.
  static func check(_ bytes: Span<UInt8>) throws(HiveError) {
    guard bytes.count >= headerSize else { throw invalid("\(bytes.count) bytes, a header has \(headerSize)") }
    guard bytes.count <= longest else { throw invalid("\(bytes.count) bytes, the longest has \(longest)") }
    guard bytes[0] == 1 else { throw invalid("revision \(bytes[0]), not 1") }
    let control = number16(bytes, Field.control)
    guard control & Control.selfRelative != 0 else { throw invalid("it is not self-relative") }
    for (name, field) in [("owner", Field.owner), ("group", Field.group)] {
      let offset = number32(bytes, field)
      if offset != 0 { try checkIdentifier(name, bytes, offset, end: bytes.count) }
    }
    for (name, field, bit) in [
      ("SACL", Field.systemList, Control.systemListPresent),
      ("DACL", Field.discretionaryList, Control.discretionaryListPresent),
    ] where control & bit != 0 {
      let offset = number32(bytes, field)
      if offset != 0 { try checkList(name, bytes, offset) }
    }
  }

  /// A SID: revision, count of subauthorities, authority (6 bytes), subauthorities. It ends before `end`.
  private static func checkIdentifier(
    _ name: String, _ bytes: Span<UInt8>, _ offset: Int, end: Int
  ) throws(HiveError) {
    guard offset >= headerSize, offset + 8 <= end else { throw invalid("the \(name)'s SID at \(offset) lies outside") }
    guard bytes[offset] == 1 else { throw invalid("the \(name)'s SID has revision \(bytes[offset]), not 1") }
    let count = Int(bytes[offset + 1])
    guard count <= mostSubauthorities, offset + 8 + 4 * count <= end else {
      throw invalid("the \(name)'s SID has \(count) subauthorities")
    }
  }

  /// An ACL: revision, a byte, size, count of entries, two bytes; entries of type, flags, size and content.
  private static func checkList(_ name: String, _ bytes: Span<UInt8>, _ offset: Int) throws(HiveError) {
    guard offset >= headerSize, offset + 8 <= bytes.count else {
      throw invalid("the \(name) at \(offset) lies outside")
    }
    guard (2...4).contains(bytes[offset]) else { throw invalid("the \(name) has revision \(bytes[offset])") }
    let size = number16(bytes, offset + 2)
    let end = offset + size
    guard size >= 8, end <= bytes.count else { throw invalid("the \(name) has a size of \(size) bytes") }
    var entry = offset + 8
    for number in 0..<number16(bytes, offset + 4) {
      guard entry + 4 <= end else { throw invalid("entry \(number) of the \(name) lies outside") }
      let entrySize = number16(bytes, entry + 2)
      guard entrySize >= 4, entrySize % 4 == 0, entry + entrySize <= end else {
        throw invalid("entry \(number) of the \(name) has a size of \(entrySize) bytes")
      }
      // Allowed, denied, audit, alarm: a mask and a SID.
      if bytes[entry] <= 3 {
        try checkIdentifier("entry \(number) of the \(name)", bytes, entry + 8, end: entry + entrySize)
      }
      entry += entrySize
    }
  }

  private static func invalid(_ problem: String) -> HiveError {
    .invalid(structure: "security descriptor", problem: problem)
  }

  private static func number16(_ bytes: Span<UInt8>, _ offset: Int) -> Int {
    Int(bytes[offset]) | Int(bytes[offset + 1]) << 8
  }

  private static func number32(_ bytes: Span<UInt8>, _ offset: Int) -> Int {
    number16(bytes, offset) | number16(bytes, offset + 2) << 16
  }
}
