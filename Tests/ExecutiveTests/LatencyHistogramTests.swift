import Executive
import Testing

@Suite("Latency histogram")
struct LatencyHistogramTests {
  @Test func everyDurationLiesInItsBucket() {
    for exponent in 5..<36 {
      for quarter in 0..<4 {
        let low = UInt64(4 + quarter) << UInt64(exponent - 2)
        let high = UInt64(5 + quarter) << UInt64(exponent - 2)
        for nanoseconds in [low, high - 1] {
          let histogram = LatencyHistogram()
          histogram.record(nanoseconds: nanoseconds)
          #expect(histogram.snapshot.quantile(0.5) == high, "\(nanoseconds)")
        }
      }
    }
  }

  @Test func theEndsTakeWhatIsBeyondThem() {
    let histogram = LatencyHistogram()
    histogram.record(nanoseconds: 0)
    histogram.record(nanoseconds: 31)
    #expect(histogram.snapshot.quantile(1) == 32)
    histogram.record(nanoseconds: 1 << 36)
    histogram.record(nanoseconds: .max / 2)
    #expect(histogram.snapshot.quantile(1) == 1 << 36)
    #expect(histogram.snapshot.count == 4)
  }

  @Test func quantilesAndCumulativeCounts() {
    let histogram = LatencyHistogram()
    #expect(histogram.snapshot.quantile(0.5) == nil)
    for _ in 0..<90 { histogram.record(nanoseconds: 100) }
    for _ in 0..<10 { histogram.record(nanoseconds: 5000) }
    let snapshot = histogram.snapshot
    #expect(snapshot.sum == 90 * 100 + 10 * 5000)
    #expect(snapshot.quantile(0.5) == 112)
    #expect(snapshot.quantile(0.9) == 112)
    #expect(snapshot.quantile(0.91) == 5120)
    let cumulative = snapshot.cumulative
    #expect(cumulative.map(\.bound) == (5...36).map { UInt64(1) << UInt64($0) })
    #expect(cumulative.first { $0.bound == 64 }?.count == 0)
    #expect(cumulative.first { $0.bound == 128 }?.count == 90)
    #expect(cumulative.first { $0.bound == 4096 }?.count == 90)
    #expect(cumulative.last?.count == 100)
  }
}
