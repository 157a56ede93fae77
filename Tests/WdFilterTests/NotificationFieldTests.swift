import ConfigurationManager
import Executive
import Notifications
import Testing
import WdFilter

/// What a notification has of each operation (wdfilter.md 5, RegOperationMessage).
@Suite struct NotificationFieldTests {
  private func only(_ operation: RegistryOperation, _ bits: RuleBits, outcome: NTStatus = .success) throws -> Notification {
    let bench = Bench(RuleSet(monitored: [try rule(#"HKLM\SOFTWARE\Acme"#, bits)]))
    bench.run(operation, by: .unknown, outcome: outcome)
    #expect(bench.notifications.count == 1)
    return try #require(bench.notifications.first)
  }

  @Test func aRestoreHasItsFileAndFlags() throws {
    let operation = RegistryOperation.restoreKey(key: key(acme), sourceFile: "/srv/acme.hiv", flags: 8)
    for bits in [RuleBits.restoreKeyOperation, .restoreDenied] {
      let told = try only(operation, bits)
      #expect(told.fileName == "/srv/acme.hiv" && told.restoreFlags == 8 && told.oldFileName == nil)
      #expect(told.denied == (bits == .restoreDenied))
    }
  }

  @Test func aReplaceHasBothFiles() throws {
    for bits in [RuleBits.replaceKeyOperation, .replaceDenied] {
      let told = try only(replace(acme), bits)
      #expect(told.fileName == "/tmp/new" && told.oldFileName == "/tmp/old" && told.restoreFlags == nil)
    }
  }

  @Test func aLoadHasItsFile() throws {
    #expect(try only(load(acme), .createDenied).fileName == "/tmp/evil.hiv")
  }

  @Test func aRenameHasTheNewCompleteName() throws {
    #expect(try only(rename(acme, "Emca"), .renameKeyOperation).newKeyName == #"\REGISTRY\MACHINE\SOFTWARE\Emca"#)
  }

  @Test func aChangeHasTheNumberOfItsTransaction() throws {
    let bench = Bench(RuleSet(monitored: [try rule(#"HKLM\SOFTWARE\Acme"#, .deleteKeyOperation)]))
    var call = RegistryCall(caller: .unknown, registry: FixedValue())
    #expect(bench.filter.preOperation(delete(acme), &call).isSuccess)
    var after = RegistryCall(
      caller: .unknown, registry: FixedValue(), callContext: call.callContext, transactionID: 77)
    _ = bench.filter.postOperation(delete(acme), status: .success, &after)
    #expect(bench.notifications.first?.transactionID == 77)
  }

  /// `log-ops=writes`: also what no rule speaks of, once, after it was done; and what is refused once, before.
  @Test func everyChangeIsReportedWhereThatIsAskedFor() throws {
    let rules = RuleSet(monitored: [try rule(#"HKLM\SOFTWARE\Acme"#, [.deleteKeyOperation, .renameDenied])])
    for reportsEveryChange in [false, true] {
      let bench = Bench(rules, reportsEveryChange: reportsEveryChange)
      let other = #"\REGISTRY\MACHINE\SOFTWARE\Other"#
      let quiet = [
        create(other), set(other, "v"), deleteValue(other, "v"), rename(other, "x"), touch(other), secure(other), restore(other),
        unload(other), load(other), replace(other),
      ]
      for operation in quiet + [delete(acme), rename(acme, "x")] { bench.run(operation, by: .unknown) }
      bench.run(set(other, "v", nil), by: .unknown, outcome: .cancelled)
      let wanted = (reportsEveryChange ? quiet.map(\.postClass) : []) + [.postDeleteKey, .preRenameKey]
      #expect(bench.notifications.map(\.notifyClass) == wanted)
      #expect(bench.notifications.filter { $0.notifyClass != .preRenameKey }.allSatisfy { !$0.denied && $0.status == .success })
      for operation in quiet {
        #expect((bench.filter.interests & operation.postClass.bit != 0) || !reportsEveryChange, "\(operation)")
      }
      // A change that failed was none.
      bench.run(delete(other), by: .unknown, outcome: .diskFull)
      #expect(bench.notifications.count == wanted.count)
    }
  }
}
