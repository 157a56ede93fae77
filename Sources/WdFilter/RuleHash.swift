internal import Executive

/// The 16 bytes that a rule's author chose and gets back with each event (ValueHash).
package struct RuleHash: Hashable, Sendable {
  private let high: UInt64
  private let low: UInt64

  private init(_ bytes: ArraySlice<UInt8>) {
    high = bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    low = bytes.dropFirst(8).prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// 32 hexadecimal digits; nil for anything else.
  package init?(hexadecimal text: String) {
    let digits = text.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
    guard digits.count == 32, text.utf8.count == 32 else { return nil }
    self.init(stride(from: 0, to: 32, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }[...])
  }

  /// The hash of a rule whose author chose none: it stays the same while the rule does.
  package init(ruleID: String, rules: RuleBits, valueName: String?) {
    var hash = SHA256()
    hash.update(Array("\(ruleID)\n\(rules.rawValue)\n\(valueName.map { "=" + $0 } ?? "")".utf8))
    self.init(hash.digest()[...])
  }

  package var hexadecimal: String {
    [high, low].map { word in
      let digits = String(word, radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
  }
}
