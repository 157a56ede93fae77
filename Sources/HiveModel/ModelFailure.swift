package import HiveStorage

/// An operation that a hive did otherwise than the model, or whose device failed.
package struct ModelFailure: Error, CustomStringConvertible {
  package let seed: UInt64
  /// The operation's, counted from 1.
  package let number: Int
  package let operation: ModelOperation
  /// What the hive threw, when that was no refusal that a model knows.
  package let error: HiveError?
  private let problem: String

  init(seed: UInt64, number: Int, operation: ModelOperation, error: HiveError?, problem: String = "") {
    self.seed = seed
    self.number = number
    self.operation = operation
    self.error = error
    self.problem = problem
  }

  package var description: String {
    "seed \(seed), operation \(number), \(operation): \(error.map(\.description) ?? problem)"
  }
}
