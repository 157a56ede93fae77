/// A value as a rule's text has it.
package enum SigmaScalar: Hashable, Sendable {
  case null
  case text(String)
}

/// One line of a detection, `FIELD|MODIFIER…: VALUES`: one of the values holds of the field, or with `all` every one.
package struct SigmaItem: Sendable {
  let field: SigmaField
  private let tests: [Test]
  private let needsAll: Bool

  private enum Test: Sendable {
    case absence
    case existence
    case pattern(SigmaPattern)
    case regex(SigmaRegex)
  }

  /// `key` is the field with its modifiers.
  package init(key: String, values: [SigmaScalar]) throws(SigmaProblem) {
    let parts = key.split(separator: "|", omittingEmptySubsequences: false).map { String($0) }
    guard let field = SigmaField(rawValue: parts[0]) else {
      let known = SigmaField.all.map(\.rawValue).joined(separator: ", ")
      throw SigmaProblem(parts[0].isEmpty ? "keywords are not supported: name a field" : "the field '\(parts[0])' is not supported; known: \(known)")
    }
    let modifiers = try Modifiers(parts.dropFirst())
    guard !values.isEmpty else { throw SigmaProblem("'\(key)' has no value") }
    self.field = field
    needsAll = modifiers.needsAll
    var tests: [Test] = []
    for value in values { tests.append(try Self.test(value, modifiers, key)) }
    self.tests = tests
  }

  private static func test(_ value: SigmaScalar, _ modifiers: Modifiers, _ key: String) throws(SigmaProblem) -> Test {
    switch (value, modifiers.kind) {
    case (.text(let text), .exists):
      switch text {
      case "true": return .existence
      case "false": return .absence
      default: throw SigmaProblem("'\(key)' is true or false")
      }
    case (.text(let text), .regex): return .regex(try SigmaRegex(text, ignoringCase: modifiers.ignoresCase, modifiers.dot, modifiers.lines))
    case (.text(let text), .pattern(let reach)): return .pattern(SigmaPattern(text, reach: reach, isCased: modifiers.isCased))
    case (.null, .pattern(.whole)): return .absence
    case (.null, _): throw SigmaProblem("'\(key)' goes with a text, not with null")
    }
  }

  /// Whether it holds; nil: that rests on a field which is not there yet.
  func matches(_ event: SigmaEvent) -> Bool? {
    switch event[field] {
    case .pending: return nil
    case .unknown: return false
    case .absent: return satisfies { if case .absence = $0 { true } else { false } }
    case .text(let text):
      return satisfies { test in
        switch test {
        case .absence: false
        case .existence: true
        case .pattern(let pattern): pattern.matches(text)
        case .regex(let regex): regex.matches(text)
        }
      }
    }
  }

  private func satisfies(_ holds: (Test) -> Bool) -> Bool { needsAll ? tests.allSatisfy(holds) : tests.contains(where: holds) }

  /// What stands behind the field.
  private struct Modifiers {
    enum Kind { case pattern(SigmaPattern.Reach), regex, exists }
    private(set) var kind = Kind.pattern(.whole)
    private(set) var needsAll = false
    private(set) var isCased = false
    private(set) var ignoresCase = false
    private(set) var lines = SigmaRegex.Lines.one
    private(set) var dot = SigmaRegex.Dot.butLineEnd

    init(_ names: some Sequence<String>) throws(SigmaProblem) {
      var isPlain = true
      for name in names {
        let isRegex = if case .regex = kind { true } else { false }
        switch name {
        case "all": needsAll = true
        case "cased": isCased = true
        case "contains" where isPlain: kind = .pattern(.contains)
        case "startswith" where isPlain: kind = .pattern(.startsWith)
        case "endswith" where isPlain: kind = .pattern(.endsWith)
        case "re" where isPlain: kind = .regex
        case "exists" where isPlain: kind = .exists
        case "i" where isRegex: ignoresCase = true
        case "m" where isRegex: lines = .several
        case "s" where isRegex: dot = .anything
        case "contains", "startswith", "endswith", "re", "exists":
          throw SigmaProblem("the modifier '\(name)' does not go with the one before it")
        default: throw SigmaProblem("the modifier '\(name)' is not supported")
        }
        if !["all", "cased"].contains(name) { isPlain = false }
      }
      if isCased, case .pattern = kind { return }
      if isCased { throw SigmaProblem("the modifier 'cased' goes with texts only") }
    }
  }
}

/// One search of a detection: one of its maps holds, and a map holds with all its items.
package struct SigmaSearch: Sendable {
  private let alternatives: [[SigmaItem]]

  package init(alternatives: [[SigmaItem]]) {
    self.alternatives = alternatives.map { $0.sorted { $0.field.place < $1.field.place } }
  }

  func matches(_ event: SigmaEvent) -> Bool? {
    alternatives.lazy.map { items in items.lazy.map { $0.matches(event) }.conjunction }.disjunction
  }
}

extension Sequence<Bool?> {
  /// Kleene's *and*: nil where it rests on what is not known yet.
  var conjunction: Bool? {
    var isKnown = true
    for element in self {
      if element == false { return false }
      if element == nil { isKnown = false }
    }
    return isKnown ? true : nil
  }

  /// Kleene's *or*.
  var disjunction: Bool? {
    var isKnown = true
    for element in self {
      if element == true { return true }
      if element == nil { isKnown = false }
    }
    return isKnown ? false : nil
  }
}
