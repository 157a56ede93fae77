import ConfigurationManager
import Executive
import Glibc
import Notifications
import PolicyFile
import ProcessTable
import Testing

@testable import WdFilter

/// What an entry of `processes` may name (identity.md), with real processes behind the process table.
@Suite struct ProcessPatternTests {
  private func policy(_ when: String, _ flags: String = "[Friendly]") throws -> PolicyFile {
    try PolicyFile.parse(
      text: "version: 1\nprocesses:\n  - id: it\n    when: { \(when) }\n    flags: \(flags)\n", fileName: "p")
  }

  /// The standing of a process under a policy whose rules classify it.
  private func standing(_ child: Child, _ rules: RuleSet, uid: UInt32 = 0) throws -> ProcessStanding {
    let table = ProcessTable(monitor: nil, problem: nil, callbacks: CallbackDirectory(), classify: { rules.classify($0) })
    let context = try #require(table.context(forThread: child.id, uid: uid, gid: 0))
    return ProcessStanding(of: context, under: rules)
  }

  @Test func whatIsNamedMustHold() throws {
    let child = try Child("/bin/sleep", ["60"])
    let path = try #require(ProcessTable().context(forThread: child.id, uid: 0, gid: 0)?.executable)
    let own = try #require(ProcessTable().context(forThread: getpid(), uid: 0, gid: 0)?.executable)
    let yes = [
      "uid: 0, exe: \(path)", "uid: 0, name: sleep", "uid: 0, parent: \(own)", "uid: 0, name: sleep, parent: \(own), exe: \(path)",
    ]
    for when in yes {
      #expect(try standing(child, policy(when).rules).flags == .friendly, "\(when)")
    }
    let no = [
      "uid: 0, name: slept", "uid: 0, parent: /usr/bin/nobody", "uid: 0, cgroup: nowhere.service", "uid: 0, label: none-such",
      "uid: 0, script: \(path)", "uid: 0, sha256: \(String(repeating: "0", count: 64))", "uid: 1, name: sleep",
    ]
    for when in no {
      #expect(try standing(child, policy(when).rules).flags == [], "\(when)")
    }
  }

  @Test func theContentOfTheExecutableCanBeNamed() throws {
    let child = try Child("/bin/sleep", ["60"])
    let descriptor = open("/bin/sleep", O_RDONLY)
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    let count = read(descriptor, &bytes, bytes.count)
    let digest = SHA256.hexDigest(Array(bytes.prefix(count))).uppercased()
    #expect(try standing(child, policy("uid: 0, sha256: \(digest)").rules).flags == .friendly)
  }

  @Test(arguments: ["name: x", "parent: /usr/bin/x", "script: /usr/bin/x", "name: x, parent: /a"])
  func anExemptionRestsOnWhatACallerCannotChoose(when: String) throws {
    do {
      _ = try policy(when)
      Issue.record("accepted: \(when)")
    } catch let error as PolicyError {
      #expect(error.description.contains("must rest on something that a caller cannot choose"))
      #expect(error.problems.first?.line == 4)
    }
    // A flag that frees from nothing needs no proof.
    _ = try policy(when, "[Svchost]")
  }

  @Test(arguments: ["sha256: abc", "cgroup: ''", "label: ''", "parent: relative"])
  func whatCannotBeIsAnError(when: String) {
    #expect(throws: PolicyError.self) { _ = try policy("uid: 0, \(when)") }
  }

  @Test func anExecutableIsKnownByItsFileAndNotByItsPath() throws {
    let file = try #require(ProcessTable().context(forThread: getpid(), uid: 0, gid: 0)?.executableFile)
    let path = try #require(ProcessTable().context(forThread: getpid(), uid: 0, gid: 0)?.executable)
    #expect(file.isAt(path))
    #expect(!file.isAt("/bin/sh"))
    #expect(!file.isAt("/nowhere"))
    #expect(!file.isAt(nil))
  }

  @Test func whatAProcessIsToOtherRulesDoesNotCount() throws {
    let child = try Child("/bin/sleep", ["60"])
    let old = try policy("uid: 0, name: sleep").rules
    let table = ProcessTable(monitor: nil, problem: nil, callbacks: CallbackDirectory(), classify: { old.classify($0) })
    let context = try #require(table.context(forThread: child.id, uid: 0, gid: 0))
    #expect(ProcessStanding(of: context, under: old).flags == .friendly)
    // New rules with the same entry, before the process was judged anew: nothing is known but executable and ids.
    let new = try policy("uid: 0, name: sleep").rules
    #expect(ProcessStanding(of: context, under: new).flags == [])
  }
}
