internal import Synchronization

/// A node that stands beside the registry's own and leads to a key, or shows it in another way.
enum Alias: Sendable {
  /// `CurrentControlSet` in the root of a SYSTEM hive.
  case currentControlSet
  /// The directory of a key in a view, by its place in `ControlView.all`.
  case directory(view: Int)
  /// The file of a key there.
  case file(view: Int, ViewSize)

  /// Tells apart what a key has of them.
  var number: UInt64 {
    switch self {
    case .currentControlSet: 0
    case .directory(let view): UInt64(2 * view + 1)
    case .file(let view, _): UInt64(2 * view + 2)
    }
  }
}

/// How long the file of a view is, bytes: as it was made last.
final class ViewSize: Sendable {
  private let bytes = Atomic(0)

  var value: Int { bytes.load(ordering: .relaxed) }

  func note(_ size: Int) { bytes.store(size, ordering: .relaxed) }
}
