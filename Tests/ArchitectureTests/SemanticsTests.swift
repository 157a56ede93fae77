import Foundation
import Testing

/// Each paragraph of SEMANTICS.md is named by a test.
@Suite struct SemanticsTests {
  /// Paragraphs that no test names, and why that is so. One that is added to SEMANTICS.md is named by its test, not added here.
  private static let exceptions: [(paragraphs: String, reason: String)] = [
    ("1.1 to 1.4", "check_mount.py compares whole trees, times and listings with a model; FileSystemTests"),
    ("1.6", "LinkTests; check_control.py"),
    ("1.7 to 1.9", "check_mount.py, ownership; FileSystemTests, the control directory; SeveralHivesTests"),
    ("5.1 to 5.18", "FileSystemTests and check_mount.py, operations; RestoreTests; check_ways_round.py"),
    ("6.1 to 6.3, 6.5 to 6.19", "WdFilterTests, paragraph by paragraph in the words of the driver; check_ways_round.py; check_processes.py"),
    ("7.1 to 7.3, 7.5 to 7.9", "check_mount.py, locks; RecoveryTests; check_repair.py; FaultTests"),
    ("8.1 to 8.4", "check_mount.py, cache; FileSystemTests"),
    ("9.1 to 9.5", "PowerCutTests, FaultTests, OutsideChangeTests; check_kill.py"),
  ]

  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// The numbers of a text, with those between `2.2 to 2.4`.
  static func numbers(in text: some StringProtocol) -> Set<String> {
    var found: Set<String> = []
    for match in String(text).matches(of: /(\d+)\.(\d+)(?: to (\d+)\.(\d+))?/) {
      let first = Int(match.2) ?? 0
      let last = match.3 == match.1 ? match.4.flatMap { Int($0) } ?? first : first
      for number in first...max(first, last) { found.insert("\(match.1).\(number)") }
    }
    return found
  }

  /// What a line names behind the word, as far as numbers follow each other: `SEMANTICS 2.2 to 2.4, 3.9 and 4.1`.
  static func named(in line: some StringProtocol) -> Set<String> {
    Set(String(line).matches(of: /SEMANTICS(?:\.md)?,? ((?:\d+\.\d+(?:, | and | to )?(?:and )?)+)/).flatMap { numbers(in: $0.1) })
  }

  static func paragraphs(of text: String) -> [String] {
    text.split(separator: "\n").compactMap { $0.firstMatch(of: /^\*\*(\d+\.\d+)\*\*/).map { String($0.1) } }
  }

  @Test func everyParagraphIsNamedByATest() throws {
    let paragraphs = Self.paragraphs(of: try String(contentsOf: Self.root.appending(path: "SEMANTICS.md"), encoding: .utf8))
    #expect(paragraphs.count > 80 && Set(paragraphs).count == paragraphs.count)
    let tests = Self.root.appending(path: "Tests")
    var named: Set<String> = []
    for path in FileManager.default.enumerator(atPath: tests.path)?.compactMap({ $0 as? String }) ?? []
    where (path.hasSuffix(".swift") || path.hasSuffix(".py")) && !path.hasSuffix("/SemanticsTests.swift") {
      let text = try String(contentsOf: tests.appending(path: path), encoding: .utf8)
      // Most lines name nothing, and a regular expression is slow.
      named.formUnion(text.split(separator: "\n").filter { $0.contains("SEMANTICS") }.flatMap { Self.named(in: $0) })
    }
    let excepted = Set(Self.exceptions.flatMap { Self.numbers(in: $0.paragraphs) })
    #expect(paragraphs.filter { !named.contains($0) && !excepted.contains($0) } == [])
    #expect(named.union(excepted).subtracting(paragraphs) == [], "no such paragraph")
    // Names, text, types: no exception.
    #expect(excepted.filter { ["2", "3", "4"].contains($0.prefix { $0 != "." }) } == [])
  }

  @Test func theSentencesOfTestsAreRead() {
    #expect(Self.named(in: "/// SEMANTICS 2.2 to 2.4, 3.9 and 4.1: names 9.9") == ["2.2", "2.3", "2.4", "3.9", "4.1"])
    #expect(Self.named(in: "'SEMANTICS 1.5, 2.13 and 7.4.'") == ["1.5", "2.13", "7.4"])
    #expect(Self.named(in: "version 1.5; see the manual 2.1").isEmpty)
    #expect(Self.named(in: "(SEMANTICS.md, 1.8)") == ["1.8"])
    #expect(Self.numbers(in: "6.1 to 6.3, 6.5") == ["6.1", "6.2", "6.3", "6.5"])
    #expect(Self.paragraphs(of: "**1.1** a\nb **2.2** c\n**3.4** d") == ["1.1", "3.4"])
  }
}
