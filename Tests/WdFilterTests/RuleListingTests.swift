import ConfigurationManager
import Executive
import Testing
import WdFilter

@Suite("Rules as they are listed (wdfilter.md 8)")
struct RuleListingTests {
  private func rules() throws -> RuleSet {
    RuleSet(
      hardened: [
        HardenedKey(pattern: try #require(KeyPattern(service: "AcmeSvc")), source: RuleSource(file: "p", line: 2))
      ],
      monitored: [
        MonitoredRule(
          id: "run", key: try KeyPattern(#"HKU\*\Software\Run\**"#), rules: RuleBits(rawValue: 0x37C015),
          values: [
            ValueRule(name: "Start", rules: .setValueDenied), ValueRule(name: nil, rules: .setValueKeyOperation),
          ],
          hash: RuleHash(hexadecimal: "6f1ed002ab5595859014ebf0951522d9"), source: RuleSource(file: "p", line: 4)),
        try rule("classes", #"HKCR\exefile"#, .createDenied, mode: .audit),
      ])
  }

  private func found(_ filter: String) throws -> [String] {
    let filter = try RuleListingFilter(parsing: filter)
    return try rules().listings.filter(filter.matches).map { $0.value.map { value in "run=\(value)" } ?? $0.id }
  }

  @Test func everyRuleIsThereWithItsWholeKeyPath() throws {
    let listings = try rules().listings
    #expect(listings.map(\.kind).filter { $0 == .hardened }.count == 8)
    #expect(listings.first?.key == #"\REGISTRY\MACHINE\SYSTEM\CurrentControlSet\Services\AcmeSvc"#)
    let own = listings.filter { $0.kind == .key || $0.kind == .value }
    let run = #"\REGISTRY\USER\*\Software\Run\**"#
    #expect(own.map(\.key) == [run, run, run, #"\REGISTRY\MACHINE\SOFTWARE\Classes\exefile"#])
    #expect(own.map(\.kind) == [.key, .value, .value, .key])
    #expect(own.map(\.value) == [nil, "Start", nil, nil])
    #expect(own.map(\.ofAnyValue) == [false, false, true, false])
    #expect(own.map(\.bits.rawValue) == [0x37C015, 0x80000, 0x100, 0x10000])
    #expect(own.map(\.mode) == [.enforce, .enforce, .enforce, .audit])
    #expect(own.prefix(3).allSatisfy { $0.hash?.hexadecimal == "6f1ed002ab5595859014ebf0951522d9" })
    #expect(listings.last?.kind == .query && listings.last?.value == "LoadAppInit_DLLs")
  }

  @Test func theHashIsTheOneThatADecisionGivesBack() throws {
    let rules = RuleSet(monitored: [try rule("r", #"HKLM\SOFTWARE\Acme"#, .createDenied)])
    let hash = rules.decide(create(acme)) { nil }.hashes
    #expect(rules.listings.filter { $0.id == "r" }.compactMap(\.hash) == hash)
  }

  @Test func filtersHoldTogether() throws {
    #expect(try found(#"key=software\run"#) == ["run", "run=Start", "run"])
    #expect(try found("key=EXEFILE") == ["classes"])
    #expect(try found("bit=createdenied") == ["run", "classes"])
    #expect(try found("bit=0x10001") == ["run"])
    #expect(try found("value=star") == ["run=Start", "run"])
    #expect(try found("hash=6F1ED002,value=start") == ["run=Start", "run"])
    #expect(try found("hash=6f1ed002,bit=CreateDenied") == ["run"])
    #expect(try found("key=run,key=exefile") == [])
    #expect(try found("").count == rules().listings.count)
  }

  @Test(arguments: ["key", "key=", "colour=red", "bit=Deny", "bit=0xZZ", "="])
  func whatIsNoFilterIsAnError(text: String) {
    #expect(throws: RuleListingFilter.Problem.self) { try RuleListingFilter(parsing: text) }
  }

  @Test func patternsThatMatchNoKeyAreKnown() throws {
    var use = PatternUse(try [#"HKLM\SOFTWARE\Acme"#, #"HKLM\*\Acme"#, #"HKLM\SYSTEM\CurrentControlSet"#, #"HKU\**"#]
      .map { text throws(KeyPatternError) in try KeyPattern(text) })
    #expect(use.unused == [0, 1, 2, 3])
    use.note(UnicodeName(acme.lowercased()))
    use.note(UnicodeName(system))
    use.note(UnicodeName(system + #"\ControlSet001"#))
    #expect(use.unused == [3])
  }
}
