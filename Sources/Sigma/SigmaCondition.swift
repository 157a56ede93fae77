/// A detection's condition over its searches, which it knows by their places.
package indirect enum SigmaCondition: Sendable {
  case search(Int)
  case all([SigmaCondition])
  case any([SigmaCondition])
  case not(SigmaCondition)

  /// `names` are those of the searches, in their order. `not` binds more than `and`, and that more than `or`.
  package init(parsing text: String, names: [String]) throws(SigmaProblem) {
    var parser = Parser(tokens: Self.tokens(of: text)[...], names: names)
    self = try parser.alternatives(depth: 0)
    if let rest = parser.tokens.first {
      throw SigmaProblem(rest == "|" ? "aggregations are not supported: '|'" : "'\(rest)' is not expected in the condition")
    }
  }

  func matches(_ event: SigmaEvent, _ searches: [SigmaSearch]) -> Bool? {
    switch self {
    case .search(let place): searches[place].matches(event)
    case .all(let parts): parts.lazy.map { $0.matches(event, searches) }.conjunction
    case .any(let parts): parts.lazy.map { $0.matches(event, searches) }.disjunction
    case .not(let part): part.matches(event, searches).map { !$0 }
    }
  }

  private static func tokens(of text: String) -> [String] {
    var tokens: [String] = []
    var word = ""
    func end() {
      if !word.isEmpty { tokens.append(word) }
      word = ""
    }
    for character in text {
      if character.isWhitespace {
        end()
      } else if character == "(" || character == ")" || character == "|" {
        end()
        tokens.append(String(character))
      } else {
        word.append(character)
      }
    }
    end()
    return tokens
  }

  private struct Parser {
    /// Parentheses and negations within each other; nobody needs more, and each is a call.
    static let deepest = 64

    var tokens: ArraySlice<String>
    let names: [String]

    /// Words of the condition are no names, in any case.
    private mutating func takes(_ word: String) -> Bool {
      guard tokens.first?.lowercased() == word else { return false }
      tokens.removeFirst()
      return true
    }

    mutating func alternatives(depth: Int) throws(SigmaProblem) -> SigmaCondition {
      guard depth < Self.deepest else { throw SigmaProblem("the condition is nested more than \(Self.deepest) deep") }
      var parts = [try conjunction(depth)]
      while takes("or") { parts.append(try conjunction(depth)) }
      return parts.count == 1 ? parts[0] : .any(parts)
    }

    private mutating func conjunction(_ depth: Int) throws(SigmaProblem) -> SigmaCondition {
      var parts = [try negation(depth)]
      while takes("and") { parts.append(try negation(depth)) }
      return parts.count == 1 ? parts[0] : .all(parts)
    }

    private mutating func negation(_ depth: Int) throws(SigmaProblem) -> SigmaCondition {
      var isNegated = false
      while takes("not") { isNegated.toggle() }
      let part = try term(depth)
      return isNegated ? .not(part) : part
    }

    private mutating func term(_ depth: Int) throws(SigmaProblem) -> SigmaCondition {
      guard let token = tokens.popFirst() else { throw SigmaProblem("the condition ends where a search is expected") }
      if token == "(" {
        let inner = try alternatives(depth: depth + 1)
        guard takes(")") else { throw SigmaProblem("a ')' is missing in the condition") }
        return inner
      }
      if ["1", "any", "all"].contains(token.lowercased()), takes("of") {
        guard let pattern = tokens.popFirst() else { throw SigmaProblem("'\(token) of' nothing") }
        return try quantified(pattern, isAll: token.lowercased() == "all")
      }
      guard let place = names.firstIndex(of: token) else { throw SigmaProblem("the condition names '\(token)', which the detection has not") }
      return .search(place)
    }

    private func quantified(_ pattern: String, isAll: Bool) throws(SigmaProblem) -> SigmaCondition {
      let glob = SigmaPattern(pattern, isCased: true)
      let places = names.indices.filter {
        // What begins with an underscore is for those who name it.
        pattern.lowercased() == "them" ? !names[$0].hasPrefix("_") : glob.matches(SigmaText(names[$0]))
      }
      guard !places.isEmpty else { throw SigmaProblem("the condition asks for '\(pattern)', and no search is called so") }
      return isAll ? .all(places.map { .search($0) }) : .any(places.map { .search($0) })
    }
  }
}
