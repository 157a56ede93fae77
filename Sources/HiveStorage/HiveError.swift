internal import Glibc

/// Why a hive cannot be opened, read or changed.
package enum HiveError: Error, Hashable, Sendable {
  /// A structure does not hold: which ("key node", "value list"), where (offset in the file, bytes) and what is wrong.
  case damaged(structure: String, offset: Int, problem: String)
  /// Not a primary regf file, or of a version that nobody wrote.
  case notAHive(problem: String)
  /// Sequence numbers or checksum tell that a write was not finished; the logs would have to be replayed.
  case dirty(problem: String)
  /// A limit of the format: name, depth, data, count, hive size.
  case limit(problem: String)
  /// What the caller gave is not made as it must be: what ("security descriptor") and how it is wrong.
  case invalid(structure: String, problem: String)
  /// The device failed, with its errno.
  case device(operation: String, name: String, errno: Int32)
  /// Somebody else changed the file while the hive was open; what is in memory cannot be written over that.
  case changedOutside(name: String, change: OutsideChange)
  /// Another process has the hive open; `pid` is 0 when the system does not tell which.
  case locked(pid: Int32)
  case keyNotFound
  case nameCollision
  /// The key still has subkeys, or is the root.
  case cannotDelete
  case readOnly
  /// An earlier failure, given here, left it open what the disk holds: nothing is changed until a flush has succeeded.
  indirect case stopped(HiveError)
}

extension HiveError {
  /// The disk is full, or something like it: what was to be written did not get there, and everything else is as it was.
  package var isPassing: Bool {
    if case .device(_, _, let errno) = self { [ENOSPC, EDQUOT, EFBIG, EINTR].contains(errno) } else { false }
  }
}

extension HiveError {
  /// Where the damage is, in bytes from the start of the file; nil for what is no damage.
  package var damageOffset: Int? { if case .damaged(_, let offset, _) = self { offset } else { nil } }
}

extension HiveError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .damaged(let structure, let offset, let problem):
      "\(structure) at file offset 0x\(String(offset, radix: 16)): \(problem)"
    case .notAHive(let problem): "not a registry hive: \(problem)"
    case .dirty(let problem): "the hive is dirty: \(problem)"
    case .limit(let problem): "a limit of the hive format: \(problem)"
    case .invalid(let structure, let problem): "not a valid \(structure): \(problem)"
    case .device(let operation, let name, let errno): "\(operation) \(name): \(String(cString: strerror(errno)))"
    case .changedOutside(let name, let change):
      "\(name) was changed by somebody else while it was open: \(change); nothing was written"
    case .locked(let pid): "the hive is in use by process \(pid)"
    case .keyNotFound: "no such key or value"
    case .nameCollision: "the name is taken"
    case .cannotDelete: "the key has subkeys or is the root"
    case .readOnly: "the hive is open for reading only"
    case .stopped(let reason): "changes are refused until `regward flush` succeeds or the hive is mounted anew, because: \(reason)"
    }
  }
}
