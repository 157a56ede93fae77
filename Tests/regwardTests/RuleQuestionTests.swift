import ConfigurationManager
import Executive
import Glibc
import Notifications
import PolicyFile
import ProcessTable
import RegistryFileSystem
import Testing
import WdFilter

@testable import regward

@Suite("Questions to the rules, as people ask them")
struct RuleQuestionTests {
  private func problem(
    _ operation: String, _ key: String = #"HKLM\SOFTWARE\A"#, value: String? = nil, to newName: String? = nil,
    as process: String = "unknown"
  ) -> String? {
    do throws(QuestionProblem) {
      _ = try RuleQuestion(operation: operation, key: key, value: value, newName: newName, process: process)
      return nil
    } catch {
      return error.message
    }
  }

  @Test(arguments: [
    (.create, .preCreateKeyEx), (.link, .preCreateKeyEx), (.set, .preSetValueKey), (.deleteValue, .preDeleteValueKey),
    (.delete, .preDeleteKey), (.rename, .preRenameKey), (.setTime, .preSetInformationKey),
    (.security, .preSetKeySecurity), (.restore, .preRestoreKey), (.replace, .preReplaceKey), (.load, .preLoadKey),
    (.unload, .preUnLoadKey), (.save, .preSaveKey), (.flush, .preFlushKey), (.query, .preQueryValueKey),
  ] as [(OperationWord, NotifyClass)])
  func everyWordIsAnOperation(word: OperationWord, preClass: NotifyClass) throws {
    let question = try RuleQuestion(
      operation: word.rawValue, key: #"hklm\SOFTWARE\A"#, value: word.isOfValue ? "v" : nil,
      newName: word == .rename ? "B" : nil, process: "unknown")
    #expect(question.operation.preClass == preClass)
    #expect(question.operation.completeName == #"\REGISTRY\MACHINE\SOFTWARE\A"#)
    #expect(question.process == nil)
    if case .createKey(_, let parent, let options) = question.operation {
      #expect(parent.completeName == #"\REGISTRY\MACHINE\SOFTWARE"#)
      #expect(options == (word == .link ? .createLink : []))
    }
  }

  @Test func whatCannotBeMeantIsTold() {
    #expect(problem("sett")?.contains("known are create, link, set") == true)
    #expect(problem("set") == "'set' needs the name of a value")
    #expect(problem("set", value: "") == nil)
    #expect(problem("delete", value: "v")?.contains("about a key") == true)
    #expect(problem("rename") == "rename needs a new name")
    #expect(problem("delete", to: "x")?.contains("rename only") == true)
    #expect(problem("delete", #"HKXX\A"#)?.contains("is no root") == true)
    #expect(problem("delete", #"HKLM\*"#)?.contains("would be several") == true)
    for process in ["", "x", "exe=sh", "uid=-1", "pid=0", "pid=1,exe=/x", "uid=1,uid=2", "uid", "pid=99999999"] {
      #expect(problem("delete", as: process) != nil, "\(process)")
    }
  }

  @Test func aProcessThatMightBe() throws {
    let user = try #require(try ProcessWord.context("exe=/nobody/has/this,uid=7,gid=8"))
    #expect(user.executable == "/nobody/has/this" && user.userID == 7 && user.groupID == 8)
    #expect(user.executableFile?.belongsToRoot == true && user.doubts == [])
    let root = try #require(try ProcessWord.context("exe=/usr/bin/env"))
    #expect(root.userID == 0 && root.executableFile?.inode != 0)
    #expect(try ProcessWord.context("uid=3")?.executable == nil)
  }

  @Test func aProcessThatIsThere() throws {
    let own = try #require(try ProcessWord.context("pid=\(getpid())"))
    #expect(own.processID == getpid() && own.userID == geteuid() && own.executable != nil)
    #expect(try ProcessWord.context("pid=\(getpid()),uid=77")?.userID == 77)
  }

  // MARK: Tables

