internal import ArgumentParser
internal import Executive
internal import Glibc
internal import HiveStorage
internal import PolicyFile
internal import Sigma
internal import WdFilter

/// `regward rules`: policies, with and without a mount.
struct RulesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rules",
    abstract: "Checks, lists, explains and tests policies.",
    subcommands: [Lint.self, List.self, Explain.self, Test.self, CanI.self, Schema.self, Default.self]
  )

  struct Lint: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Checks policy files and tells what is wrong with them.",
      discussion: """
        Each problem is one line, FILE:LINE:COLUMN: error: or warning: and what it is. A file without errors gets one \
        line on standard output that says what it protects.

        A policy and its folder must belong to root or to you and be writable by nobody else, or a mount refuses it; \
        so does this check.

        With --hive, it also tells of rules whose key is no key of the hives given. Where a hive belongs is \
        inferred, or said: --hive HKLM\\SYSTEM=FILE.

        Exit status: 0 when every file is usable, warnings or not; 1 when one has errors; 64 when the command line is \
        wrong.
        """
    )

    @Option(
      parsing: .singleValue, help: ArgumentHelp("A hive whose keys the rules should match.", valueName: "hive"),
      completion: .file())
    var hive: [String] = []

    @Argument(help: ArgumentHelp("The policy files to check.", valueName: "file"))
    var files: [String]

    func run() throws {
      var failed = false
      for file in files {
        do throws(PolicyError) {
          let policy = try PolicyFile.load(path: file)
          for warning in policy.warnings { RulesCommand.complain(warning.lintLine) }
          let (unused, isRead) = unusedKeys(policy.rules)
          for line in unused { RulesCommand.complain(line) }
          failed = failed || !isRead
          print("\(file): \(Self.summary(policy, policy.warnings.count + unused.count))")
        } catch {
          failed = true
          for problem in error.problems { RulesCommand.complain(problem.lintLine) }
        }
      }
      if failed { throw ExitCode(1) }
    }

    /// `ok, 6 hardened, 1 monitored, …`; built-in keys are not the file's and are not counted.
    private static func summary(_ policy: PolicyFile, _ warnings: Int) -> String {
      let rules = policy.rules
      let hardened = rules.hardened.count { $0.source != .builtIn }
      var parts = ["ok", "\(hardened) hardened", "\(rules.monitored.count) monitored"]
      parts.append(Console.count(rules.processes.count, "process", "processes"))
      if !rules.exclusions.isEmpty { parts.append(Console.count(rules.exclusions.count, "exclusion")) }
      if let sigma = policy.sigma {
        parts.append("\(Console.count(sigma.rules, "Sigma rule")) in \(Console.count(sigma.files, "file"))")
        if let denying = rules.sigma?.denying.rules.count, denying > 0 { parts.append("\(denying) of them deny") }
        if sigma.leftOut > 0 { parts.append("\(sigma.leftOut) left out") }
        if sigma.others > 0 { parts.append("\(sigma.others) not about the registry") }
      }
      if rules.mode != .enforce { parts.append("mode \(rules.mode.rawValue)") }
      if warnings > 0 { parts.append(Console.count(warnings, "warning")) }
      return parts.joined(separator: ", ")
    }

    /// A warning for each key pattern that no key of the hives matches; none if a hive cannot be read, which is told.
    private func unusedKeys(_ rules: RuleSet) -> (warnings: [String], isRead: Bool) {
      if hive.isEmpty { return ([], true) }
      let own = rules.hardened.filter { $0.source != .builtIn }
      let patterns = own.map { ($0.pattern, $0.source) } + rules.monitored.map { ($0.key, $0.source) }
      var use = PatternUse(patterns.map(\.0))
      do throws(MountFailure) { for text in hive { try note(text, &use) } } catch {
        Console.tell(error.message)
        return ([], false)
      }
      let warnings = use.unused.map { index in
        let (pattern, source) = patterns[index]
        return "\(source):\(source.column): warning: no key of the hives given is \(pattern.text)"
      }
      return (warnings, true)
    }

    private func note(_ text: String, _ use: inout PatternUse) throws(MountFailure) {
      var (path, place) = (text, UnicodeName?.none)
      if let sign = text.firstIndex(of: "="), let name = RegistryLocation.parse(String(text[..<sign])) {
        (path, place) = (String(text[text.index(after: sign)...]), name)
      }
      do throws(HiveError) {
        let opened = try Hive(HiveFile(path: path, access: .readOnly))
        let name = place ?? RegistryLocation.inferred(
          rootKeys: HiveSurvey.rootKeys(opened), fileName: FilePath.lastComponent(path))
        HiveSurvey.forEachKey(opened, at: name) { use.note($0) }
      } catch {
        throw MountFailure(error, hive: path)
      }
    }
  }

  struct Schema: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Prints the JSON Schema of policies, for editors."
    )

    func run() { print(PolicySchema.text, terminator: "") }
  }

  struct Default: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Prints the policy that is in force when none is named."
    )

    func run() { print(DefaultPolicy.text) }
  }

  /// A line on standard error; if that cannot be written to, the exit status still tells.
  static func complain(_ line: String) { Console.write(Array((line + "\n").utf8), to: STDERR_FILENO) }
}
