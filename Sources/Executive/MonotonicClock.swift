internal import Glibc

/// Time that only goes forward, for measuring and for deadlines.
package enum MonotonicClock {
  /// Nanoseconds since some fixed moment.
  package static func nanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(max(0, time.tv_sec)) &* 1_000_000_000 &+ UInt64(max(0, time.tv_nsec))
  }
}
