import Executive
import HiveModel
import HiveStorage
import Testing

/// Operations of all kinds on a hive and on a model; the whole tree is compared, also after a commit, and when it was
/// opened anew.
@Suite struct ModelTests {
  /// `REGWARD_SEED` gives another run of the same tests; what fails prints its seed.
  static let seed = Environment.number("REGWARD_SEED") ?? 1

  @Test(arguments: [3, 4, 5, 6]) func aRunDoesWhatTheModelDoes(minor: Int) throws {
    let seed = UInt64(Self.seed) &* 10 &+ UInt64(minor)
    print("model test: version 1.\(minor), seed \(seed) (REGWARD_SEED=\(Self.seed))")
    var run = ModelRun(seed: seed, profile: ModelRun.Profile(minorVersion: minor, keyCount: 400, longestData: 40_000))
    let device = MemoryDevice(name: "hive")
    let logs = LogPair.inMemory()
    try RegistryModel.format(device, minorVersion: minor)
    var hive = try TestHive(device: device, logs: logs)
    for step in 1...4000 {
      try run.advance(&hive.hive)
      if step % 500 == 0 {
        hive.expectSound()
        #expect(run.difference(from: hive.hive) == nil)
      }
      if step % 1000 == 0 {
        // Every other time by the logs alone.
        if step % 2000 == 0 { try hive.commit() }
        hive = try TestHive(device: device, logs: logs)
        hive.expectSound()
        #expect(run.difference(from: hive.hive) == nil)
      }
    }
    let counted = try hive.statistics()
    // Forces the counts to be kept, then compares them with counting anew.
    try hive.hive.setLastWriteTime(of: hive.root, FileTime(rawValue: 5))
    #expect(try hive.statistics() == counted)
    try hive.commit()
    try check(device.bytes, name: "model-1.\(minor)-\(seed)")
  }

  /// A generator that stopped to draw a kind would make every run pass.
  @Test func everyKindOfOperationIsDrawnAndEveryRefusalMet() throws {
    var run = ModelRun(seed: 7, profile: ModelRun.Profile(minorVersion: 3, keyCount: 200))
    var kinds: [String: Int] = [:]
    for _ in 0..<5000 { kinds["\(run.advance())".prefix { $0 != "(" }.description, default: 0] += 1 }
    #expect(kinds.count == 10, "\(kinds)")
    #expect(kinds.values.allSatisfy { $0 >= 10 }, "\(kinds)")
    #expect(run.refusals[.nameCollision] ?? 0 > 10 && run.refusals[.cannotDelete] ?? 0 > 10)
    #expect(run.refusals[.limit] ?? 0 > 5)
  }

  /// What a process goes on with must be what another one broke off.
  @Test func aSeedMeansTheSameOperationsEveryTime() {
    var runs = (0..<2).map { _ in ModelRun(seed: 3, profile: ModelRun.Profile(minorVersion: 5)) }
    for _ in 0..<2000 {
      #expect("\(runs[0].advance())" == "\(runs[1].advance())")
    }
    #expect(ModelDump(runs[0].model.root).bytes == ModelDump(runs[1].model.root).bytes)
  }
}
