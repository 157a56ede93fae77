/// How bad it is what a rule finds, in its author's opinion.
package enum SigmaLevel: String, CaseIterable, Comparable, Sendable {
  case informational, low, medium, high, critical

  /// Counted from 1 (OCSF's severity_id).
  package var rank: Int { (Self.allCases.firstIndex(of: self) ?? 0) + 1 }

  package static func < (a: SigmaLevel, b: SigmaLevel) -> Bool { a.rank < b.rank }
}

/// One Sigma rule about the registry, compiled.
package final class SigmaRule: Sendable {
  package let id: String
  package let title: String
  package let level: SigmaLevel?
  package let tags: [String]
  /// Where it is written.
  package let file: String
  package let line: Int
  let operations: [SigmaOperation]
  private let searches: [SigmaSearch]
  private let conditions: [SigmaCondition]

  /// One of the conditions is enough.
  package init(
    id: String, title: String, level: SigmaLevel? = nil, tags: [String] = [], category: SigmaCategory, searches: [SigmaSearch],
    conditions: [SigmaCondition], file: String, line: Int
  ) {
    self.id = id
    self.title = title
    self.level = level
    self.tags = tags
    operations = category.operations
    self.searches = searches
    self.conditions = conditions
    self.file = file
    self.line = line
  }

  package var source: String { "\(file):\(line)" }

  /// `T1547.001` for the tag `attack.t1547.001`: techniques of MITRE ATT&CK.
  package var techniques: [String] {
    tags.compactMap { tag in
      let name = tag.uppercased()
      guard name.hasPrefix("ATTACK.T") else { return nil }
      let technique = name.dropFirst(7)
      let numbers = technique.dropFirst().split(separator: ".", omittingEmptySubsequences: false)
      let isNumbered = numbers.allSatisfy { !$0.isEmpty && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }
      return (1...2).contains(numbers.count) && isNumbered ? String(technique) : nil
    }
  }

  /// Whether it fires; nil: that rests on what is not there yet. For events of its operations.
  func matches(_ event: SigmaEvent) -> Bool? { conditions.lazy.map { $0.matches(event, self.searches) }.disjunction }
}

/// Rules by the operations that they are about; never changed, only replaced whole.
package final class SigmaRuleSet: Sendable {
  package let rules: [SigmaRule]
  /// Places in `rules`, for each operation.
  private let places: [SigmaOperation: [Int]]

  package init(_ rules: [SigmaRule]) {
    self.rules = rules
    var places: [SigmaOperation: [Int]] = [:]
    for (place, rule) in rules.enumerated() {
      for operation in rule.operations { places[operation, default: []].append(place) }
    }
    self.places = places
  }

  /// Some rule is about it.
  package func asksFor(_ operation: SigmaOperation) -> Bool { places[operation] != nil }

  /// The rules that fire, in their order.
  package func matches(_ event: SigmaEvent) -> [SigmaRule] {
    (places[event.operation] ?? []).lazy.map { self.rules[$0] }.filter { $0.matches(event) == true }
  }

  /// The place of the first rule that fires; and of the first whose firing rests on what is not there yet.
  package func firstMatch(_ event: SigmaEvent) -> (certain: Int?, pending: Int?) {
    var pending: Int?
    for place in places[event.operation] ?? [] {
      switch rules[place].matches(event) {
      case true?: return (place, pending)
      case false?: break
      case nil: pending = pending ?? place
      }
    }
    return (nil, pending)
  }
}
