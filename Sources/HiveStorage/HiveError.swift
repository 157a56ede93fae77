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
  /// The device failed, with its errno.
  case device(operation: String, name: String, errno: Int32)
  case keyNotFound
  case nameCollision
  /// The key still has subkeys, or is the root.
  case cannotDelete
  case readOnly
}
