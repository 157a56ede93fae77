import Glibc
import PolicyFile
import Testing
import WdFilter

@Suite("Policies that include others, and what is doubtful in them (policy.md)")
struct PolicyIncludeTests {
  /// `FILE:LINE:COLUMN: severity: message`, the folder left out.
  private func problems(_ folder: PolicyFolder) -> [String] {
    let lines: [String]
    do throws(PolicyError) {
      lines = try PolicyFile.load(path: folder.file).warnings.map(\.lintLine)
    } catch {
      lines = error.problems.map(\.lintLine)
    }
    return lines.map { $0.replacing(folder.path + "/", with: "") }
  }

  private func problems(_ text: String) -> [String] {
    do throws(PolicyError) {
      return try PolicyFile.parse(text: "version: 1\n" + text, fileName: "p").warnings.map(\.lintLine)
    } catch {
      return error.problems.map(\.lintLine)
    }
  }

  @Test func whatIsIncludedAddsToTheLists() throws {
    let folder = try PolicyFolder(
      "version: 1\ninclude: [site.yaml, ./more.yaml]\nmonitored: [{id: a, key: HKLM\\A, rules: 1}]",
      [
        "site.yaml": "version: 1\nmonitored:\n  - {id: b, key: HKLM\\B, rules: 1}\n"
          + "query_denied: [{value: x, to: [MsSeces]}]",
        "more.yaml": "version: 1\nhardened: [{key: HKLM\\C}]\nprocesses: [{id: a, when: {uid: 5}, flags: [MsSeces]}]",
      ])
    let rules = try PolicyFile.load(path: folder.file, version: 3).rules
    #expect(rules.monitored.map(\.id) == ["a", "b"])
    #expect(rules.monitored.map(\.source.line) == [3, 3])
    #expect(rules.monitored[1].source.file == folder.path + "/site.yaml")
    #expect(rules.hardened.first?.source.file == folder.path + "/./more.yaml")
    #expect(rules.processes.map(\.id) == ["a"])
    #expect(rules.queryDenied.map(\.valueName) == ["x"])
    #expect(rules.version == 3)
  }

  @Test func anIncludedFilesProblemsHaveItsOwnPlaces() throws {
    let folder = try PolicyFolder(
      "version: 1\ninclude: [site.yaml]\nmonitored: [{id: a, key: HKLM\\A, rules: 1}]",
      ["site.yaml": "version: 1\nmode: audit\nmonitored:\n  - {id: a, key: HKLM\\A, rulez: 1}"])
    let found = problems(folder)
    #expect(found.contains { $0.hasPrefix("site.yaml:2:7: error: 'mode' belongs into the policy that includes") })
    #expect(found.contains { $0.hasPrefix("site.yaml:4:26: error: unknown name 'rulez'; did you mean 'rules'?") })
    #expect(found.contains { $0.hasPrefix("site.yaml:4:10: error: the id 'a' is taken by policy.yaml:3") })
  }

  @Test func whatCannotBeIncludedIsAnErrorAtTheInclude() throws {
    let folder = try PolicyFolder("version: 1\ninclude:\n  - none.yaml\n  - open.yaml\n", ["open.yaml": "version: 1"])
    chmod(folder.path + "/open.yaml", 0o666)
    let found = problems(folder)
    let error = "error: cannot include"
    #expect(found.count == 2)
    #expect(found.first?.hasPrefix("policy.yaml:3:5: \(error) 'none.yaml': cannot read it: No such") == true)
    #expect(found.last?.hasPrefix("policy.yaml:4:5: \(error) 'open.yaml': the file belongs") == true)
  }

  @Test func circlesRepetitionsAndDepthAreErrors() throws {
    let circle = try PolicyFolder(
      "version: 1\ninclude: [a.yaml]", ["a.yaml": "version: 1\ninclude: [policy.yaml]"])
    #expect(problems(circle).contains { $0.hasPrefix("a.yaml:2:11: error: 'policy.yaml' includes itself") })
    let itself = try PolicyFolder("version: 1\ninclude: [policy.yaml]")
    #expect(problems(itself).contains { $0.hasPrefix("policy.yaml:2:11: error: 'policy.yaml' includes itself") })
    let twice = try PolicyFolder(
      "version: 1\ninclude: [a.yaml, b.yaml]",
      ["a.yaml": "version: 1\ninclude: [b.yaml]", "b.yaml": "version: 1"])
    #expect(problems(twice) == ["policy.yaml:2:19: error: 'b.yaml' was included before, by a.yaml:2"])
    var chain: [String: String] = ["f9.yaml": "version: 1"]
    for index in 1...8 { chain["f\(index).yaml"] = "version: 1\ninclude: [f\(index + 1).yaml]" }
    let deep = try PolicyFolder("version: 1\ninclude: [f1.yaml]", chain)
    #expect(problems(deep) == ["f7.yaml:2:11: error: 'f8.yaml' would be more than 8 files deep"])
  }

  // MARK: Review

