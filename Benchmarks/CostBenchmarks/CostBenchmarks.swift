internal import Executive
internal import Glibc

/// What each operation costs the processor, a case at a time: `mount-scripts/bench-costs` counts instructions and allocations
/// between the beginning and the end of `countedLoop`.
///
/// `CostBenchmarks FOLDER [once]` prints a line per case: name, operations, nanoseconds of one; `once` is for the counting, which needs no
/// second round. Hives lie in FOLDER.
@main
struct CostBenchmarks {
  static func main() throws {
    let arguments = CommandLine.arguments.dropFirst()
    guard let folder = arguments.first else {
      print("usage: CostBenchmarks FOLDER [once]")
      exit(64)
    }
    let rounds = arguments.count > 1 ? 1 : 3
    for makeCase in cases(in: folder) {
      var name = ""
      var fastest = UInt64.max
      var count = 0
      for _ in 0..<rounds {
        // Made anew: what a round has created is not there in the next.
        let measured = try makeCase()
        fastest = min(fastest, measured.run())
        (name, count) = (measured.name, measured.count)
      }
      print("\(name)\t\(count)\t\(fastest / UInt64(count))")
    }
  }

  static func cases(in folder: String) -> [() throws -> MeasuredCase] {
    decisions + fileSystem + storage(in: folder) + codecs + events
  }
}
