internal import Executive

/// A value of a rule with Sigma's wildcards: `*` is any number of UTF-16 units, `?` one. A backslash takes the meaning from a wildcard
/// or a backslash behind it, and is itself anywhere else.
///
/// The work is at most the product of the lengths, whatever the pattern and the text.
struct SigmaPattern: Sendable {
  /// What a value may stand for beyond the whole text (modifiers `contains`, `startswith`, `endswith`).
  enum Reach: Sendable { case whole, contains, startsWith, endsWith }

  /// One unit, or any (nil).
  private typealias Segment = [UInt16?]

  /// What stands between the stars; the first begins the text and the last ends it.
  private let segments: [Segment]
  private let isCased: Bool

  init(_ value: String, reach: Reach = .whole, isCased: Bool = false) {
    self.isCased = isCased
    var segments: [Segment] = reach == .contains || reach == .endsWith ? [[], []] : [[]]
    var units = value.utf16.makeIterator()
    var isEscaped = false
    func append(_ unit: UInt16?) {
      segments[segments.count - 1].append(isCased ? unit : unit.map(UpcaseTable.upcase))
    }
    while let unit = units.next() {
      let isSpecial = unit == UInt16(ascii: "*") || unit == UInt16(ascii: "?") || unit == UInt16(ascii: "\\")
      if isEscaped {
        if !isSpecial { append(UInt16(ascii: "\\")) }
        append(unit)
        isEscaped = false
      } else if unit == UInt16(ascii: "\\") {
        isEscaped = true
      } else if unit == UInt16(ascii: "*") {
        segments.append([])
      } else {
        append(unit == UInt16(ascii: "?") ? nil : unit)
      }
    }
    if isEscaped { append(UInt16(ascii: "\\")) }
    if reach == .contains || reach == .startsWith { segments.append([]) }
    self.segments = segments
  }

  func matches(_ text: SigmaText) -> Bool {
    let units = isCased ? text.units : text.upcased
    guard let first = segments.first, let last = segments.last else { return false }
    if segments.count == 1 { return units.count == first.count && Self.stands(first, at: 0, in: units) }
    let end = units.count - last.count
    guard end >= first.count, Self.stands(first, at: 0, in: units), Self.stands(last, at: end, in: units) else { return false }
    var position = first.count
    for segment in segments.dropFirst().dropLast() {
      while position + segment.count <= end, !Self.stands(segment, at: position, in: units) { position += 1 }
      guard position + segment.count <= end else { return false }
      position += segment.count
    }
    return true
  }

  private static func stands(_ segment: Segment, at position: Int, in units: [UInt16]) -> Bool {
    for offset in segment.indices {
      if let unit = segment[offset], unit != units[position + offset] { return false }
    }
    return true
  }
}

extension UInt16 {
  init(ascii scalar: Unicode.Scalar) { self = UInt16(truncatingIfNeeded: scalar.value) }
}
