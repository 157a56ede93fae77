import HiveModel
import HiveStorage
import Testing

/// The power goes at every moment of a run, and everything that can be on the disk then is recovered.
@Suite struct PowerCutTests {
  /// Mixed cuts at each position: `REGWARD_CUTS` asks for more.
  static let samples = Environment.number("REGWARD_CUTS") ?? 20

  @Test(arguments: [(3, 1), (4, 0xFFFF_FFF0), (5, 1), (5, 0xFFFF_FFFC)] as [(Int, UInt32)])
  func everyCutLeavesAStateBetweenTheLastSyncAndTheCut(minor: Int, sequence: UInt32) throws {
    let seed = UInt64(ModelTests.seed) &* 100 &+ UInt64(minor) &+ UInt64(sequence & 0xF0)
    let run = try CrashRun(seed: seed, minor: minor, sequence: sequence)
    for step in 1...120 {
      try run.advance()
      if step % 6 == 0 { try run.sync() }
      if step % 11 == 0 { try run.reconcile() }
      if step % 50 == 0 { try run.commit() }
    }
    var random = SeededGenerator(state: seed)
    var counts: [CrashDisk.Kind: Int] = [:]
    var states: Set<Int> = []
    let disk = run.disk
    disk.forEachCut(after: 0...disk.events.count, samples: Self.samples, &random) { cut in
      counts[cut.kind, default: 0] += 1
      let allowed = run.allowed(after: cut.position, isKilled: cut.kind == .allKept)
      let found: [Int]
      do { found = try run.recover(cut.contents) } catch {
        Issue.record("seed \(seed), \(cut.kind) after \(cut.position) events: \(error)")
        return
      }
      states.formUnion(found)
      if !found.contains(where: { allowed.contains($0) }) {
        Issue.record("seed \(seed), \(cut.kind) after \(cut.position) events: \(found) is found, not one of \(allowed)")
      }
    }
    let kinds = counts.map { "\($0.value) \($0.key)" }.sorted().joined(separator: ", ")
    let all = counts.values.reduce(0, +)
    print("version 1.\(minor), seed \(seed): \(disk.events.count) events, \(all) cuts (\(kinds))")
    // The cuts are looked for where something changes: a run whose states are not found has not been tried.
    #expect(states.count > 100 && counts.count == 6, "\(states.count) states are found, \(counts.count) kinds of cuts")
  }

  /// Recovering is writing too: the power goes while a hive is recovered, and again.
  @Test(arguments: [3, 5]) func aCutWhileRecoveringLosesNothing(minor: Int) throws {
    let seed = UInt64(ModelTests.seed) &* 100 &+ UInt64(minor)
    let run = try CrashRun(seed: seed, minor: minor)
    for step in 1...40 {
      try run.advance()
      if step % 5 == 0 { try run.sync() }
      if step % 13 == 0 { try run.reconcile() }
    }
    var random = SeededGenerator(state: seed)
    var left: [[[UInt8]]] = []
    let positions = stride(from: 3, to: run.disk.events.count, by: 17)
    run.disk.forEachCut(after: positions, samples: 1, &random) { cut in
      if cut.kind == .mixed || cut.kind == .allKept { left.append(cut.contents) }
    }
    var cuts = 0
    for contents in left {
      let found = try run.recover(contents)
      let disk = CrashDisk(contents)
      _ = try CrashRun.open(disk)
      try disk.forEachCut(after: 0...disk.events.count, samples: 0, &random) { cut in
        cuts += 1
        let again = try run.recover(cut.contents)
        #expect(again == found, "seed \(seed): \(cut.kind) after \(cut.position) events of the recovery")
      }
    }
    #expect(cuts > 400)
    print("version 1.\(minor), seed \(seed): \(cuts) cuts of \(left.count) recoveries")
  }
}
