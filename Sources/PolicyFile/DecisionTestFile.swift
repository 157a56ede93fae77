internal import Glibc
package import WdFilter
internal import Yams

/// One line of a table of decisions: who does what, and what is to come of it.
package struct DecisionTest: Sendable {
  package enum Expectation: String, Sendable, CaseIterable { case allow, deny, audit }

  /// As `regward rules explain` takes them: `exe=/usr/bin/x,uid=0`, `set`, `HKLM\SYSTEM\…`.
  package let process: String
  package let operation: String
  package let key: String
  package let value: String?
  package let newName: String?
  package let expected: Expectation
  /// The rule that is to decide; nil: any, or none.
  package let ruleID: String?
  package let source: RuleSource

  /// What came is what was expected.
  package func isMet(by decision: Decision) -> Bool {
    let outcome: Expectation = decision.verdict == .deny ? .deny : decision.isAudited ? .audit : .allow
    return outcome == expected && (ruleID == nil || decision.ruleIDs.first == ruleID)
  }
}

/// A table of decisions in YAML: a list of {as, op, key, value, to, expect, rule}, by itself or under `tests` with the `policy`
/// that it is about.
package struct DecisionTestFile: Sendable {
  /// Relative to the table.
  package let policy: String?
  package let tests: [DecisionTest]

  package static func load(path: String) throws(PolicyError) -> DecisionTestFile {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else {
      let message = "cannot open it: \(String(cString: strerror(errno)))"
      throw PolicyError(
        problems: [PolicyProblem(severity: .error, file: path, line: 0, column: 0, message: message)])
    }
    defer { close(file) }
    return try parse(text: PolicyFile.text(of: file, path), fileName: path)
  }

  package static func parse(text: String, fileName: String) throws(PolicyError) -> DecisionTestFile {
    var reader = PolicyReader(fileName: fileName)
    let table = reader.decisionTests(text)
    guard let table, reader.problems.isEmpty else { throw PolicyError(problems: reader.problems) }
    return table
  }
}

extension PolicyReader {
  fileprivate mutating func decisionTests(_ text: String) -> DecisionTestFile? {
    guard let root = compose(text, "the table is empty: a list of tests expected") else { return nil }
    if root.sequence != nil { return DecisionTestFile(policy: nil, tests: list(root) { $0.decisionTest($1) }) }
    guard let document = mapping(root, "a table of decisions", known: ["policy", "tests"]) else { return nil }
    if document["tests"] == nil { error(root, "'tests' is missing") }
    return DecisionTestFile(
      policy: document["policy"].flatMap { self.text($0) }, tests: list(document["tests"]) { $0.decisionTest($1) })
  }

  private mutating func decisionTest(_ node: Node) -> DecisionTest? {
    let names = ["as", "op", "key", "value", "to", "expect", "rule"]
    guard let entry = mapping(node, "a test", known: names) else { return nil }
    for name in ["as", "op", "key", "expect"] where entry[name] == nil { error(node, "'\(name)' is missing") }
    guard let process = entry["as"].flatMap({ text($0) }), let operation = entry["op"].flatMap({ text($0) }),
      let key = entry["key"].flatMap({ text($0) }),
      let expected = entry["expect"].flatMap({ choice($0, DecisionTest.Expectation.self) })
    else { return nil }
    return DecisionTest(
      process: process, operation: operation, key: key, value: entry["value"].flatMap { text($0) },
      newName: entry["to"].flatMap { text($0) }, expected: expected, ruleID: entry["rule"].flatMap { text($0) },
      source: source(node))
  }
}
