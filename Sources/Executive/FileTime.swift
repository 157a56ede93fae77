internal import Glibc

/// A point in time as Windows counts it: 100 ns units since 1601-01-01 00:00 UTC (FILETIME).
package struct FileTime: RawRepresentable, Hashable, Comparable, Sendable {
  package let rawValue: UInt64

  package init(rawValue: UInt64) { self.rawValue = rawValue }

  /// 100 ns units between 1601 and 1970.
  package static let unixEpoch: Int64 = 116_444_736_000_000_000

  /// Seconds since 1970 (negative before) and nanoseconds 0..<1_000_000_000, a multiple of 100.
  package var unixTime: (seconds: Int64, nanoseconds: Int64) {
    // Times past the year 30828 (top bit set) occur in damaged hives; they are clamped, not trapped on.
    let clamped = Int64(min(rawValue, UInt64(Int64.max)))
    let ticks = clamped - Self.unixEpoch
    let seconds = ticks >= 0 ? ticks / 10_000_000 : (ticks - 9_999_999) / 10_000_000
    return (seconds, (ticks - seconds * 10_000_000) * 100)
  }

  /// The time of a Unix time stamp; times before 1601 become 0, times past the format's end its end.
  package init(seconds: Int64, nanoseconds: Int64) {
    let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 10_000_000)
    if overflow {
      self.init(rawValue: seconds < 0 ? 0 : UInt64(Int64.max))
      return
    }
    let (ticks, over) = scaled.addingReportingOverflow(Self.unixEpoch + nanoseconds / 100)
    self.init(rawValue: over ? UInt64(Int64.max) : UInt64(max(0, ticks)))
  }

  package static func now() -> FileTime {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return FileTime(seconds: Int64(time.tv_sec), nanoseconds: Int64(time.tv_nsec))
  }

  package static func < (a: FileTime, b: FileTime) -> Bool { a.rawValue < b.rawValue }
}
