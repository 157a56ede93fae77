import Executive
import Testing

@testable import Sigma

/// SEMANTICS 12.4: how a rule compares.
@Suite(.timeLimit(.minutes(1))) struct SigmaItemTests {
  private func matches(_ key: String, _ value: String, _ text: String) throws -> Bool? {
    try item(key, value).matches(seen(.setValue, [.targetObject: text]))
  }

  @Test(arguments: [
    // Anything, one unit, and what takes their meaning away.
    ("a*c", "abbc", true), ("a*c", "ac", true), ("a*c", "acd", false), ("a?c", "abc", true), ("a?c", "ac", false), ("*", "", true),
    (#"a\*c"#, "a*c", true), (#"a\*c"#, "abc", false), (#"a\?c"#, "a?c", true), (#"a\?c"#, "abc", false),
    (#"a\\*"#, #"a\bc"#, true), (#"a\\*"#, "ab", false), (#"a\\\*"#, #"a\*"#, true), (#"a\\\*"#, #"a\b"#, false),
    (#"a\\\\b"#, #"a\\b"#, true), (#"a\\\b"#, #"a\\b"#, true), (#"a\\b"#, #"a\b"#, true), (#"a\b"#, #"a\b"#, true), (#"a\"#, #"a\"#, true),
    // What is taken by one star is not there for the next piece, nor for the end.
    ("ab*ba", "aba", false), ("ab*ba", "abba", true), ("*ab*ab*", "ab", false), ("*ab*ab*", "abxab", true), ("a*b*c", "a c b", false),
    ("*a?c*", "xxabcxx", true), ("*aab*", "aaaab", true),
    // In the registry's upper case, one unit to one.
    ("ÄPFEL", "äpfel", true), ("\u{3C2}", "\u{3A3}", false), ("straße", "STRASSE", false), ("", "", true), ("", "a", false),
    ("?", "\u{1F600}", false), ("??", "\u{1F600}", true),
  ])
  func wildcards(value: String, text: String, isMatch: Bool) throws { #expect(try matches("TargetObject", value, text) == isMatch) }

  @Test(arguments: [
    ("contains", "b", "abc", true), ("contains", "d", "abc", false), ("contains", "", "abc", true), ("contains", "a*c", "xabcx", true),
    ("startswith", "ab", "ABC", true), ("startswith", "b", "abc", false), ("endswith", "bc", "abc", true), ("endswith", "b", "abc", false),
    ("endswith", #"\Run\"#, #"x\Run\"#, true), ("cased", "Abc", "abc", false), ("cased", "Abc", "Abc", true),
    ("contains|cased", "B", "abc", false), ("contains|cased", "b", "abc", true), ("exists", "true", "", true), ("exists", "false", "", false),
    ("re", "b+", "abbc", true), ("re", "B", "abc", false), ("re|i", "B", "abc", true), ("re", "^a.c$", "a\nc", false), ("re|s", "^a.c$", "a\nc", true),
    ("re", "^c", "a\nc", false), ("re|m", "^c", "a\nc", true), ("re|i|m", "^C", "a\nc", true),
  ])
  func modifiers(modifiers: String, value: String, text: String, isMatch: Bool) throws {
    #expect(try matches("TargetObject|" + modifiers, value, text) == isMatch)
  }

  @Test func aListIsEitherAndAllIsEach() throws {
    let event = seen(.setValue, [.details: "one two"])
    #expect(try item("Details|contains", "three", "TWO").matches(event) == true)
    #expect(try item("Details|contains|all", "one", "two").matches(event) == true)
    #expect(try item("Details|contains|all", "one", "three").matches(event) == false)
    #expect(try item("Details|all|contains", "one", "three").matches(event) == false)
  }

  @Test func whatIsAbsentMatchesNullAndNothingElse() throws {
    let event = seen(.setValue, [:])
    let null = try SigmaItem(key: "Details", values: [.null])
    #expect(null.matches(event) == true)
    #expect(try SigmaItem(key: "Details", values: [.text("x"), .null]).matches(event) == true)
    #expect(null.matches(seen(.setValue, [.details: ""])) == false)
    #expect(try item("Details", "").matches(event) == false)
    #expect(try item("Details", "*").matches(event) == false)
    #expect(try item("Details|exists", "false").matches(event) == true)
    #expect(try item("Details|exists", "true").matches(event) == false)
  }

  /// 12.6: what nobody can say is no exception, and what is not there yet decides nothing.
  @Test func theUnknownMatchesNothingAndThePendingIsLeftOpen() throws {
    var event = seen(.setValue, [.targetObject: "t"])
    event[.image] = .unknown
    event[.details] = .pending
    #expect(try SigmaItem(key: "Image", values: [.null]).matches(event) == false)
    #expect(try item("Image", "*").matches(event) == false)
    #expect(try item("Details", "*").matches(event) == nil)
    let (target, other, details) = (try item("TargetObject", "t"), try item("TargetObject", "u"), try item("Details", "d"))
    #expect(SigmaSearch(alternatives: [[target, details]]).matches(event) == nil)
    #expect(SigmaSearch(alternatives: [[other, details]]).matches(event) == false)
    #expect(SigmaSearch(alternatives: [[details], [target]]).matches(event) == true)
    #expect(SigmaSearch(alternatives: [[details], [other]]).matches(event) == nil)
    let searches = [SigmaSearch(alternatives: [[target]]), SigmaSearch(alternatives: [[details]])]
    let matches = { (text: String) in try SigmaCondition(parsing: text, names: ["a", "b"]).matches(event, searches) }
    #expect(try matches("a and not b") == nil)
    #expect(try matches("a or not b") == true)
    #expect(try matches("not a and b") == false)
  }

  @Test(arguments: [
    ("Hashes", "the field 'Hashes' is not supported"), ("", "keywords are not supported"), ("|contains", "keywords are not supported"),
    ("targetobject", "the field 'targetobject' is not supported"),
    ("Details|base64", "the modifier 'base64' is not supported"), ("Details|windash|contains", "the modifier 'windash' is not supported"),
    ("Details|contains|endswith", "the modifier 'endswith' does not go with the one before it"),
    ("Details|re|contains", "the modifier 'contains' does not go with"), ("Details|i", "the modifier 'i' is not supported"),
    ("Details|contains|i", "the modifier 'i' is not supported"), ("Details|re|cased", "'cased' goes with texts only"),
    ("Details|exists", "'Details|exists' is true or false"), ("Details|", "the modifier '' is not supported"),
  ])
  func whatIsNotKnownIsAnError(key: String, problem: String) {
    do throws(SigmaProblem) {
      _ = try SigmaItem(key: key, values: [.text("x")])
      Issue.record("\(key) is taken")
    } catch {
      #expect(error.description.hasPrefix(problem) || error.description.contains(problem), "\(error)")
    }
  }

  @Test func nullGoesWithNoModifierAndAnItemHasAValue() {
    #expect(throws: SigmaProblem.self) { try SigmaItem(key: "Details|contains", values: [.null]) }
    #expect(throws: SigmaProblem.self) { try SigmaItem(key: "Details", values: []) }
  }

  @Test func everyFieldHasAPlaceOfItsOwn() {
    #expect(SigmaField.allCases.map(\.place) == Array(SigmaField.allCases.indices))
  }
}
