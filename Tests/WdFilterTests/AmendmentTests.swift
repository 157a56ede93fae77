import ConfigurationManager
import Executive
import Glibc
import ProcessTable
import Testing

@testable import WdFilter

@Suite("What messages put beside a policy (wdfilter.md 8)")
struct AmendmentTests {
  private func excluded(_ paths: [String]) -> Amendment {
    .exclusions(
      paths.compactMap { ExecutablePattern($0) }.map { ExcludedExecutable(pattern: $0, source: RuleSource(file: "m", line: 1)) })
  }

  private func policy(_ processes: [ProcessRule] = []) throws -> RuleSet {
    RuleSet(
      monitored: [try rule("acme", #"HKLM\SOFTWARE\Acme"#, .createDenied)], processes: processes,
      exclusions: [
        ExcludedExecutable(pattern: try #require(ExecutablePattern("/opt/old")), source: RuleSource(file: "p", line: 1))
      ])
  }

  private func amended(_ policy: RuleSet, _ amendments: Amendment...) -> RuleSet {
    var all = Amendments()
    for amendment in amendments { #expect(all.apply(amendment) { _ in true }) }
    return RuleSet(policy, amendedBy: all, version: policy.version + 1)
  }

  private func isExempt(_ process: ProcessContext, _ rules: RuleSet) -> Bool {
    rules.decide(create(acme)) { process }.isExempt
  }

  @Test func exclusionsAreReplacedAndRestOnTheSame() throws {
    let policy = try policy()
    let rules = amended(policy, excluded(["/opt/new"]))
    #expect(rules.version == policy.version + 1)
    #expect(isExempt(process("/opt/old", uid: 0), policy) && !isExempt(process("/opt/old", uid: 0), rules))
    #expect(isExempt(process("/opt/new", uid: 0), rules))
    // Another user's process, a file that others can write, and doubts: as with the policy's own.
    #expect(!isExempt(process("/opt/new", uid: 1000), rules))
    #expect(!isExempt(process("/opt/new", uid: 0, mode: 0o777), rules))
    #expect(!isExempt(process("/opt/new", uid: 0, doubts: [.loaderEnvironment]), rules))
    #expect(!isExempt(process("/opt/old", uid: 0), amended(policy, excluded([]))))
  }

  @Test func aFriendlyProcessIsSoWhateverEntriesComeBefore() throws {
    let policy = try policy([entry("first", uid: 7, flags: .msSeces)])
    let rules = amended(policy, .friendly(entry("service", exe: "/opt/service", uid: 7, flags: .friendly)))
    #expect(!isExempt(process("/opt/service", uid: 7), policy))
    #expect(isExempt(process("/opt/service", uid: 7), rules))
    #expect(!isExempt(process("/opt/service", uid: 8), rules))
    #expect(!isExempt(process("/opt/service", uid: 7, doubts: [.traced]), rules))
    let why = ProcessStanding.explanation(of: process("/opt/service", uid: 7, doubts: [.traced]), under: rules)
    #expect(why.contains("friendly process 'service'") && why.contains("traced"))
  }

  @Test func oneProcessIsChangedAsLongAsItLives() throws {
    let policy = try policy([entry("agent", uid: 1000, flags: .friendly)])
    var change = ProcessChange()
    change.clearedFlags = .friendly
    change.setFlags = .msSeces
    change.setRules = .notifyRegistryOperationSync
    let key = ProcessKey(processID: 4711, startTicks: 1)
    let rules = amended(policy, .process(key, change))
    let standing = ProcessStanding(of: process(), under: rules)
    #expect(standing.flags == .msSeces && standing.rules == .notifyRegistryOperationSync)
    #expect(isExempt(process(), policy) && !isExempt(process(), rules))
    #expect(ProcessStanding.explanation(of: process(), under: rules).contains("SET_PROCESS_INFO has taken Friendly from it"))
    // The number's next owner is another process.
    var later = process()
    later.startTicks = 2
    #expect(isExempt(later, rules))
    #expect(isExempt(process(), amended(policy, .process(key, change), .process(key, ProcessChange()))))
    // The value that such a process does not get to see is judged.
    #expect(policy.queryInterests == 0 && rules.queryInterests != 0)
  }

  @Test func whatGivesRightsIsNamed() {
    var change = ProcessChange()
    change.setFlags = [.excluded, .msMpEng, .mpServiceSid, .friendly, .trusted, .msSeces]
    change.setRules = ProcessRules(rawValue: 0x20_0420)
    #expect(
      change.privileges == [
        "Excluded", "MsMpEng", "MpServiceSid", "Friendly", "Trusted", "AllowAllRegistryOperations", "0x20",
      ])
    change.setFlags = [.msSeces, .svchost, .processExplorer]
    change.setRules = [.notifyRegistryOperationSync, .notifyProcessCmdLine]
    #expect(change.privileges == [])
  }

  @Test func listsAreBoundedAndTheDeadGiveWay() {
    var amendments = Amendments()
    var change = ProcessChange()
    change.setFlags = .msSeces
    for id in 1...Int32(Amendments.limit) {
      #expect(amendments.apply(.process(ProcessKey(processID: id, startTicks: 1), change)) { _ in true })
    }
    let next = Amendment.process(ProcessKey(processID: 9999, startTicks: 1), change)
    #expect(!amendments.apply(next) { _ in true })
    #expect(amendments.processes.count == Amendments.limit)
    #expect(amendments.apply(next) { $0.processID == 1 })
    #expect(amendments.processes.count == 2)
    #expect(amendments.summary == "2 changed processes")
    let entry = entry("a", uid: 1, flags: .friendly)
    #expect(amendments.apply(.friendly(entry)) { _ in true } && amendments.apply(.friendly(entry)) { _ in true })
    #expect(amendments.friendly.count == 1)
    #expect(!amendments.apply(excluded(Array(repeating: "/a", count: Amendments.limit + 1))) { _ in true })
    #expect(amendments.exclusions == nil)
  }

  @Test func hitsAreCountedOnAcrossAMessage() throws {
    let policy = try policy()
    _ = policy.decide(create(acme)) { nil }
    let rules = amended(policy, excluded([]))
    _ = rules.decide(create(acme)) { nil }
    #expect(rules.listings.first { $0.id == "acme" }?.hits == 2)
  }
}
