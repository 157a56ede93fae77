import HiveModel
import HiveStorage
import Testing

/// Each device call of a run fails once: nothing that was there is lost, and the run goes on, or is told why not.
@Suite struct FaultTests {
  struct Kind: Sendable, CustomTestStringConvertible {
    let errno: Int32
    /// Eighths of a write that are done before it fails.
    let done: Int
    var testDescription: String { "errno \(errno), \(done)/8 of a write done" }
  }

  /// EIO and ENOSPC.
  static let kinds = [5, 28].flatMap { errno in [0, 4, 5].map { Kind(errno: errno, done: $0) } }

  @Test(arguments: kinds)
  func everyFailingCallLeavesTheOldState(kind: Kind) throws {
    let seed = UInt64(ModelTests.seed) &* 1000 &+ UInt64(kind.errno)
    var random = SeededGenerator(state: seed)
    var call = 0
    var failed = 0
    while true {
      let run = try CrashRun(seed: seed, minor: call % 2 == 0 ? 5 : 3)
      run.disk.fail(CrashDisk.Fault(call: call, errno: kind.errno, done: kind.done))
      let place = "seed \(seed), call \(call)"
      var checks = 0
      for step in 1...30 {
        try run.advance()
        if step % 5 == 0 { try run.sync() }
        if step % 12 == 0 { try run.reconcile() }
        if step == 20 { try run.commit() }
        // Right after it, before a commit makes everything good.
        guard run.disk.failures > 0, checks < 4 else { continue }
        checks += 1
        #expect(try run.recover(run.disk.contents).contains(run.run.count), "\(place): killed after step \(step)")
      }
      guard run.disk.failures > 0 else { break }
      failed += 1
      run.disk.forEachCut(after: [run.disk.events.count], samples: 5, &random) { cut in
        let allowed = run.allowed(after: cut.position, isKilled: cut.kind == .allKept)
        let found = (try? run.recover(cut.contents)) ?? []
        #expect(found.contains { allowed.contains($0) }, "\(place): \(cut.kind), \(found) is found, not \(allowed)")
      }
      call += 1
    }
    #expect(failed > 40, "a run has more calls than that")
    print("errno \(kind.errno), \(kind.done)/8 done: \(failed) runs, each with another failing call")
  }

  /// A commit whose last sync failed left a clean header, and a log that begins before it: what came into that log then
  /// was passed over by the recovery, or kept the hive from being recovered at all.
  @Test func aCommitThatFailedLosesNoLaterChange() throws {
    var failed = 0
    for call in 0..<20 {
      let run = try CrashRun(seed: 1, minor: 5)
      for _ in 0..<5 { try run.advance() }
      try run.reconcile()
      for _ in 0..<5 { try run.advance() }
      run.disk.fail(CrashDisk.Fault(call: call, errno: 5, done: 0))
      try run.commit()
      failed += run.disk.failures
      for _ in 0..<3 {
        try run.advance()
        #expect(try run.recover(run.disk.contents).contains(run.run.count), "call \(call) of the commit fails")
      }
      // By now every call works.
      try run.commit()
      try run.advance()
      #expect(try run.recover(run.disk.contents).contains(run.run.count), "after another commit, call \(call)")
    }
    #expect(failed > 4, "a commit has more calls than that")
  }
}
