import ConfigurationManager
import Executive
import Testing
import WdFilter

/// The compiled tree against a matcher that anybody can check by eye.
@Suite("Rule matcher")
struct RuleMatcherTests {
  private static let words = ["a", "B", "cc", "Ä", "ab"]

  private func pattern(_ random: inout SeededGenerator) -> [String] {
    (0..<Int.random(in: 0...5, using: &random)).map { _ in
      switch Int.random(in: 0..<10, using: &random) {
      case 0, 1: "*"
      case 2, 3: "**"
      default: Self.words.randomElement(using: &random) ?? "a"
      }
    }
  }

  private func matches(_ pattern: ArraySlice<String>, _ name: ArraySlice<String>) -> Bool {
    guard let first = pattern.first else { return name.isEmpty }
    if first == "**" {
      return matches(pattern.dropFirst(), name) || !name.isEmpty && matches(pattern, name.dropFirst())
    }
    guard let component = name.first, first == "*" || first.uppercased() == component.uppercased() else { return false }
    return matches(pattern.dropFirst(), name.dropFirst())
  }

  @Test(arguments: 1...40)
  func agreesWithTheNaiveMatcher(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let patterns = (0..<Int.random(in: 1...30, using: &random)).map { _ in pattern(&random) }
    let rules = RuleSet(
      subtree: .faithful,
      monitored: try patterns.enumerated().map { index, pattern in
        try rule("r\(index)", (["HKLM"] + pattern).joined(separator: #"\"#), .createKeyOperation)
      })
    for _ in 0..<200 {
      let name = (0..<Int.random(in: 0...7, using: &random)).map { _ -> String in
        let word = Self.words.randomElement(using: &random) ?? "a"
        return Bool.random(using: &random) ? word.lowercased() : word.uppercased()
      }
      let expected = Set(patterns.indices.filter { matches(patterns[$0][...], name[...]) }.map { "r\($0)" })
      let complete = ([#"\REGISTRY\MACHINE"#] + name).joined(separator: #"\"#)
      let found = rules.decide(create(complete)) { nil }
      #expect(Set(found.ruleIDs) == expected, "seed \(seed): \(complete) against \(patterns)")
      #expect(found.ruleIDs.count == expected.count)
    }
  }

  @Test(arguments: 1...20)
  func rulesBelowAgreeWithTheNaiveMatcher(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    // Without **: then "below" can be said of a name alone.
    let patterns = (0..<8).map { _ in pattern(&random).filter { $0 != "**" } }
    let rules = RuleSet(
      monitored: try patterns.enumerated().map { index, pattern in
        try rule("r\(index)", (["HKLM"] + pattern).joined(separator: #"\"#), .createDenied)
      })
    for _ in 0..<200 {
      let length = Int.random(in: 0...5, using: &random)
      let name = (0..<length).map { _ in Self.words.randomElement(using: &random) ?? "a" }
      let isAncestor = patterns.contains { pattern in
        pattern.count > name.count && matches(pattern.prefix(name.count), name[...])
      }
      // The hardening list lies below \REGISTRY\MACHINE itself.
      guard !name.isEmpty else { continue }
      let complete = ([#"\REGISTRY\MACHINE"#] + name).joined(separator: #"\"#)
      let found = rules.decide(delete(complete)) { nil }
      #expect((found.reason == .deniedBelow) == isAncestor, "seed \(seed): \(complete) against \(patterns)")
    }
  }

  @Test(.timeLimit(.minutes(1)))
  func manyWildcardsUnderOneAnotherDoNotMultiply() throws {
    let hostile = #"HKLM\**\a\**\a\**\a\**\a\**\a\**\a\**\a\**\a\**\b"#
    let rules = RuleSet(monitored: [try rule(hostile, .createDenied)])
    let name = #"\REGISTRY\MACHINE"# + String(repeating: #"\a"#, count: 400)
    #expect(rules.decide(create(name)) { nil }.reason == .untouched)
    #expect(rules.decide(create(name + #"\b"#)) { nil }.reason == .denied)
  }

  @Test func oddNamesAreNamesLikeOthers() throws {
    let rules = RuleSet(monitored: [
      try rule(#"HKLM\SOFTWARE\Acme"#, .createDenied), try rule("one", #"HKLM\SOFTWARE\*"#, .createKeyOperation),
    ])
    func reason(_ name: UnicodeName) -> Decision.Reason {
      rules.decide(.createKey(completeName: name, parent: key(""), options: [])) { nil }.reason
    }
    let software = UnicodeName(#"\REGISTRY\MACHINE\SOFTWARE"#)
    #expect(reason(software.appending("Acme")) == .denied)
    for odd in ["Acme\0", "Acme ", "Acme.", "Ac%6De", ""] {
      #expect(reason(software.appending(UnicodeName(odd))) == .watched)
    }
    #expect(reason(software.appending(UnicodeName(units: [0xD800]))) == .watched)
    #expect(reason(UnicodeName("")) == .untouched)
    #expect(reason(UnicodeName("\\")) == .untouched)
    #expect(reason(UnicodeName(units: Array(repeating: 0x5C, count: 5000))) == .untouched)
  }

  @Test func upperCaseIsWindows() throws {
    let rules = RuleSet(monitored: [try rule(#"HKLM\straße\é"#, .createDenied)])
    #expect(rules.decide(create(#"\REGISTRY\MACHINE\STRAßE\É"#)) { nil }.verdict == .deny)
    #expect(rules.decide(create(#"\REGISTRY\MACHINE\STRASSE\É"#)) { nil }.verdict == .allow)
  }

  @Test(arguments: [
    ("", 0), ("HKXX\\a", 0), ("HKCU\\a", 0), ("HKLM/SOFTWARE", 0), ("HKLM\\\\a", 4), ("HKLM\\a\\", 6),
    ("\\REG\\a", 0), ("HKLM\\Foo\\Wi*", 9), ("\\", 0),
  ])
  func aNameThatCannotBeMeantIsAnError(name: String, offset: Int) {
    #expect { try KeyPattern(name) } throws: { ($0 as? KeyPatternError)?.offset == offset }
  }
}
