package import Executive
internal import Synchronization

/// What came of one judgement, as it is counted.
package enum DecisionOutcome: Int, CaseIterable, Sendable {
  /// No rule says anything.
  case untouched
  case watched
  /// Would have been refused, were the process not exempt.
  case exempt
  /// Would have been refused, were the rule not in audit mode.
  case audited
  case refused
  /// Let go by every rule, and refused by the sync client or for want of its answer.
  case refusedBySyncClient

  package var name: String {
    switch self {
    case .untouched: "untouched"
    case .watched: "watched"
    case .exempt: "exempt"
    case .audited: "audited"
    case .refused: "refused"
    case .refusedBySyncClient: "refused_sync"
    }
  }
}

/// What the filter has decided since the mount, and how long it took.
package final class FilterCounters: Sendable {
  /// One in so many decisions is timed, per class: asking the clock twice costs 65 ns, a good part of what is to be measured.
  package static let timedShare: UInt64 = 64

  /// By class, then outcome. One relaxed add per decision, measured: 8 ns, and 16 where two processors count the same thing.
  /// Counters of each thread's own would save that, and cost a look for the thread.
  private let decisions = InlineArray<306, Atomic<UInt64>> { _ in Atomic(0) }
  /// Finding the rules and deciding, without learning who asks; sampled.
  package let matchTime = LatencyHistogram()
  /// Learning who asks; each time, for that is when a rule has matched.
  package let lookupTime = LatencyHistogram()

  private static let outcomes = DecisionOutcome.allCases.count

  package init() {}

  /// Counts one decision of a pre class.
  func count(_ preClass: NotifyClass, _ outcome: DecisionOutcome) {
    decisions[Int(preClass.rawValue) * Self.outcomes + outcome.rawValue].wrappingAdd(1, ordering: .relaxed)
  }

  /// Whether the next decision of the class is one of those that are timed.
  func isTimed(_ preClass: NotifyClass) -> Bool {
    let untouched = decisions[Int(preClass.rawValue) * Self.outcomes].load(ordering: .relaxed)
    return untouched % Self.timedShare == 0
  }

  package func count(of preClass: NotifyClass, _ outcome: DecisionOutcome) -> UInt64 {
    decisions[Int(preClass.rawValue) * Self.outcomes + outcome.rawValue].load(ordering: .relaxed)
  }

  /// Of all classes.
  package func count(of outcome: DecisionOutcome) -> UInt64 {
    NotifyClass.allCases.reduce(0) { $0 &+ count(of: $1, outcome) }
  }

  /// The classes that the filter judges, in the order of its table.
  package static var classes: [NotifyClass] { FilteredClass.table.map(\.pre) }
}