  private let policy = #"""
    version: 1
    monitored:
      - { id: shut, key: HKLM\SOFTWARE\A, rules: [CreateDenied, SetValueDenied] }
      - { id: told, key: HKLM\SOFTWARE\B, mode: audit, rules: [CreateDenied] }
    """#

  @Test func aTableTellsWhatComesOutOtherwise() throws {
    let rules = try PolicyFile.parse(text: policy, fileName: "p").rules
    let table = try DecisionTestFile.parse(
      text: #"""
        policy: p.yaml
        tests:
          - { as: unknown, op: create, key: HKLM\SOFTWARE\A, expect: deny, rule: shut }
          - { as: uid=5, op: set, key: HKLM\SOFTWARE\A, value: '', expect: deny }
          - { as: uid=5, op: create, key: HKLM\SOFTWARE\B, expect: audit, rule: told }
          - { as: uid=5, op: rename, key: HKLM\SOFTWARE\C, to: D, expect: allow }
          - { as: uid=5, op: create, key: HKLM\SOFTWARE\A, expect: allow }
          - { as: uid=5, op: create, key: HKLM\SOFTWARE\A, expect: deny, rule: told }
          - { as: uid=5, op: create, key: HKLM\SOFTWARE\B, expect: allow }
          - { as: uid=5, op: set, key: HKLM\SOFTWARE\A, expect: deny }
        """#, fileName: "t.yaml")
    #expect(table.policy == "p.yaml")
    #expect(table.tests.count == 8)
    #expect(
      RulesCommand.Test.mismatches(table.tests, rules) == [
        "t.yaml:7: expected allow, got deny: denied, rule 'shut' (p:3)",
        "t.yaml:8: expected deny by 'told', got deny: denied, rule 'shut' (p:3)",
        "t.yaml:9: expected allow, got allow (audited: would be refused): denied, rule 'told' (p:4)",
        "t.yaml:10: 'set' needs the name of a value",
      ])
    #expect(rules.listings.allSatisfy { $0.hits == 0 })
  }

  @Test(arguments: [
    ("", "1:1"), ("x: 1", "1:1"), ("tests: 1", "1:8"), ("- {as: x, op: set, key: y}", "1:3"),
    ("- {as: x, op: set, key: y, expect: maybe}", "1:36"), ("- {as: x, op: set, key: y, expct: deny}", "1:28"),
  ])
  func aTableThatCannotBeReadIsAnErrorWithItsPlace(text: String, place: String) {
    do throws(PolicyError) {
      _ = try DecisionTestFile.parse(text: text, fileName: "t")
      Issue.record("read: \(text)")
    } catch {
      #expect(error.problems.contains { $0.place == "t:\(place)" }, "\(error)")
    }
  }

  // MARK: Of a mount

  private func handler(
    _ text: String, isReadOnly: Bool = false, at location: UnicodeName = #"\REGISTRY\MACHINE\SOFTWARE"#
  ) throws -> (MountHandler, RuleSet) {
    let policy = try PolicyFile.parse(text: text, fileName: "p")
    let processes = ProcessTable()
    let refusals = RefusalLog()
    let sync = SyncChannel(encoder: EventEncoder(currentControlSet: nil))
    let registration = try FilterRegistration(
      rules: policy.rules, judgesChanges: !isReadOnly, processes: processes, notify: { _ in }, refusals: refusals,
      sync: sync, in: CallbackStack())
    let rules = RulesInForce(policy: policy, path: nil, registration: registration, sync: sync)
    let handler = MountHandler(
      facts: MountFacts(
        hives: ["/h"], mountPoint: "/m", location: location, isReadOnly: isReadOnly),
      filter: registration.filter, rules: rules, refusals: refusals, queue: NotificationQueue(sinks: []), sync: sync,
      processes: processes, storage: { [] }, scratchMemory: ScratchMemory())
    return (handler, policy.rules)
  }

  private func ask(_ handler: MountHandler, _ verb: String, _ arguments: String...) -> String? {
    handler.execute(verb, arguments, by: .unknown) { path in
      path.split(separator: "/").reduce(UnicodeName(#"\REGISTRY\MACHINE\SOFTWARE"#)) { $0.appending(UnicodeName($1)) }
    }
  }

  @Test func aMountSaysWhatItWouldDo() throws {
    let (handler, rules) = try handler(policy)
    let refused = "deny: denied, rule 'shut' (p:3)\n"
    #expect(ask(handler, "can-i", "create", "A")?.hasPrefix(refused) == true)
    #expect(ask(handler, "can-i", "set", "A/x")?.hasPrefix(refused) == true)
    #expect(ask(handler, "can-i", "set", #"A/x\y"#)?.contains(#"SOFTWARE\A, value x\y:"#) == true)
    #expect(ask(handler, "can-i", "rename", "C", "A")?.hasPrefix("deny: denied") == true)
    #expect(ask(handler, "can-i", "replace", "C/D")?.hasPrefix("deny: deniedBelow") == true)
    #expect(ask(handler, "can-i", "create", "C")?.hasPrefix("allow: untouched\n") == true)
    #expect(ask(handler, "can-i", "set", "")?.hasPrefix("error 22 ") == true)
    for arguments in [["sett", "A"], ["create"], ["rename", "A"], ["create", "A", "B"]] {
      #expect(handler.execute("can-i", arguments, by: .unknown) { _ in "x" } == nil)
    }
    #expect(ask(handler, "may-i", "create", "A") == nil)
    #expect(rules.listings.allSatisfy { $0.hits == 0 })
    let (readOnly, _) = try self.handler(policy, isReadOnly: true)
    #expect(ask(readOnly, "can-i", "create", "C") == "deny: the mount is read-only\n")
  }

  @Test func aReplaceIsAskedAboutAtTheRootOfItsHive() throws {
    let (several, _) = try handler(policy, at: #"\REGISTRY"#)
    var asked: [String] = []
    for path in ["HKLM/SOFTWARE/C/D", "HKLM/SOFTWARE", "HKLM/SYSTEM/C"] {
      let answer = several.execute("can-i", ["replace", path], by: .unknown) { path in
        UnicodeName(#"\REGISTRY\"# + path.replacing("HKLM", with: "MACHINE").replacing("/", with: #"\"#))
      }
      asked.append(String(answer?.prefix { $0 != "," && $0 != "\n" } ?? ""))
    }
    #expect(asked == ["deny: deniedBelow", "deny: deniedBelow", "deny: hardenedBelow"])
  }

  @Test func aMountListsItsRulesWithTheirHits() throws {
    let (handler, rules) = try handler(policy)
    for _ in 0..<3 {
      _ = rules.decide(
        .createKey(
          completeName: #"\REGISTRY\MACHINE\SOFTWARE\A"#, parent: KeyReference(id: 1, completeName: ""), options: [])
      ) { nil }
    }
    let line = try #require(ask(handler, "rules", #"key=software\a"#))
    #expect(
      line.hasPrefix(
        #"{"kind":"key","id":"shut","key":"\\REGISTRY\\MACHINE\\SOFTWARE\\A","bits":["CreateDenied","SetValueDenied"],"#
          + #""word":"0x90000","hash":""#))
    #expect(line.hasSuffix(#"","mode":"enforce","hits":3,"source":"p:3"}"# + "\n"))
    #expect(line.split(separator: "\n").count == 1)
    #expect(ask(handler, "rules", "")?.split(separator: "\n").count == rules.listings.count)
    #expect(ask(handler, "rules", "bit=0x10000,key=B", "table")?.hasPrefix("told  audit  hits 0  p:4\n") == true)
    #expect(ask(handler, "rules", "key=nothing") == "")
    #expect(ask(handler, "rules", "x")?.hasPrefix("error 22 'x' is no filter") == true)
    #expect(ask(handler, "rules") == nil)
  }
}
