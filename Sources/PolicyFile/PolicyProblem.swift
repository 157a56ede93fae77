/// One thing that is wrong, or doubtful, in a policy file.
package struct PolicyProblem: Hashable, Sendable, CustomStringConvertible {
  package enum Severity: String, Sendable { case error, warning }

  package let severity: Severity
  package let file: String
  /// From 1; 0 when the problem is the file itself and not a place in it.
  package let line: Int
  package let column: Int
  package let message: String

  package init(severity: Severity, file: String, line: Int, column: Int, message: String) {
    self.severity = severity
    self.file = file
    self.line = line
    self.column = column
    self.message = message
  }

  package var place: String { line > 0 ? "\(file):\(line):\(column)" : file }

  /// `FILE:LINE:COLUMN: message`.
  package var description: String { "\(place): \(message)" }

  /// `FILE:LINE:COLUMN: error: message`.
  package var lintLine: String { "\(place): \(severity.rawValue): \(message)" }
}

/// A policy that cannot be used: every problem that was found, in the order of the file, at least one an error.
package struct PolicyError: Error, Hashable, Sendable, CustomStringConvertible {
  package let problems: [PolicyProblem]

  package init(problems: [PolicyProblem]) { self.problems = problems }

  /// One line per error.
  package var description: String {
    problems.filter { $0.severity == .error }.map(\.description).joined(separator: "\n")
  }
}
