import Testing

@testable import Sigma

/// SEMANTICS 12.4: conditions.
@Suite struct SigmaConditionTests {
  private static let names = ["a", "b", "sel_x", "sel_y", "_hidden"]

  /// What a condition says of an event of which just the searches named in `true` hold.
  private func matches(_ condition: String, _ holding: String) throws -> Bool? {
    let holding = Set(holding.split(separator: " ").map { String($0) })
    let searches = try Self.names.map { name in
      SigmaSearch(alternatives: [[try item("User", holding.contains(name) ? "yes" : "no")]])
    }
    return try SigmaCondition(parsing: condition, names: Self.names).matches(seen(.setValue, [.user: "yes"]), searches)
  }

  @Test(arguments: [
    ("a", "a", true), ("a", "b", false), ("not a", "b", true), ("not a", "a", false), ("not not a", "a", true),
    ("a and b", "a", false), ("a and b", "a b", true), ("a or b", "b", true),
    // not more than and, and that more than or.
    ("a or b and sel_x", "a", true), ("a or b and sel_x", "b", false), ("(a or b) and sel_x", "a", false), ("(a or b) and sel_x", "b sel_x", true),
    ("not a and b", "b", true), ("not a and b", "", false), ("not (a and b)", "b", true), ("not a or b", "a b", true),
    ("a and not b or sel_x and not sel_y", "sel_x sel_y", false), ("a and not b or sel_x and not sel_y", "sel_x", true),
    ("1 of sel_*", "sel_y", true), ("1 of sel_*", "a", false), ("any of sel_*", "sel_x", true), ("all of sel_*", "sel_x", false),
    ("all of sel_*", "sel_x sel_y", true), ("a and not 1 of sel_*", "a", true), ("a and not 1 of sel_*", "a sel_x", false),
    ("1 of them", "_hidden", false), ("1 of them", "sel_x", true), ("all of them", "a b sel_x sel_y", true), ("1 of _*", "_hidden", true),
    ("1 of a", "a", true), ("1 of *_x", "sel_x", true), ("A AND B", "", nil), ("a AND NOT b", "a", true), ("a OR 1 OF sel_*", "sel_x", true),
    ("(a)and(b)", "a b", true), ("\n a\n and b ", "a b", true),
  ])
  func conditions(condition: String, holding: String, isMatch: Bool?) throws {
    guard let isMatch else {
      #expect(throws: SigmaProblem.self) { try matches(condition, holding) }
      return
    }
    #expect(try matches(condition, holding) == isMatch)
  }

  @Test(arguments: [
    ("", "ends where a search is expected"), ("a and", "ends where a search is expected"), ("a b", "'b' is not expected"), ("c", "names 'c'"),
    ("(a", "a ')' is missing"), ("a)", "')' is not expected"), ("1 of", "nothing"), ("1 of none*", "no search is called so"), ("2 of sel_*", "names '2'"),
    ("a | count() > 5", "aggregations are not supported"), ("and a", "names 'and'"), ("not", "ends where"),
    (String(repeating: "(", count: 100_000), "nested more than 64 deep"),
  ])
  func whatIsNoConditionIsAnError(condition: String, problem: String) {
    do throws(SigmaProblem) {
      _ = try SigmaCondition(parsing: condition, names: Self.names)
      Issue.record("\(condition.prefix(50)) is taken")
    } catch { #expect(error.description.contains(problem), "\(error)") }
  }

  @Test func manyNegationsAreOne() throws {
    #expect(try matches(String(repeating: "not ", count: 100_001) + "a", "a") == false)
  }
}
