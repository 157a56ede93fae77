package import Executive

/// Which of some patterns match a key at all, for hives whose keys are told one after another.
package struct PatternUse {
  private let matcher: RuleMatcher
  private var isUsed: [Bool]
  private static let everyBit = RuleBits(rawValue: .max)

  package init(_ patterns: [KeyPattern]) {
    isUsed = [Bool](repeating: false, count: patterns.count)
    matcher = RuleMatcher(
      zip(Int32(0)..., patterns).map { index, pattern in
        RuleMatcher.Entry(
          pattern: pattern,
          key: RulePayload(
            kind: .monitored, rule: index, bits: Self.everyBit, isAudited: false,
            hash: RuleHash(ruleID: "", rules: [], valueName: nil)))
      })
  }

  /// There is a key of this complete name.
  package mutating func note(_ completeName: UnicodeName) {
    var match = RuleMatch()
    matcher.match(completeName, .key, wanted: Self.everyBit, into: &match)
    for hit in match.hits { isUsed[Int(matcher.payloads[Int(hit)].rule)] = true }
  }

  /// The places of the patterns that matched nothing.
  package var unused: [Int] { isUsed.indices.filter { !isUsed[$0] } }
}
