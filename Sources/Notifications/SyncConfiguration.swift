/// Whether an operation goes on.
package enum SyncVerdict: String, CaseIterable, Sendable {
  case allow, deny
}

/// How long the filter waits for the sync client, and what its silence means (wdfilter.md 5).
package struct SyncConfiguration: Hashable, Sendable {
  /// For one answer, milliseconds.
  package var timeout = 5000
  /// So many time-outs in a row, and nobody is asked for `retryAfter` milliseconds.
  package var timeoutsUntilPassThrough = 4
  package var retryAfter = 60_000
  /// What holds when no answer came: after a time-out, while nobody is asked, and when no client is there.
  package var onTimeout = SyncVerdict.allow

  /// The bounds within which a setting makes sense: those of the policy's `sync`.
  package static let timeoutRange = 1...600_000
  package static let timeoutsRange = 1...1000
  package static let retryRange = 1...86_400_000

  package init() {}
}

/// What is asked synchronously; the number is the driver's.
package enum SyncMessageType: Int, CaseIterable, Sendable {
  case registryEventSync = 2

  package var name: String {
    switch self {
    case .registryEventSync: "RegistryEventSync"
    }
  }
}

/// What came of asking, and so who decided.
package enum SyncOutcome: Hashable, Sendable {
  /// The client answered; one that does not decide always allows.
  case answered(SyncVerdict)
  case timedOut(SyncVerdict)
  /// Too many time-outs in a row: nobody is asked for a while.
  case passedThrough(SyncVerdict)
  /// No client is there, it went away, or it could not be told.
  case unattended(SyncVerdict)
  /// As many operations wait as may.
  case crowded(SyncVerdict)
  /// Nothing to ask: this process was answered for once, or is the client itself.
  case notAsked

  package var verdict: SyncVerdict {
    switch self {
    case .answered(let verdict), .timedOut(let verdict), .passedThrough(let verdict), .unattended(let verdict),
      .crowded(let verdict):
      verdict
    case .notAsked: .allow
    }
  }

  /// For events and people.
  package var reason: String {
    switch self {
    case .answered: "sync client"
    case .timedOut: "sync client: no answer in time"
    case .passedThrough: "sync client: not asked after too many time-outs"
    case .unattended: "sync client: none is connected"
    case .crowded: "sync client: too many operations wait for it"
    case .notAsked: "sync client: not asked"
    }
  }
}
