import ConfigurationManager
import Executive
import Notifications
import PolicyFile
import ProcessTable
import Testing

@testable import WdFilter

@Suite struct FilterRegistrationTests {
  private let callbacks = CallbackStack()

  private func register(_ rules: RuleSet = RuleSet(), judgesChanges: Bool = true) throws(FilterRegistration.Failure)
    -> FilterRegistration
  {
    try FilterRegistration(
      rules: rules, judgesChanges: judgesChanges, processes: ProcessTable(), notify: { _ in }, refusals: RefusalLog(),
      in: callbacks)
  }

  private final class Nobody: RegistryCallback {
    func preOperation(_ operation: RegistryOperation, _ call: inout RegistryCall) -> NTStatus { .success }
    func postOperation(_ operation: RegistryOperation, status: NTStatus, _ call: inout RegistryCall) -> NTStatus { .success }
  }

  @Test func theMainCallbackIsRegisteredLastAndAFailureUndoesWhatWasBegun() throws {
    let altitude = try #require(Altitude(RegistryFilter.altitude))
    let cookie = try callbacks.register(Nobody(), altitude: altitude, interests: 0)
    #expect(throws: FilterRegistration.Failure.altitudeTaken("328010")) { _ = try register() }
    // Query hardening, which came first, is out again.
    let hardening = try #require(Altitude(QueryHardening.altitude))
    let other = try callbacks.register(Nobody(), altitude: hardening, interests: 0)
    try callbacks.unregister(other)
    try callbacks.unregister(cookie)
    let registration = try register()
    #expect(callbacks.isWatched(.preSetValueKey, .postSetValueKey))
    registration.unregister()
    #expect(!callbacks.isWatched(.preSetValueKey, .postSetValueKey))
    _ = try callbacks.register(Nobody(), altitude: hardening, interests: 0)
    _ = try callbacks.register(Nobody(), altitude: altitude, interests: 0)
  }

  @Test(arguments: RuleMode.allCases, SubtreeMode.allCases)
  func theCanaryIsRefusedWhateverThePolicy(mode: RuleMode, subtree: SubtreeMode) {
    #expect(RuleSet(mode: mode, subtree: subtree).passesSelfTest)
  }

  @Test func readingIsJudgedOnAReadOnlyRegistryAndChangesNeedNoFilter() throws {
    let rule = ProcessRule(
      id: "p", when: ProcessPattern(executable: nil, userID: 0, groupID: nil), flags: .mpServiceSid, rules: nil,
      source: .builtIn)
    _ = try register(RuleSet(processes: [rule]), judgesChanges: false)
    #expect(!callbacks.isWatched(.preSetValueKey, .postSetValueKey))
    #expect(callbacks.isQueryWatched(of: "LoadAppInit_DLLs"))
    #expect(!callbacks.isQueryWatched(of: "Other"))
  }

  @Test func otherRulesChangeWhatIsAskedFor() throws {
    let registration = try register()
    #expect(!callbacks.isQueryWatched(of: "Secret"))
    let rule = ProcessRule(
      id: "p", when: ProcessPattern(executable: nil, userID: 0, groupID: nil), flags: .msSeces, rules: nil, source: .builtIn)
    try registration.replaceRules(
      RuleSet(
        processes: [rule], queryDenied: [QueryDeniedValue(valueName: "Secret", flags: .msSeces, source: .builtIn)],
        version: 2))
    #expect(callbacks.isQueryWatched(of: "SECRET"))
    #expect(!callbacks.isQueryWatched(of: "LoadAppInit_DLLs"))
    #expect(registration.filter.rulesInForce.version == 2)
  }
}
