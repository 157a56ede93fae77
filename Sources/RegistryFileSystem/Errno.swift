internal import Glibc
package import Executive

/// What a system call gives back when it fails (errno.h).
package struct Errno: RawRepresentable, Error, Hashable, Sendable {
  package let rawValue: Int32

  package init(rawValue: Int32) { self.rawValue = rawValue }

  package static let notPermitted = Errno(rawValue: EPERM)
  package static let noEntry = Errno(rawValue: ENOENT)
  package static let io = Errno(rawValue: EIO)
  package static let badDescriptor = Errno(rawValue: EBADF)
  package static let accessDenied = Errno(rawValue: EACCES)
  package static let exists = Errno(rawValue: EEXIST)
  package static let crossDevice = Errno(rawValue: EXDEV)
  package static let notDirectory = Errno(rawValue: ENOTDIR)
  package static let isDirectory = Errno(rawValue: EISDIR)
  package static let invalid = Errno(rawValue: EINVAL)
  package static let fileTooLarge = Errno(rawValue: EFBIG)
  package static let noSpace = Errno(rawValue: ENOSPC)
  package static let readOnly = Errno(rawValue: EROFS)
  package static let range = Errno(rawValue: ERANGE)
  package static let nameTooLong = Errno(rawValue: ENAMETOOLONG)
  package static let notEmpty = Errno(rawValue: ENOTEMPTY)
  package static let illegalSequence = Errno(rawValue: EILSEQ)
  package static let noData = Errno(rawValue: ENODATA)
  package static let notSupported = Errno(rawValue: EOPNOTSUPP)
  /// "Structure needs cleaning": the hive is damaged at this place.
  package static let unclean = Errno(rawValue: EUCLEAN)
  package static let noMemory = Errno(rawValue: ENOMEM)
  package static let busy = Errno(rawValue: EBUSY)
  /// The kernel looks the name up again.
  package static let stale = Errno(rawValue: ESTALE)
}

extension Errno {
  package init(_ status: NTStatus) {
    switch status {
    case .objectNameNotFound: self = .noEntry
    // Somebody else deleted the key while this caller had it open: for him the name is gone.
    case .keyDeleted: self = .noEntry
    case .objectNameCollision: self = .exists
    case .objectNameInvalid, .invalidParameter: self = .invalid
    case .nameTooLong: self = .nameTooLong
    case .cannotDelete: self = .notEmpty
    case .mediaWriteProtected: self = .readOnly
    case .diskFull, .registryQuotaLimit: self = .noSpace
    case .notSameDevice: self = .crossDevice
    case .privilegeNotHeld: self = .notPermitted
    case .sharingViolation: self = .busy
    case .insufficientResources: self = .noMemory
    case .registryCorrupt: self = .unclean
    case .registryIOFailed: self = .io
    // Access denied, and whatever else a callback refused with.
    default: self = .accessDenied
    }
  }
}
