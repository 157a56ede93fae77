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

  /// A cell that nothing refers to.
  func tell(_ orphan: CellIndex) {
    if isJSON {
      write(JSONValue.object(["orphan": .count(orphan.fileOffset)]).json)
    } else {
      write("\(hive): orphan: cell at file offset 0x\(String(orphan.fileOffset, radix: 16))")
    }
  }

  /// `counts` of what was seen, in that order.
  func tell(_ findings: [HiveFinding], counts: KeyValuePairs<String, Int>) {
    for finding in findings {
      if isJSON { write(Self.members(finding)) } else { write("\(hive): \(finding)") }
    }
    close(findings: findings.count, counts: counts.map { ($0.key, $0.value) })
  }

  /// What became of each finding in the hive that was written to `output`.
  func tell(_ rewritten: Hive.Rewritten, in output: String) {
    for repair in rewritten.repairs {
      if isJSON { write(Self.members(repair)) } else { write("\(hive): \(repair)") }
    }
    func count(_ isCounted: (HiveRepair.Action) -> Bool) -> Int { rewritten.repairs.count { isCounted($0.action) } }
    close(
      findings: rewritten.repairs.count,
      counts: [
        ("mended", count { $0 == .mended }), ("dropped", count { $0 == .dropped }),
        ("changed", count { if case .changed = $0 { true } else { false } }),
        ("keys", rewritten.keys), ("values", rewritten.values),
      ], output: output)
  }

  private func close(findings: Int, counts: [(name: String, count: Int)], output: String? = nil) {
    if isJSON {
      var members = [JSONValue.Member(name: "findings", value: .count(findings))]
      members += counts.map { JSONValue.Member(name: $0.name, value: .count($0.count)) }
      if let output { members.append(JSONValue.Member(name: "output", value: .text(output))) }
      write(members)
    } else {
      let found = findings == 0 ? "clean" : findings == 1 ? "1 finding" : "\(findings) findings"
      let seen = counts.map { ", \($0.count) \($0.name)" }.joined()
      write("\(hive): \(found)\(seen)\(output.map { ", in \($0)" } ?? "")")
    }
  }

  private static func members(_ finding: HiveFinding) -> [JSONValue.Member] {
    [
      JSONValue.Member(name: "rule", value: .text(finding.rule.rawValue)),
      JSONValue.Member(name: "structure", value: .text(finding.structure)),
      JSONValue.Member(name: "offset", value: .count(finding.offset)),
      JSONValue.Member(name: "problem", value: .text(finding.problem)),
    ] + (finding.key.map { [JSONValue.Member(name: "key", value: .text($0))] } ?? [])
  }

  private static func members(_ repair: HiveRepair) -> [JSONValue.Member] {
    let (action, form): (String, String?) =
      switch repair.action {
      case .dropped: ("dropped", nil)
      case .changed(let form): ("changed", form)
      case .mended: ("mended", nil)
      }
    return members(repair.finding) + [JSONValue.Member(name: "action", value: .text(action))]
      + (form.map { [JSONValue.Member(name: "form", value: .text($0))] } ?? [])
  }

  private func write(_ members: [JSONValue.Member]) { write(JSONValue.object(members).json) }

  private func write(_ line: String) { Console.write(Array((line + "\n").utf8), to: STDOUT_FILENO) }
}
