/// How large a log becomes before something is done about it, in bytes.
package struct LogLimits: Sendable {
  /// A reconcile is due.
  package let due: Int
  /// Who changes the hive does the reconcile himself.
  package let crowded: Int
  /// No change begins: the hive's file cannot be written for some reason.
  package let largest: Int

  package init(due: Int = 16 << 20, crowded: Int = 256 << 20, largest: Int = 1 << 30) {
    self.due = due
    self.crowded = crowded
    self.largest = largest
  }
}
