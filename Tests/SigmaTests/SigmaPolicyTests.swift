import Foundation
import PolicyFile
import Sigma
import Testing
import WdFilter

/// SEMANTICS 12.1 and 12.2: what is loaded, what is left out and why, and which rules may deny.
@Suite struct SigmaPolicyTests {
  private let selection = "selection: { TargetObject: x }\ncondition: selection"

  private func folder(_ rules: [String: String], deny: String = "[]") throws -> RuleFolder {
    try RuleFolder("version: 1\nsigma: { path: rules, deny: \(deny) }", rules)
  }

  @Test func everyRuleAboutTheRegistryBelowThePathIsLoaded() throws {
    let folder = try folder([
      "a.yml": rule("a", selection), "deep/er/b.yaml": rule("b", selection, category: "registry_event") + "---\n" + rule("c", selection, category: "registry_add"),
      "d.txt": "nothing", "e.yml": rule("e", selection, category: "process_creation"),
      "f.yml": rule("f", selection).replacingOccurrences(of: "windows", with: "linux"),
      "g.yml": "title: several\ncorrelation: { type: event_count, rules: [a] }\n", ".hidden.yml": "{",
      "h.yml": rule("h", selection).replacingOccurrences(of: ", product: windows", with: ""),
    ])
    let policy = try folder.load()
    #expect(policy.warnings.isEmpty)
    #expect(policy.rules.sigma?.rules.rules.map(\.id) == ["a", "b", "c", "h"])
    #expect(policy.sigma.map { [$0.files, $0.rules, $0.leftOut, $0.others] } == [6, 4, 0, 3])
    let sources = policy.rules.sigma?.rules.rules.map { $0.source.replacingOccurrences(of: folder.path + "/", with: "") }
    #expect(sources == ["rules/a.yml:1", "rules/deep/er/b.yaml:1", "rules/deep/er/b.yaml:9", "rules/h.yml:1"])
    #expect(policy.rules.sigma?.rules.rules.first?.title == "Title of a" && policy.rules.sigma?.rules.rules.first?.level == .high)
  }

  @Test(arguments: [
    ("selection: { Hashes: x }\ncondition: selection", "5:16: warning: left out: the field 'Hashes' is not supported"),
    ("selection: { Details|base64: x }\ncondition: selection", "5:16: warning: left out: the modifier 'base64' is not supported"),
    ("selection: { Details|re: '(?=x)' }\ncondition: selection", "5:16: warning: left out: the regular expression '(?=x)' is not understood"),
    ("selection: [word, other]\ncondition: selection", "5:15: warning: left out: keywords are not supported: 'selection' names no field"),
    ("selection: word\ncondition: selection", "5:14: warning: left out: keywords are not supported"),
    ("selection: {}\ncondition: selection", "5:14: warning: left out: 'selection' is empty"),
    ("selection: []\ncondition: selection", "5:14: warning: left out: 'selection' is empty"),
    ("selection: { Details: { a: b } }\ncondition: selection", "5:25: warning: left out: 'Details' wants a text, or a list of texts"),
    ("selection: { Details: [] }\ncondition: selection", "5:16: warning: left out: 'Details' has no value"),
    ("selection: { Details: x }", "5:3: warning: left out: 'condition' is missing"),
    ("selection: { Details: x }\ncondition: other", "6:14: warning: left out: the condition names 'other'"),
    ("selection: { Details: x }\ncondition: []", "6:14: warning: left out: 'condition' is empty"),
    ("selection: { Details: x }\ncondition: selection | count() > 3", "6:14: warning: left out: aggregations are not supported"),
    ("selection: { Details: x }\ntimeframe: 5m\ncondition: selection", "6:3: warning: left out: aggregations are not supported: 'timeframe'"),
  ])
  func whatIsNotSupportedIsLeftOutWithItsPlace(detection: String, problem: String) throws {
    let folder = try folder(["a.yml": rule("a", detection), "b.yml": rule("b", selection)])
    #expect(folder.problems.count == 1 && folder.problems[0].hasPrefix("rules/a.yml:" + problem), "\(folder.problems)")
    let policy = try folder.load()
    #expect(policy.rules.sigma?.rules.rules.map(\.id) == ["b"] && policy.sigma?.leftOut == 1)
    // One must not believe oneself protected.
    try folder.write("version: 1\nsigma: { path: rules, deny: [b, a] }", to: "policy.yaml")
    #expect(throws: PolicyError.self) { try folder.load() }
    #expect(folder.problems.contains { $0.hasPrefix("policy.yaml:2:33: error: the rule 'a' cannot deny anything: ") && $0.contains("rules/a.yml:") })
  }

  @Test(arguments: [
    ("title: [", "left out: "), ("- a\n- b", "1:1: warning: left out: a rule is a mapping"), ("title: a\ntitle: b", "left out: the same name twice: title"),
    ("title: a", "1:1: warning: left out: 'logsource' is missing"), ("title: a\nlogsource: x", "2:12: warning: left out: 'logsource' is a mapping"),
    ("action: global\ntitle: a", "1:9: warning: left out: documents with 'action' are not supported"),
    ("logsource: {category: registry_set}", "1:1: warning: left out: 'title' is missing"),
    ("title: a\nlogsource: {category: registry_set}", "left out: 'detection' is missing"),
    ("title: a\nlogsource: {category: registry_set, service: security}", "2:46: warning: left out: a service beside the category registry_set"),
    ("title: a\nlogsource: {category: registry_set}\ndetection: {s: {User: a}, condition: s}\nlevel: worst", "4:8: warning: left out: a level is one of"),
    ("title: a\nlogsource: {category: registry_set}\ndetection: {s: {User: a}, condition: s}\ntags: x", "4:7: warning: left out: 'tags' is a list"),
  ])
  func whatIsNoRuleIsLeftOutToo(text: String, problem: String) throws {
    let folder = try folder(["a.yml": text, "b.yml": rule("b", selection)])
    #expect(folder.problems.count == 1 && folder.problems[0].hasPrefix("rules/a.yml:") && folder.problems[0].contains(problem), "\(folder.problems)")
    #expect(try folder.load().rules.sigma?.rules.rules.map(\.id) == ["b"])
  }

