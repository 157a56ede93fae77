/// What somebody else did to the file of a hive that is open.
package enum OutsideChange: Hashable, Sendable {
  /// The name is gone.
  case removed
  /// Another file has the name.
  case replaced
  /// Bytes.
  case size(old: Int, new: Int)
  /// The base block's first sector is not the one that we know.
  case baseBlock
  case written
  /// Owner, permissions, links, or contents and then the old time of writing again.
  case attributes
}

extension OutsideChange: CustomStringConvertible {
  package var description: String {
    switch self {
    case .removed: "it was removed or renamed"
    case .replaced: "another file has its name"
    case .size(let old, let new): "it had \(old) bytes and has \(new)"
    case .baseBlock: "its base block was written"
    case .written: "it was written"
    case .attributes: "its attributes and its contents were changed"
    }
  }
}
