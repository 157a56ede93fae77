/// The bounds of the notification queue (wdfilter.md 5).
package struct QueuePolicy: Hashable, Sendable {
  /// Events; a full queue drops its oldest.
  package var size = 16384
  /// High ones in a row after which a normal one gets its turn.
  package var starvationLimit = 8

  package init() {}
}
