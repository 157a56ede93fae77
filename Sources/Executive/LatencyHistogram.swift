internal import Synchronization

/// How often something took how long, in nanoseconds: counted in buckets of four to each power of two, so that a quantile is told
/// to within a quarter of itself. Written by any thread without waiting.
package final class LatencyHistogram: Sendable {
  /// Durations below 2^5 ns share the first bucket, those from 2^36 ns (69 s) on the last.
  private static let lowest = 5
  private static let highest = 36
  private static let bucketCount = 4 * (highest - lowest) + 2

  private let buckets = InlineArray<126, Atomic<UInt64>> { _ in Atomic(0) }
  private let total = Atomic<UInt64>(0)

  package init() {}

  package func record(nanoseconds: UInt64) {
    buckets[Self.bucket(of: nanoseconds)].wrappingAdd(1, ordering: .relaxed)
    total.wrappingAdd(nanoseconds, ordering: .relaxed)
  }

  /// The counts now. Taken while others write, it may miss what they are just writing.
  package var snapshot: Snapshot {
    Snapshot(
      counts: (0..<Self.bucketCount).map { buckets[$0].load(ordering: .relaxed) },
      sum: total.load(ordering: .relaxed))
  }

  private static func bucket(of nanoseconds: UInt64) -> Int {
    guard nanoseconds >= 1 << lowest else { return 0 }
    guard nanoseconds < 1 << highest else { return bucketCount - 1 }
    let exponent = 63 - nanoseconds.leadingZeroBitCount
    return 1 + 4 * (exponent - lowest) + Int(nanoseconds >> UInt64(exponent - 2) & 3)
  }

  /// The first duration, nanoseconds, that is not in the bucket any more; nil for the last.
  private static func bound(of bucket: Int) -> UInt64? {
    guard bucket < bucketCount - 1 else { return nil }
    return (UInt64(4 + bucket % 4) << UInt64(bucket / 4)) << UInt64(lowest - 2)
  }

  package struct Snapshot: Hashable, Sendable {
    private let counts: [UInt64]
    /// Of all durations, nanoseconds.
    package let sum: UInt64

    init(counts: [UInt64], sum: UInt64) {
      self.counts = counts
      self.sum = sum
    }

    package var count: UInt64 { counts.reduce(0, &+) }

    /// How many took less than `bound` nanoseconds, for each power of two in the histogram's range.
    package var cumulative: [(bound: UInt64, count: UInt64)] {
      var list: [(bound: UInt64, count: UInt64)] = []
      var sum: UInt64 = 0
      for (bucket, count) in counts.enumerated() {
        sum &+= count
        if bucket % 4 == 0, let bound = LatencyHistogram.bound(of: bucket) { list.append((bound, sum)) }
      }
      return list
    }

    /// The bound below which `fraction` of the durations lie, nanoseconds; nil when there are none. The last bucket has no bound
    /// and tells its beginning.
    package func quantile(_ fraction: Double) -> UInt64? {
      let count = count
      guard count > 0 else { return nil }
      let wanted = max(1, UInt64((Double(count) * min(1, max(0, fraction))).rounded(.up)))
      var sum: UInt64 = 0
      for (bucket, count) in counts.enumerated() {
        sum &+= count
        if sum >= wanted { return LatencyHistogram.bound(of: bucket) ?? 1 << UInt64(LatencyHistogram.highest) }
      }
      return nil
    }
  }
}
