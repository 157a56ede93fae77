/// The result of a registry operation, one of Windows' 32-bit status codes (NTSTATUS, ntstatus.h).
///
/// A negative code (severity 3) is a failure; everything else counts as success.
package struct NTStatus: RawRepresentable, Error, Hashable, Sendable {
  package let rawValue: UInt32

  package init(rawValue: UInt32) { self.rawValue = rawValue }

  package static let success = NTStatus(rawValue: 0x0000_0000)
  /// The callback did the work itself: the walk stops and the caller sees success (STATUS_CALLBACK_BYPASS).
  package static let callbackBypass = NTStatus(rawValue: 0xC000_0503)
  package static let invalidParameter = NTStatus(rawValue: 0xC000_000D)
  package static let accessDenied = NTStatus(rawValue: 0xC000_0022)
  package static let objectNameInvalid = NTStatus(rawValue: 0xC000_0033)
  package static let objectNameNotFound = NTStatus(rawValue: 0xC000_0034)
  package static let objectNameCollision = NTStatus(rawValue: 0xC000_0035)
  package static let diskFull = NTStatus(rawValue: 0xC000_007F)
  package static let insufficientResources = NTStatus(rawValue: 0xC000_009A)
  /// The hive cannot be written: a read-only mount (STATUS_MEDIA_WRITE_PROTECTED).
  package static let mediaWriteProtected = NTStatus(rawValue: 0xC000_00A2)
  /// Source and target lie in different hives (STATUS_NOT_SAME_DEVICE).
  package static let notSameDevice = NTStatus(rawValue: 0xC000_00D4)
  /// Only root and who has mounted may do that (STATUS_PRIVILEGE_NOT_HELD).
  package static let privilegeNotHeld = NTStatus(rawValue: 0xC000_0061)
  /// The hive is in use: it cannot be taken away now (STATUS_SHARING_VIOLATION).
  package static let sharingViolation = NTStatus(rawValue: 0xC000_0043)
  package static let nameTooLong = NTStatus(rawValue: 0xC000_0106)
  package static let cancelled = NTStatus(rawValue: 0xC000_0120)
  /// A key that still has subkeys is deleted, or the root is (STATUS_CANNOT_DELETE).
  package static let cannotDelete = NTStatus(rawValue: 0xC000_0121)
  /// A structure of the hive is damaged (STATUS_REGISTRY_CORRUPT).
  package static let registryCorrupt = NTStatus(rawValue: 0xC000_014C)
  /// The device under the hive failed (STATUS_REGISTRY_IO_FAILED).
  package static let registryIOFailed = NTStatus(rawValue: 0xC000_014D)
  /// The key was deleted while something still refers to it (STATUS_KEY_DELETED).
  package static let keyDeleted = NTStatus(rawValue: 0xC000_017C)
  /// A limit of the format was met: the hive, the data or a count is full (STATUS_REGISTRY_HIVE_RECOVERED's sibling
  /// STATUS_REGISTRY_QUOTA_LIMIT).
  package static let registryQuotaLimit = NTStatus(rawValue: 0xC000_0256)
  package static let altitudeCollision = NTStatus(rawValue: 0xC01C_0011)

  package var isSuccess: Bool { Int32(bitPattern: rawValue) >= 0 }
}

extension NTStatus: CustomStringConvertible {
  package var description: String {
    let digits = String(rawValue, radix: 16, uppercase: true)
    return "0x" + String(repeating: "0", count: 8 - digits.count) + digits
  }
}