  @Test(arguments: [
    ("{id: a, key: HKLM\\A, rules: 0x3}", "{id: b, key: hkey_local_machine\\a, rules: 0x1}", true),
    ("{id: a, key: HKLM\\A, rules: 0x1}", "{id: b, key: HKLM\\A, rules: 0x5}", false),
    ("{id: a, key: HKLM\\A, rules: 0x1}", "{id: b, key: HKLM\\B, rules: 0x1}", false),
    ("{id: a, key: HKLM\\A, rules: 0x1, mode: audit}", "{id: b, key: HKLM\\A, rules: 0x1}", false),
    ("{id: a, key: HKLM\\A, rules: 0x1}", "{id: b, key: HKLM\\A, rules: 0x1, mode: audit}", true),
    (
      "{id: a, key: HKLM\\A, values: [{rules: 0x900}]}",
      "{id: b, key: HKLM\\A, values: [{name: v, rules: 0x100}]}", true
    ),
    (
      "{id: a, key: HKLM\\A, values: [{name: V, rules: 0x900}]}",
      "{id: b, key: HKLM\\A, values: [{name: v, rules: 0x100}]}", true
    ),
    (
      "{id: a, key: HKLM\\A, values: [{name: v, rules: 0x900}]}",
      "{id: b, key: HKLM\\A, values: [{rules: 0x100}]}", false
    ),
    ("{id: a, key: HKLM\\A, rules: 0x80000}", "{id: b, key: HKLM\\A, values: [{rules: 0x80000}]}", true),
    ("{id: a, key: HKLM\\A, rules: 0x40000}", "{id: b, key: HKLM\\A, values: [{rules: 0x40000}]}", false),
  ])
  func aShadowedRuleIsTold(first: String, second: String, isShadowed: Bool) {
    let found = problems("monitored:\n  - \(first)\n  - \(second)")
    let told = found.contains { $0.hasPrefix("p:4:5: warning: 'b' adds nothing: 'a' (p:3) says all of it") }
    #expect(told == isShadowed, "\(found)")
  }

  @Test func aShadowedEntryForAValueIsTold() {
    let text = "monitored:\n  - id: a\n    key: HKLM\\A\n    values:\n      - rules: 0x100\n"
      + "      - {name: v, rules: 0x100}"
    #expect(problems(text).contains { $0.hasPrefix("p:7:9: warning: this entry adds nothing: 'a'") })
  }

  @Test func aDeniedBitUnderAHardenedKeyIsTold() {
    for key in [#"HKLM\SYSTEM\CurrentControlSet\Services\WinDefend"#, #"HKLM\SOFTWARE\H\*\x"#] {
      let text = "hardened: [{key: 'HKLM\\SOFTWARE\\H'}]\nmonitored:\n  - {id: a, key: '\(key)', rules: [CreateDenied]}"
      #expect(problems(text).contains { $0.hasPrefix("p:4:5: warning: CreateDenied under a hardened key") }, "\(key)")
      #expect(problems(text.replacing("CreateDenied", with: "CreateKeyOperation")) == [])
    }
    let beside = "hardened: [{key: 'HKLM\\SOFTWARE\\H'}]\n"
      + "monitored: [{id: a, key: 'HKLM\\SOFTWARE\\**', rules: [CreateDenied]}]"
    #expect(problems(beside) == [])
  }

  @Test func aHashThatTwoRulesHaveIsTold() {
    let hash = "6f1ed002ab5595859014ebf0951522d9"
    let text = "monitored:\n  - {id: a, key: HKLM\\A, rules: 1, hash: \(hash)}\n"
      + "  - {id: b, key: HKLM\\B, rules: 1, hash: \(hash)}"
    #expect(problems(text).map { $0.prefix(47) } == ["p:4:42: warning: the hash is that of 'a' (p:3) "])
  }

  @Test func anExemptionThatACallerCouldForgeIsTold() throws {
    let shared = "processes: [{id: a, when: {exe: '/tmp/**/agent'}, flags: [Friendly]}]"
    #expect(problems(shared).contains { $0.contains("warning: a caller could forge this: the folder /tmp") })
    #expect(problems("exclusions: ['/tmp/*']").contains { $0.contains("could forge this: the folder /tmp") })
    #expect(problems("exclusions: ['/usr/bin/bash']").contains { $0.contains("bash does what a script says") })
    #expect(problems("exclusions: ['/usr/bin/python3.1*']").contains { $0.contains("does what a script says") })
    let withUser = "processes: [{id: a, when: {exe: '/tmp/**/agent', uid: 7}, flags: [Friendly]}]"
    #expect(problems(withUser) == [])
    let harmless = "processes: [{id: a, when: {exe: '/tmp/**/agent'}, flags: [MsSeces]}]"
    #expect(problems(harmless) == [])
  }
}

@Suite("Patterns that cover patterns")
struct KeyPatternCoverTests {
  @Test(arguments: [
    (#"HKLM\A"#, #"HKLM\a"#, true), (#"HKLM\*"#, #"HKLM\A"#, true), (#"HKLM\A"#, #"HKLM\*"#, false),
    (#"HKLM\**"#, #"HKLM\A\*\**"#, true), (#"HKLM\**"#, "HKLM", true), (#"HKLM\*\**"#, "HKLM", false),
    (#"HKLM\**\A"#, #"HKLM\x\A\A"#, true), (#"HKLM\**\A"#, #"HKLM\**\B\A"#, true), (#"HKLM\*"#, #"HKLM\**"#, false),
    (#"HKLM\**\A\**"#, #"HKLM\B\**"#, false), (#"HKLM\SYSTEM\*"#, #"HKLM\SYSTEM\CurrentControlSet"#, true),
  ])
  func covers(one: String, other: String, expected: Bool) throws {
    #expect(try KeyPattern(one).covers(KeyPattern(other)) == expected)
  }
}
