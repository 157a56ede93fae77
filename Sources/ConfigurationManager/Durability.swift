/// When a change survives power loss (`-o sync=`). The daemon's end it survives as soon as its system call returns.
package enum Durability: String, CaseIterable, Sendable {
  /// When its system call returns.
  case operation = "op"
  /// With the next fsync, of anything in its hive.
  case fsync
  /// With the next flush to the primary file; fsync does nothing.
  case unmount
}
