/// Why a rule, or a part of one, cannot be used.
package struct SigmaProblem: Error, Hashable, Sendable, CustomStringConvertible {
  package let description: String

  init(_ description: String) { self.description = description }
}
