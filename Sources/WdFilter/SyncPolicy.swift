/// How long a synchronous notification may hold its operation up (wdfilter.md 5).
package struct SyncPolicy: Hashable, Sendable {
  /// What silence means.
  package enum Silence: String, Sendable, CaseIterable { case allow, deny }

  package var timeoutMilliseconds: UInt32 = 5000
  /// Time-outs in a row after which nobody is asked for a while.
  package var timeoutsUntilPassThrough: UInt32 = 4
  package var retryAfterMilliseconds: UInt32 = 60000
  package var onTimeout = Silence.allow

  package init() {}
}

/// The bounds of the notification queue (wdfilter.md 5).
package struct QueuePolicy: Hashable, Sendable {
  /// Events; a full queue drops its oldest.
  package var size: UInt32 = 16384
  /// High ones in a row after which a normal one gets its turn.
  package var starvationLimit: UInt32 = 8

  package init() {}
}
