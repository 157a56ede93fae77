/// What a security descriptor is made of (SECURITY_DESCRIPTOR_RELATIVE): the bytes of two SIDs and two access control lists.
///
/// The hive checks descriptors that are set; here they are only taken apart and put together.
package struct SecurityDescriptorParts: Equatable {
  enum AccessList: Equatable {
    case absent
    /// Said to be there, and is not: everything is allowed to everybody.
    case null
    /// Header and entries.
    case entries([UInt8])
  }

  /// SE_*, MS-DTYP 2.4.6.
  enum Control {
    static let discretionaryListPresent: UInt16 = 0x0004
    static let systemListPresent: UInt16 = 0x0010
    static let selfRelative: UInt16 = 0x8000
    /// What belongs to the discretionary list: auto inherit required, auto inherited, protected.
    static let ofDiscretionaryList: UInt16 = 0x1500
    static let ofSystemList: UInt16 = 0x2A00
  }

  private static let headerSize = 20

  /// The flags of the two lists; that they are there, and that all is self-relative, follows from the rest.
  var control: UInt16 = 0
  var owner: [UInt8]?
  var group: [UInt8]?
  var systemList = AccessList.absent
  var discretionaryList = AccessList.absent

  init() {}

  /// Nil for bytes that are no self-relative descriptor.
  package init?(_ bytes: [UInt8]) {
    guard bytes.count >= Self.headerSize, bytes[0] == 1 else { return nil }
    control = LittleEndian.number16(bytes, 2)
    guard control & Control.selfRelative != 0 else { return nil }
    for (field, keyPath) in [(4, \Self.owner), (8, \Self.group)] as [(Int, WritableKeyPath<Self, [UInt8]?>)] {
      let offset = Int(LittleEndian.number32(bytes, field))
      guard offset != 0 else { continue }
      guard offset >= Self.headerSize, offset < bytes.count, let length = SecurityIdentifier.length(bytes[offset...])
      else { return nil }
      self[keyPath: keyPath] = Array(bytes[offset..<offset + length])
    }
    for (field, bit, keyPath) in [
      (12, Control.systemListPresent, \Self.systemList), (16, Control.discretionaryListPresent, \Self.discretionaryList),
    ] as [(Int, UInt16, WritableKeyPath<Self, AccessList>)] where control & bit != 0 {
      let offset = Int(LittleEndian.number32(bytes, field))
      guard offset != 0 else {
        self[keyPath: keyPath] = .null
        continue
      }
      guard offset >= Self.headerSize, offset + 8 <= bytes.count else { return nil }
      let size = Int(LittleEndian.number16(bytes, offset + 2))
      guard size >= 8, offset + size <= bytes.count else { return nil }
      self[keyPath: keyPath] = .entries(Array(bytes[offset..<offset + size]))
    }
    control &= Control.ofDiscretionaryList | Control.ofSystemList
  }

  /// Self-relative, in the order that Windows writes: the header, the system list, the discretionary list, owner, group.
  package var bytes: [UInt8] {
    var word = control | Control.selfRelative
    if systemList != .absent { word |= Control.systemListPresent }
    if discretionaryList != .absent { word |= Control.discretionaryListPresent }
    var bytes: [UInt8] = [1, 0] + LittleEndian.bytes(word) + Array(repeating: 0, count: 16)
    func append(_ part: [UInt8], _ field: Int) {
      bytes.replaceSubrange(field..<field + 4, with: LittleEndian.bytes(UInt32(bytes.count)))
      bytes += part
    }
    if case .entries(let list) = systemList { append(list, 12) }
    if case .entries(let list) = discretionaryList { append(list, 16) }
    if let owner { append(owner, 4) }
    if let group { append(group, 8) }
    return bytes
  }

  /// Which parts are there (SECURITY_INFORMATION): owner, group, discretionary list, system list, from the lowest bit up.
  package var named: UInt32 {
    (owner == nil ? 0 : 1) | (group == nil ? 0 : 2) | (discretionaryList == .absent ? 0 : 4)
      | (systemList == .absent ? 0 : 8)
  }

  /// Takes over what is not there.
  package mutating func takeMissing(from other: SecurityDescriptorParts) {
    owner = owner ?? other.owner
    group = group ?? other.group
    if systemList == .absent {
      systemList = other.systemList
      control |= other.control & Control.ofSystemList
    }
    if discretionaryList == .absent {
      discretionaryList = other.discretionaryList
      control |= other.control & Control.ofDiscretionaryList
    }
  }
}

/// Numbers as Windows stores them.
enum LittleEndian {
  static func number16(_ bytes: some RandomAccessCollection<UInt8>, _ offset: Int) -> UInt16 {
    UInt16(truncatingIfNeeded: number(bytes, offset, 2))
  }

  static func number32(_ bytes: some RandomAccessCollection<UInt8>, _ offset: Int) -> UInt32 {
    UInt32(truncatingIfNeeded: number(bytes, offset, 4))
  }

  private static func number(_ bytes: some RandomAccessCollection<UInt8>, _ offset: Int, _ count: Int) -> UInt64 {
    bytes.dropFirst(offset).prefix(count).reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  static func bytes(_ number: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: number.littleEndian) { Array($0) } }
}
