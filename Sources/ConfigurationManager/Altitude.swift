/// Where a callback stands in the stack: a decimal number of any length, also with a fraction, compared as a number.
package struct Altitude: Hashable, Comparable, Sendable, CustomStringConvertible {
  package let description: String
  /// Without leading zeros; `fraction` without trailing ones, so that equal numbers are equal values.
  private let whole: [UInt8]
  private let fraction: [UInt8]

  /// Nil for anything but digits with at most one point among them.
  package init?(_ text: String) {
    let parts = text.utf8.split(separator: 0x2E, maxSplits: 2, omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), parts.allSatisfy({ !$0.isEmpty && $0.allSatisfy { (0x30...0x39).contains($0) } })
    else { return nil }
    whole = Array(parts[0].drop { $0 == 0x30 })
    var tail = parts.count == 2 ? Array(parts[1]) : []
    while tail.last == 0x30 { tail.removeLast() }
    fraction = tail
    description = text
  }

  package static func == (a: Altitude, b: Altitude) -> Bool { a.whole == b.whole && a.fraction == b.fraction }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(whole)
    hasher.combine(fraction)
  }

  package static func < (a: Altitude, b: Altitude) -> Bool {
    if a.whole.count != b.whole.count { return a.whole.count < b.whole.count }
    if a.whole != b.whole { return a.whole.lexicographicallyPrecedes(b.whole) }
    return a.fraction.lexicographicallyPrecedes(b.fraction)
  }
}
