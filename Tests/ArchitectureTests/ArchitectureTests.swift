import Testing

@Suite struct ArchitectureTests {
  @Test(arguments: HouseRule.all)
  func everySourceFileKeeps(rule: HouseRule) {
    #expect(SourceFile.all.flatMap { rule.violations($0) } == [])
  }

  @Test func theSourcesAreFound() {
    #expect(Set(SourceFile.all.map(\.target)).isSuperset(of: ["Executive", "HiveStorage", "Notifications", "regward"]))
  }

  /// A rule that sees nothing passes always: each must see what it forbids, and leave alone what only looks like it.
  @Test(arguments: [
    ("Executive", "package import HiveStorage", true), ("Executive", "import struct Foundation.Data", true),
    ("HiveStorage", "@preconcurrency internal import Foundation", true), ("HiveStorage", "import Executive", false),
    ("FUSEServer", "internal import HiveStorage", true), ("PolicyFile", "internal import Foundation", false),
    ("Unknown", "", true), ("regward", "import FUSEServer", false),
    ("Executive", "// import HiveStorage", false),
    ("WdFilter", "actor Judge {}", true), ("WdFilter", "  final actor Judge {}", true), ("WdFilter", "let actor = 1", false),
    ("WdFilter", "func f() async {", true), ("WdFilter", "Task { f() }", true), ("WdFilter", "Task.detached {", true),
    ("WdFilter", "struct TaskList {}", false), ("regward", "func f() async {", false),
    ("WdFilter", "/* async */ f()", false), ("WdFilter", "let a = \"async \\\" await\"", false),
    ("WdFilter", "let a = #\"async\" await\"#", false), ("WdFilter", "let a = \"\"\"\n  async\n  \"\"\"", false),
    ("WdFilter", "let a = \"x\"; await f()", true),
    ("Executive", "public func f() {}", true), ("Executive", "let publicKey = 1", false),
    ("Executive", "open class A {}", true), ("Executive", "let d = open(path, 0)", false),
    ("Executive", "try! f()", true), ("Executive", "x as! Y", true), ("Executive", "fatalError(\"\")", true),
    ("Executive", "// try! f()", false),
    ("Executive", "final class A: @unchecked Sendable {}", true),
    ("Executive", "// SAFETY: because.\nfinal class A: @unchecked Sendable {}", false),
    ("Executive", "final class A: @unchecked Sendable {\n  // SAFETY: because.\n}", false),
    ("Executive", "nonisolated(unsafe) let a = 1", true),
    ("Executive", "// TODO: later", true), ("Executive", "// FIXME", true), ("Executive", "// todo list", false),
    ("Executive", String(repeating: "x", count: 40_000), true), ("Executive", String(repeating: "x", count: 39_999), false),
  ])
  func rulesSeeWhatTheyForbid(target: String, text: String, isForbidden: Bool) {
    let file = SourceFile(target: target, path: "\(target)/Planted.swift", text: text)
    let violations = HouseRule.all.flatMap { $0.violations(file) }
    #expect(violations.isEmpty != isForbidden)
  }
}
