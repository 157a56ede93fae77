internal import BenchmarkRules
internal import ConfigurationManager
internal import WdFilter

extension CostBenchmarks {
  /// What one decision costs when the caller is known.
  static var decisions: [() throws -> MeasuredCase] {
    func decide(
      _ rules: Int, _ kind: String, _ operation: @escaping (RuleTree) -> RegistryOperation, _ expected: Decision.Reason
    ) -> () throws -> MeasuredCase {
      {
        let tree = try RuleTree(count: rules)
        let (set, caller, operation) = (tree.rules, tree.caller, operation(tree))
        return try MeasuredCase("decide, \(rules) rules: \(kind)", count: 1000) { _ in
          let decision = set.decide(operation) { caller }
          precondition(decision.reason == expected)
        }
      }
    }
    let perSize = [10, 1000].flatMap { rules in
      [
        decide(rules, "no rule touches the name", \.untouched, .untouched),
        decide(rules, "match only", \.matchedOnly, .untouched),
        decide(rules, "watched", \.watched, .watched),
        decide(rules, "refused", \.refused, .denied),
        decide(rules, "hardened", \.hardened, .hardened),
      ]
    }
    return perSize + [
      {
        let tree = try RuleTree(count: 1000)
        let (set, caller, operations) = (tree.rules, tree.caller, tree.scattered)
        return try MeasuredCase("decide, 1000 rules: another each time", count: 1000) { number in
          use(set.decide(operations[number % operations.count]) { caller }.reason)
        }
      },
      {
        let tree = try RuleTree(wildcards: 1000)
        let (set, caller, operation) = (tree.rules, tree.caller, tree.belowWildcards)
        return try MeasuredCase("decide, 1000 rules with **", count: 1000) { _ in
          let decision = set.decide(operation) { caller }
          precondition(decision.reason == .untouched)
        }
      },
    ]
  }
}
