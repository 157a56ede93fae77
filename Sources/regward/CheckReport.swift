internal import Glibc
internal import HiveStorage

/// What a check has to say, on standard output: lines for people, or objects of JSON.
struct CheckReport {
  let hive: String
  let isJSON: Bool

  func tell(_ recovery: Recovery) {
    if isJSON {
      write(
        JSONValue.object([
          "recovered": .text(recovery.cause), "logs": .list(recovery.logs.map { .text($0.description) }),
        ]).json)
    } else {
      write("\(hive): dirty (\(recovery.cause)); checked as its logs make it")
    }
  }

  /// `counts` of what was seen, in that order.
  func tell(_ findings: [HiveFinding], counts: KeyValuePairs<String, Int>) {
    for finding in findings {
      write(isJSON ? Self.json(finding) : "\(hive): \(finding)")
    }
    if isJSON {
      let seen = counts.map { JSONValue.Member(name: $0.key, value: .count($0.value)) }
      write(JSONValue.object([JSONValue.Member(name: "findings", value: .count(findings.count))] + seen).json)
    } else {
      let seen = counts.map { ", \($0.value) \($0.key)" }.joined()
      let found = findings.count == 1 ? "1 finding" : "\(findings.count) findings"
      write("\(hive): \(findings.isEmpty ? "clean" : found)\(seen)")
    }
  }

  private static func json(_ finding: HiveFinding) -> String {
    JSONValue.object([
      "rule": .text(finding.rule.rawValue), "structure": .text(finding.structure), "offset": .count(finding.offset),
      "problem": .text(finding.problem),
    ]).json
  }

  private func write(_ line: String) { Console.write(Array((line + "\n").utf8), to: STDOUT_FILENO) }
}
