/// Which operations become events (`log-ops`). Processes, documents and messages to the mount are told in every scope.
package enum EventScope: String, CaseIterable, Sendable {
  /// What was refused, or would have been.
  case denied
  /// That, and what a rule watches.
  case matched
  /// That, and every other change that was made.
  case writes

  func admits(_ event: borrowing Event) -> Bool {
    if self == .denied, case .registry(let event) = copy event { return event.denied }
    return true
  }
}
