import Benchmark
import BenchmarkRules
import ConfigurationManager
import WdFilter

/// The cost of one decision when the caller is known. Goals: 400 ns at 10 rules, 1.5 µs at 100,000.
let benchmarks: @Sendable () -> Void = {
  let configuration = Benchmark.Configuration(
    metrics: [.wallClock], timeUnits: .nanoseconds, warmupIterations: 20, scalingFactor: .kilo,
    maxDuration: .milliseconds(1500), maxIterations: 1000)

  func measure(
    _ name: String, _ tree: @escaping @Sendable () throws -> RuleTree,
    _ operation: @escaping @Sendable (RuleTree) -> RegistryOperation, _ expected: Decision.Reason
  ) {
    Benchmark(name, configuration: configuration) { benchmark, tree in
      let rules = tree.rules
      let operation = operation(tree)
      let caller = tree.caller
      // A benchmark of the wrong thing is worse than none.
      precondition(rules.decide(operation) { caller }.reason == expected, "\(name) is not \(expected)")
      benchmark.startMeasurement()
      for _ in benchmark.scaledIterations {
        blackHole(rules.decide(operation) { caller }.verdict)
      }
    } setup: {
      try tree()
    }
  }

  for count in [10, 1000, 100_000] {
    let tree: @Sendable () throws -> RuleTree = { try RuleTree(count: count) }
    measure("\(count) rules: no rule touches the name", tree, \.untouched, .untouched)
    measure("\(count) rules: match only", tree, \.matchedOnly, .untouched)
    measure("\(count) rules: one rule watches", tree, \.watched, .watched)
    measure("\(count) rules: set value refused", tree, \.refused, .denied)
    measure("\(count) rules: hardened key", tree, \.hardened, .hardened)
  }
  for count in [10, 1000, 100_000] {
    Benchmark("\(count) rules: another rule each time", configuration: configuration) { benchmark, tree in
      let rules = tree.rules
      let operations = tree.scattered
      let caller = tree.caller
      var next = 0
      benchmark.startMeasurement()
      for _ in benchmark.scaledIterations {
        blackHole(rules.decide(operations[next]) { caller }.reason)
        next = next + 1 < operations.count ? next + 1 : 0
      }
    } setup: {
      try RuleTree(count: count)
    }
  }
  for count in [10, 1000] {
    measure(
      "\(count) rules with **: match only", { try RuleTree(wildcards: count) }, \.belowWildcards, .untouched)
  }
  CallerCost.measure(configuration)
}
