/// The type of a registry value, any 32-bit number; the first twelve have names (REG_*, winnt.h).
package struct ValueType: RawRepresentable, Hashable, Sendable {
  package let rawValue: UInt32

  package init(rawValue: UInt32) { self.rawValue = rawValue }

  package static let none = ValueType(rawValue: 0)
  package static let sz = ValueType(rawValue: 1)
  package static let expandSz = ValueType(rawValue: 2)
  package static let binary = ValueType(rawValue: 3)
  package static let dword = ValueType(rawValue: 4)
  package static let dwordBigEndian = ValueType(rawValue: 5)
  package static let link = ValueType(rawValue: 6)
  package static let multiSz = ValueType(rawValue: 7)
  package static let resourceList = ValueType(rawValue: 8)
  package static let fullResourceDescriptor = ValueType(rawValue: 9)
  package static let resourceRequirementsList = ValueType(rawValue: 10)
  package static let qword = ValueType(rawValue: 11)

  private static let names: [String] = [
    "REG_NONE", "REG_SZ", "REG_EXPAND_SZ", "REG_BINARY", "REG_DWORD", "REG_DWORD_BIG_ENDIAN", "REG_LINK",
    "REG_MULTI_SZ", "REG_RESOURCE_LIST", "REG_FULL_RESOURCE_DESCRIPTOR", "REG_RESOURCE_REQUIREMENTS_LIST",
    "REG_QWORD",
  ]

  /// `REG_DWORD` for the named types, `0xffff0012` for all others.
  package var name: String {
    rawValue < Self.names.count ? Self.names[Int(rawValue)] : "0x" + String(rawValue, radix: 16)
  }

  /// Reads what `name` writes, without regard to case, also without `REG_`, and plain numbers; nil for anything else.
  package init?(name: some StringProtocol) {
    let upper = name.uppercased()
    let full = upper.hasPrefix("REG_") ? upper : "REG_" + upper
    if let index = Self.names.firstIndex(of: full) {
      self.init(rawValue: UInt32(index))
    } else if full == "REG_DWORD_BE" {
      self = .dwordBigEndian
    } else if full == "REG_DWORD_LITTLE_ENDIAN" {
      self = .dword
    } else if full == "REG_QWORD_LITTLE_ENDIAN" {
      self = .qword
    } else if upper.hasPrefix("0X"), let number = UInt32(upper.dropFirst(2), radix: 16) {
      self.init(rawValue: number)
    } else if let number = UInt32(upper) {
      self.init(rawValue: number)
    } else {
      return nil
    }
  }
}

/// A value's type and data as they lie in the hive.
package struct RegistryValue: Hashable, Sendable {
  package var type: ValueType
  package var data: [UInt8]

  package init(type: ValueType, data: [UInt8]) {
    self.type = type
    self.data = data
  }
}
