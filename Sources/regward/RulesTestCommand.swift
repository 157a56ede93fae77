internal import ArgumentParser
internal import Glibc
internal import PolicyFile
internal import WdFilter

extension RulesCommand {
  struct Test: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Compares a table of operations and expected decisions with what a policy decides. No mount is needed.",
      discussion: """
        The table is YAML, a list of tests, by itself or under 'tests' beside 'policy', a file, relative to the table:

          policy: my-policy.yaml
          tests:
            - { as: 'exe=/usr/bin/dpkg,uid=0', op: set, key: 'HKLM\\SYSTEM\\Select', value: Current, expect: deny }
            - { as: 'uid=1000', op: rename, key: 'HKLM\\SOFTWARE\\A', to: B, expect: allow }

        op, key, value, to and as are those of 'rules explain'; expect is allow, deny or audit (would be refused, \
        and is only logged); rule, if given, is the id of the rule that decides.

        Exit status: 0 when all is as expected; 1 when something is not, or table or policy cannot be used.
        """)

    @Argument(help: ArgumentHelp("The table.", valueName: "file"), completion: .file())
    var file: String

    @Option(help: ArgumentHelp("The policy, instead of the one that the table names or that ships.", valueName: "file"))
    var policy: String?

    func run() throws {
      let table: DecisionTestFile
      do throws(PolicyError) { table = try DecisionTestFile.load(path: file) } catch {
        for problem in error.problems { RulesCommand.complain(problem.lintLine) }
        throw ExitCode(1)
      }
      let rules: RuleSet
      do throws(MountFailure) { rules = try RulesCommand.policy(policy ?? beside(table.policy)).rules } catch {
        Console.tell(error.message)
        throw ExitCode(1)
      }
      let mismatches = Self.mismatches(table.tests, rules)
      for mismatch in mismatches { print(mismatch) }
      print("\(file): \(table.tests.count - mismatches.count) of \(table.tests.count) as expected")
      if !mismatches.isEmpty { throw ExitCode(1) }
    }

    /// A path relative to the table.
    private func beside(_ path: String?) -> String? {
      guard let path, !path.hasPrefix("/"), let slash = file.lastIndex(of: "/") else { return path }
      return file[...slash] + path
    }

    /// A line for each test that comes out otherwise.
    static func mismatches(_ tests: [DecisionTest], _ rules: RuleSet) -> [String] {
      tests.compactMap { test in
        do throws(QuestionProblem) {
          let question = try RuleQuestion(
            operation: test.operation, key: test.key, value: test.value, newName: test.newName, process: test.process)
          let decision = rules.explain(question.operation, process: question.process).decision
          if test.isMet(by: decision) { return nil }
          let rule = test.ruleID.map { " by '\($0)'" } ?? ""
          return "\(test.source): expected \(test.expected.rawValue)\(rule), got \(decision.summary)"
        } catch {
          return "\(test.source): \(error.message)"
        }
      }
    }
  }
}
