internal import Executive

/// One operation, done `count` times.
final class MeasuredCase {
  let name: String
  let count: Int
  private let operation: (Int) throws -> Void
  private var failure: (any Error)?

  /// `operation` is told how often it was called before: it is not measured the first `warmUp` times.
  init(_ name: String, count: Int, warmUp: Int = 20, _ operation: @escaping (Int) throws -> Void) throws {
    self.name = name
    self.count = count
    self.operation = { number in try operation(number + warmUp) }
    for number in -warmUp..<0 { try self.operation(number) }
  }

  /// Nanoseconds of all. A case that fails would measure something else: it ends the program.
  func run() -> UInt64 {
    let start = MonotonicClock.nanoseconds()
    countedLoop(self)
    let time = MonotonicClock.nanoseconds() - start
    if let failure { preconditionFailure("\(name): \(failure)") }
    return time
  }

  fileprivate func repeatOperation() {
    do {
      for number in 0..<count { try operation(number) }
    } catch {
      failure = error
    }
  }
}

/// By this name, as it stands, the counting finds where a case begins and ends.
@_silgen_name("counted_loop")
@inline(never)
private func countedLoop(_ measured: MeasuredCase) { measured.repeatOperation() }

/// Takes a result, so that nothing is left out that makes it.
@inline(never)
@_optimize(none)
func use<Result>(_ result: borrowing Result) {}
