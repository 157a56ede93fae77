internal import ArgumentParser
internal import Glibc
internal import PolicyFile
internal import WdFilter

/// `regward rules`: the policy, without a mount.
struct RulesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rules",
    abstract: "Checks policy files, and prints the one that ships.",
    subcommands: [Lint.self, Default.self]
  )

  struct Lint: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Checks policy files and tells what is wrong with them.",
      discussion: """
        Each problem is one line, FILE:LINE:COLUMN: error: or warning: and what it is. A file without errors gets one \
        line on standard output that says what it protects.

        A policy and its folder must belong to root or to you and be writable by nobody else, or a mount refuses it; \
        so does this check.

        Exit status: 0 when every file is usable, warnings or not; 1 when one has errors; 64 when the command line is \
        wrong.
        """
    )

    @Argument(help: ArgumentHelp("The policy files to check.", valueName: "file"))
    var files: [String]

    func run() throws {
      var failed = false
      for file in files {
        do throws(PolicyError) {
          let policy = try PolicyFile.load(path: file)
          for warning in policy.warnings { complain(warning.lintLine) }
          print("\(file): \(Self.summary(policy))")
        } catch {
          failed = true
          for problem in error.problems { complain(problem.lintLine) }
        }
      }
      if failed { throw ExitCode(1) }
    }

    /// `ok, 6 hardened, 1 monitored, …`; built-in keys are not the file's and are not counted.
    private static func summary(_ policy: PolicyFile) -> String {
      let rules = policy.rules
      let hardened = rules.hardened.count { $0.source != .builtIn }
      var parts = ["ok", "\(hardened) hardened", "\(rules.monitored.count) monitored"]
      parts.append("\(rules.processes.count) processes")
      if !rules.exclusions.isEmpty { parts.append("\(rules.exclusions.count) exclusions") }
      if rules.mode != .enforce { parts.append("mode \(rules.mode.rawValue)") }
      if !policy.warnings.isEmpty { parts.append("\(policy.warnings.count) warnings") }
      return parts.joined(separator: ", ")
    }

    private func complain(_ line: String) {
      let bytes = Array((line + "\n").utf8)
      // Standard error that cannot be written to leaves nobody to tell; the exit status still does.
      _ = write(STDERR_FILENO, bytes, bytes.count)
    }
  }

  struct Default: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Prints the policy that is in force when none is named."
    )

    func run() { print(DefaultPolicy.text) }
  }
}