  @Test func aFileWithABreakInItIsLeftOutWhole() throws {
    let folder = try folder(["a.yml": rule("a", selection) + "---\ntitle: [\n"])
    #expect(try folder.load().rules.sigma?.rules.rules.isEmpty == true)
    #expect(folder.problems.count == 2)
  }

  @Test func anIDIsTakenOnce() throws {
    let folder = try folder(["a.yml": rule("x", selection), "b.yml": rule("x", selection)])
    #expect(folder.problems.map { $0.hasPrefix("rules/b.yml:1:1: warning: left out: the id 'x' is taken by ") } == [true])
    let nameless = try self.folder(["a.yml": rule("x", selection).replacingOccurrences(of: "id: x\n", with: "")], deny: "[Title of x]")
    #expect(try nameless.load().rules.sigma?.denying.rules.map(\.id) == ["Title of x"])
  }

  @Test func whatDeniesMustBeThere() throws {
    let folder = try folder(["a.yml": rule("selection-a", selection), "b.yml": rule("other-b", selection, category: "file_event")], deny: "[selection-a]")
    #expect(try folder.load().rules.sigma?.denying.rules.map(\.id) == ["selection-a"])
    for (id, problem) in [
      ("selectoin-a", "no Sigma rule has the id 'selectoin-a'; did you mean 'selection-a'?"), ("zzzzzzzzzzzzzzzzzzzz", "no Sigma rule has the id 'zzzzzzzzzzzzzzzzzzzz'"),
      ("other-b", "the rule 'other-b' is not about the registry"),
    ] {
      try folder.write("version: 1\nsigma:\n  path: rules\n  deny: [\(id)]", to: "policy.yaml")
      #expect(folder.problems == ["policy.yaml:4:10: error: " + problem])
    }
  }

  @Test func aFolderWithoutRulesIsDoubtful() throws {
    let folder = try folder(["a.yml": rule("a", selection, category: "file_event")])
    #expect(folder.problems.map { $0.hasPrefix("policy.yaml:2:16: warning: no Sigma rule in ") } == [true])
  }

  /// Who can change a rule changes the policy.
  @Test func rulesAreOursAlone() throws {
    let folder = try folder(["a.yml": rule("a", selection), "sub/b.yml": rule("b", selection)])
    #expect(folder.problems == [])
    for (name, mode) in [("rules/a.yml", 0o666), ("rules", 0o777), ("rules/sub", 0o777), ("rules/sub/b.yml", 0o622)] as [(String, mode_t)] {
      let path = folder.path + "/" + name
      chmod(path, mode)
      #expect(folder.problems.count == 1 && folder.problems[0].hasPrefix("policy.yaml:2:16: error: cannot read the Sigma rules: "), "\(name)")
      chmod(path, name.hasSuffix("yml") ? 0o644 : 0o755)
    }
    // Also where nothing is in it yet.
    mkdir(folder.path + "/rules/empty", 0o777)
    chmod(folder.path + "/rules/empty", 0o777)
    #expect(folder.problems.contains { $0.contains("error: cannot read the Sigma rules: ") && $0.contains("rules/empty: the folder belongs to") })
    chmod(folder.path + "/rules/empty", 0o755)
    #expect(folder.problems == [])
  }

  @Test func aFolderThatHoldsItselfAndWhatIsNotThereAreErrors() throws {
    let folder = try folder(["a.yml": rule("a", selection)])
    symlink("..", folder.path + "/rules/up")
    #expect(folder.problems.contains { $0.contains("rules/up/rules: the folder holds itself") && !$0.contains("up/rules/up") }, "\(folder.problems)")
    unlink(folder.path + "/rules/up")
    symlink("nowhere", folder.path + "/rules/gone.yml")
    #expect(folder.problems.contains { $0.contains("rules/gone.yml: cannot open it") }, "\(folder.problems)")
    try folder.write("version: 1\nsigma: { path: rulez }", to: "policy.yaml")
    #expect(folder.problems.contains { $0.contains("cannot open it: No such file") }, "\(folder.problems)")
  }

  @Test(arguments: [
    ("sigma: {}", "'sigma' needs 'path'"), ("sigma: { path: '' }", "an empty text matches nothing"), ("sigma: { path: rules, den: [] }", "did you mean 'deny'?"),
    ("sigma: { path: rules, actor: [a] }", "a mapping of executables to images expected"),
    ("sigma: { path: rules, actor: { sed: x } }", "an executable is named by its whole path"), ("sigma: { path: rules, actor: { /bin/sed: '' } }", "an empty text"),
    ("include: [more.yaml]", "'sigma' belongs into the policy that includes"),
  ])
  func whatTheSectionMaySay(section: String, problem: String) throws {
    let folder = try RuleFolder("version: 1\n" + section, ["a.yml": rule("a", selection)])
    try folder.write("version: 1\nsigma: { path: rules }", to: "more.yaml")
    #expect(folder.problems.contains { $0.contains("error: ") && $0.contains(problem) }, "\(folder.problems)")
  }

  @Test func aTextAloneHasNoRules() {
    #expect(throws: PolicyError.self) { try PolicyFile.parse(text: "version: 1\nsigma: { path: /etc }", fileName: "p") }
  }
}
