/// How a decision came about, step by step: written down by the code that decides, while it does.
package struct Explanation: Sendable, CustomStringConvertible {
  package struct Step: Hashable, Sendable {
    /// What was asked, in the order in which it is.
    package enum Subject: String, Sendable {
      case operation, hardening, monitored, below, sigma, query, process, mode, verdict
    }

    package let subject: Subject
    package let text: String
  }

  package let steps: [Step]
  package let decision: Decision

  /// A line per step, the subject before it.
  package var description: String {
    steps.map { step in
      let subject = step.subject.rawValue
      return subject + ":" + String(repeating: " ", count: max(1, 11 - subject.utf8.count)) + step.text
    }.joined(separator: "\n")
  }
}

/// Takes notes while a decision is made. Where there is none, `trace?.note(…)` costs a comparison and makes no text.
final class DecisionTrace {
  private(set) var steps: [Explanation.Step] = []

  func note(_ subject: Explanation.Step.Subject, _ text: String) {
    steps.append(Explanation.Step(subject: subject, text: text))
  }
}
