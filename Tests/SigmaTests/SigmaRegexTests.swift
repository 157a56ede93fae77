import Testing

@testable import Sigma

/// SEMANTICS 12.4: regular expressions.
@Suite(.timeLimit(.minutes(1))) struct SigmaRegexTests {
  private func matches(_ expression: String, _ text: String) throws -> Bool {
    try SigmaRegex(expression).matches(SigmaText(text))
  }

  @Test(arguments: [
    ("b", "abc", true), ("^b", "abc", false), ("c$", "abc", true), ("b$", "abc", false), ("^abc$", "abc", true), ("", "", true), ("^$", "a", false),
    ("a.c", "abc", true), ("a.c", "a\nc", false), ("a|b", "b", true), ("^(a|bc)+$", "abca", true), ("^(a|bc)+$", "ab", false), ("^(?:ab)*$", "ababab", true),
    ("a+", "b", false), ("^a?b$", "b", true), ("^a*?b$", "aab", true), ("^a+?$", "aaa", true), ("^a??b$", "b", true),
    ("^a{2}$", "aa", true), ("^a{2}$", "aaa", false), ("^a{2,}$", "aaaa", true), ("^a{2,}$", "a", false), ("^a{1,3}$", "aaaa", false),
    ("^a{0,1}$", "", true), ("^a{,2}$", "aa", true), ("^(ab){2,3}$", "ababab", true), ("^a{0}$", "", true),
    (#"-1[0-9]{3}\\Soft"#, #"S-1-1001\Software"#, true), (#"-1[0-9]{3}\\Soft"#, #"S-1-100\Software"#, false),
    ("^[a-c]+$", "abcd", false), ("^[^a-c]+$", "xyz", true), ("^[^a-c]+$", "xaz", false), ("^[]a]+$", "]a", true), ("^[a-]+$", "a-", true),
    (#"^[\d\-.]+$"#, "1-2.3", true), (#"^[^\d]$"#, "1", false), (#"^[\D]$"#, "1", false), (#"^[\Wx]+$"#, "x- ", true), (#"^[\W]$"#, "_", false),
    (#"^\d\D\w\W\s\S$"#, "1a_- x", true), (#"^\s$"#, "x", false), (#"^\.$"#, ".", true), (#"^\.$"#, "x", false), (#"^\/\:\@$"#, "/:@", true),
    (#"^\x41\u00e4\t\n\r$"#, "Aä\t\n\r", true), (#"\bcat\b"#, "a cat.", true), (#"\bcat\b"#, "concat", false), (#"\Bcat"#, "concat", true), (#"\Bcat"#, "cat", false),
    (#"\Aa\z"#, "a", true), (#"\Aa\Z"#, "ba", false), ("(?i)ABC", "xabc", true), ("(?i)[a-z]{3}", "ABC", true), ("(?i)[^a]", "A", false), ("(?s)a.c", "a\nc", true),
    ("(?m)^c$", "a\nc\nd", true), ("(?i)ä", "Ä", true), ("ä", "Ä", false), ("(|a)b", "b", true), ("(a|)", "", true), ("()*x", "x", true), ("(a*)*b", "aab", true),
    ("a|", "zz", true), (#"^\{a\}$"#, "{a}", true),
  ])
  func expressions(expression: String, text: String, isMatch: Bool) throws { #expect(try matches(expression, text) == isMatch) }

  @Test(arguments: [
    ("(a", "a ')' is missing"), ("a)", "closes nothing"), ("[a", "a ']' is missing"), ("*a", "repetition of nothing"), ("a**", "repetition of a repetition"),
    ("a++", "repetition of a repetition"), ("a{2", "no repetition"), ("a{3,2}", "repetition from 3 to 2"), ("a{257}", "at most 256"), ("{2}", "repetition of nothing"),
    (#"(a)\1"#, #"'\1' is not supported"#), ("(?=a)", "groups that look around"), ("(?!a)b", "groups that look around"), ("(?<=a)b", "groups that look around"),
    ("(?P<n>a)", "groups that look around"), ("(?i:a)", "groups that look around"), (#"\pL"#, #"'\p' is not supported"#), (#"a\"#, "backslash at the end"),
    (#"\xZ1"#, "two hexadecimal digits"), ("[z-a]", "range that is none"), (#"[\d-z]"#, "range that is none"),
    ("(a{200}){200}", "more than 512 steps"), (String(repeating: "a", count: 600), "more than 512 steps"),
    (String(repeating: "(", count: 40) + String(repeating: "){256}", count: 40), "groups more than 32 deep"),
    (String(repeating: "(", count: 30) + String(repeating: "){256}", count: 30), "more than 512 steps"),
  ])
  func whatIsNotKnownIsAnError(expression: String, problem: String) {
    do throws(SigmaProblem) {
      _ = try SigmaRegex(expression)
      Issue.record("\(expression.prefix(50)) is taken")
    } catch { #expect(error.description.contains(problem), "\(error)") }
  }

  /// Each of these sends a matcher that goes back through more ways than there are atoms.
  @Test(arguments: ["(a+)+$", "^(a|a)*$", "(a|aa)+$", "(.*a){12}$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(x+x+)+y", "(a*)*b"])
  func noTextMakesItGoBack(expression: String) throws {
    let text = SigmaText(String(repeating: "a", count: 20_000) + "!")
    #expect(!(try SigmaRegex(expression).matches(text)))
  }
}
