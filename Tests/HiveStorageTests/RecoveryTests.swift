import Executive
import HiveModel
import HiveStorage
import Testing

/// A dirty hive and its logs, and what it must become.
struct DirtyCase: CustomTestStringConvertible, Sendable {
  let testDescription: String
  let hive: [UInt8]
  /// `.LOG1` and the others.
  let logs: [[UInt8]]
  /// Nil: nothing can make it whole.
  let wanted: [UInt8]?

  /// Four states of a hive, each some changes after the one before.
  static func states(from sequence: UInt32) throws -> [[UInt8]] {
    let hive = try TestHive(minorVersion: 5)
    for number in 0..<24 {
      try hive.set("value", of: hive.create("Key\(number)", under: hive.root), to: bytes(number * 60))
    }
    try hive.commit()
    var states = [hive.bytes]
    for round in 1...3 {
      let key = try hive.create("New\(round)", under: hive.root)
      try hive.set("large", of: key, to: bytes(9_000, round))
      try hive.delete(#require(try hive.subkey(UnicodeName("Key\(round)"), of: hive.root)))
      try hive.commit()
      states.append(hive.bytes)
    }
    return states.map { state in
      var state = state
      put32(sequence &+ 1, at: 4, in: &state)
      put32(sequence, at: 8, in: &state)
      checksum(&state)
      return state
    }
  }

  static func dump(_ bytes: [UInt8]) throws -> [UInt8] {
    var clean = bytes
    put32(get32(4, in: clean), at: 8, in: &clean)
    checksum(&clean)
    return try TestHive(device: MemoryDevice(clean), access: .readOnly).dump()
  }

  /// `whole` is the number of the state that it becomes; `spoil` is what happens to hive and logs.
  private static func make(
    _ name: String, sequence: UInt32 = 10, whole: Int?,
    _ spoil: (inout [UInt8], inout [[UInt8]], [[UInt8]]) -> Void = { _, _, _ in }
  ) throws -> DirtyCase {
    let states = try states(from: sequence)
    var first = LogWriter(base: states[0], sequence: sequence)
    first.append(from: states[0], to: states[1])
    var second = LogWriter(base: states[0], sequence: first.sequence)
    second.append(from: states[1], to: states[2])
    second.append(from: states[2], to: states[3])
    var hive = states[0]
    var logs = [first.bytes, second.bytes]
    spoil(&hive, &logs, states)
    return DirtyCase(testDescription: name, hive: hive, logs: logs, wanted: try whole.map { try dump(states[$0]) })
  }

  static let all: [DirtyCase] = {
    do {
      return try [
        make("two logs", whole: 3),
        make("two logs, the later one first", whole: 3) { _, logs, _ in logs.swapAt(0, 1) },
        make("wrap in the second log", sequence: 0xFFFF_FFFE, whole: 3),
        make("wrap between the logs", sequence: 0xFFFF_FFFF, whole: 3) { _, logs, _ in logs.swapAt(0, 1) },
        make("a torn entry", whole: 2) { _, logs, _ in logs[1][logs[1].count - 100] ^= 1 },
        make("a torn entry in the first log", whole: 0) { _, logs, _ in logs[0][600] ^= 1 },
        make("a header that is wrong", whole: 2) { _, logs, _ in
          // Bins size, of the second entry of the second log.
          logs[1][secondEntry(logs[1]) + 18] ^= 1
        },
        make("a truncated log", whole: 2) { _, logs, _ in logs[1].removeLast(512) },
        make("a gap in the numbers", whole: 2) { _, logs, _ in
          let entry = secondEntry(logs[1])
          put32(get32(entry + 12, in: logs[1]) + 1, at: entry + 12, in: &logs[1])
          LogWriter.sign(&logs[1], at: entry)
        },
        make("stale entries behind", whole: 3) { _, logs, states in
          var stale = LogWriter(base: states[0], sequence: 5)
          stale.append(from: [], to: states[0])
          logs[1] += stale.bytes.dropFirst(512)
        },
        make("a gap between the logs", whole: 1) { _, logs, states in
          var later = LogWriter(base: states[0], sequence: 20)
          later.append(from: states[1], to: states[3])
          logs[1] = later.bytes
        },
        make("a log from before the hive", whole: 1) { _, logs, states in
          var stale = LogWriter(base: states[0], sequence: 4)
          stale.append(from: [], to: states[2])
          logs[1] = stale.bytes
        },
        make("no log that belongs to it", whole: nil) { _, logs, states in
          var stale = LogWriter(base: states[0], sequence: 4)
          stale.append(from: [], to: states[2])
          logs = [stale.bytes]
        },
        make("a first entry far ahead of the hive", whole: 1) { _, logs, states in
          var ahead = LogWriter(base: states[0], sequence: 300)
          ahead.append(from: states[0], to: states[1])
          logs = [ahead.bytes]
        },
        make("a log without an entry yet", whole: 0) { _, logs, states in
          logs = [LogWriter(base: states[0], sequence: 10).bytes + [UInt8](repeating: 0, count: 3584)]
        },
        make("no log", whole: nil) { _, logs, _ in logs = [] },
        make("bad base block", whole: 3) { hive, logs, states in
          // The pages of the first log are there; they would not be applied again.
          hive.replaceSubrange(4096..., with: states[1][4096...])
          hive[508] ^= 1
        },
        make("bad base block, the later log not begun", whole: 1) { hive, logs, states in
          hive[508] ^= 1
          logs[1] = LogWriter(base: states[3], sequence: 11).bytes + [UInt8](repeating: 0, count: 3584)
        },
        make("bad base block, no log", whole: nil) { hive, logs, _ in
          hive[508] ^= 1
          logs = []
        },
        make("growth", whole: 3) { hive, _, states in hive.removeLast(hive.count - states[0].count) },
        make("shrinkage", whole: 0) { hive, logs, states in
          hive.replaceSubrange(4096..., with: states[3][4096...])
          put32(UInt32(states[3].count - 4096), at: 40, in: &hive)
          checksum(&hive)
          var back = LogWriter(base: hive, sequence: 10)
          back.append(from: [], to: states[2])
          back.append(from: states[2], to: states[0])
          logs = [back.bytes]
        },
        make("an old log beside a stale new one", whole: 1) { hive, logs, states in
          // Its dump is that of states[1]: a DIRT log with all of its pages.
          var stale = LogWriter(base: states[0], sequence: 4)
          stale.append(from: [], to: states[2])
          logs = [dirt(states[1]), stale.bytes]
        },
      ]
    } catch {
      Issue.record("\(error)")
      return []
    }
  }()

  private static func secondEntry(_ log: [UInt8]) -> Int { 512 + Int(get32(516, in: log)) }

  /// An old log that makes any hive `state`.
  static func dirt(_ state: [UInt8]) -> [UInt8] {
    var log = Array(state.prefix(512))
    put32(get32(4, in: log), at: 8, in: &log)
    put32(1, at: 28, in: &log)
    checksum(&log)
    log += Array("DIRT".utf8) + [UInt8](repeating: 0xFF, count: (state.count - 4096) / 4096)
    while log.count % 512 != 0 { log.append(0) }
    return log + state[4096...]
  }
}

@Suite struct RecoveryTests {
  private func logDevices(_ logs: [[UInt8]]) -> [MemoryDevice] {
    logs.enumerated().map { MemoryDevice(name: "LOG\($0 + 1)", $1) }
  }

  private func recoveredForReading(_ hive: [UInt8], _ logs: [[UInt8]]) throws -> [UInt8] {
    HiveDump(try Hive(device: MemoryDevice(hive), access: .readOnly, otherLogs: logDevices(logs))).bytes
  }

  @Test(arguments: DirtyCase.all) func dirtyHivesAreMadeWhole(dirty: DirtyCase) throws {
    let plan = FaultPlan()
    plan.fail(at: nil)
    let device = FaultDevice(name: "hive", dirty.hive, plan: plan)
    let logs = dirty.logs.enumerated().map { FaultDevice(name: "LOG\($0 + 1)", $1, plan: plan) }
    guard let wanted = dirty.wanted else {
      for access in [Hive.Access.readOnly, .readWrite] {
        #expect {
          _ = try Hive(device: device, access: access, otherLogs: logs)
        } throws: { error in
          guard case HiveError.dirty(let problem)? = error as? HiveError else { return false }
          return logs.isEmpty
            ? problem.contains("no log lies beside it") : problem.contains("log LOG1 at file offset 0x")
        }
      }
      let hive = try Hive(device: device, access: .inspection, otherLogs: logs)
      let (unrecovered, recovery) = (hive.unrecovered, hive.recovery)
      #expect(unrecovered != nil && recovery == nil)
      #expect(plan.calls == 0, "nothing is written")
      return
    }
    do {
      let hive = try Hive(device: device, access: .readOnly, otherLogs: logs)
      let (dump, findings, recovery) = (HiveDump(hive).bytes, HiveChecker(hive).findings, hive.recovery)
      let isWhole = dump == wanted
      #expect(isWhole)
      #expect(findings.map { "\($0)" } == [])
      #expect(recovery != nil)
    }
    #expect(plan.calls == 0, "nothing is written")
    do {
      let hive = try Hive(device: device, access: .readWrite, otherLogs: logs)
      let (isWhole, recovery) = (HiveDump(hive).bytes == wanted, hive.recovery)
      #expect(isWhole)
      #expect(recovery != nil)
    }
    let again = try Hive(device: MemoryDevice(device.bytes), access: .readOnly)
    let (isWhole, recovery, findings) = (HiveDump(again).bytes == wanted, again.recovery, HiveChecker(again).findings)
    #expect(isWhole)
    #expect(recovery == nil, "it is clean")
    #expect(findings.map { "\($0)" } == [])
    let logsAreLeftOrEmpty = zip(logs, dirty.logs).allSatisfy { $0.bytes == $1 || $0.bytes.isEmpty }
    #expect(logsAreLeftOrEmpty)
    try check(device.bytes, name: "recovered")
  }

  /// A base block of zeros: the logs tell what the file was. For writing it is no hive: who knows what it is.
  @Test func aHiveWhoseBaseBlockIsGoneIsRecoveredForReading() throws {
    let dirty = try #require(DirtyCase.all.first { $0.testDescription == "bad base block" })
    let wanted = try #require(dirty.wanted)
    var hive = dirty.hive
    for place in 0..<512 { hive[place] = 0 }
    let isWhole = try recoveredForReading(hive, dirty.logs) == wanted
    #expect(isWhole)
    for (access, logs) in [(Hive.Access.readWrite, dirty.logs), (.readOnly, []), (.inspection, [])] {
      let plan = FaultPlan()
      plan.fail(at: nil)
      let device = FaultDevice(name: "hive", hive, plan: plan)
      #expect {
        _ = try Hive(device: device, access: access, otherLogs: logs.map { FaultDevice(name: "log", $0, plan: plan) })
      } throws: { error in
        if case HiveError.notAHive? = error as? HiveError { true } else { false }
      }
      #expect(plan.calls == 0, "nothing is written")
    }
  }

  @Test func theReportTellsWhatWasApplied() throws {
    let dirty = try #require(DirtyCase.all.first { $0.testDescription == "stale entries behind" })
    let hive = try Hive(device: MemoryDevice(dirty.hive), access: .readOnly, otherLogs: logDevices(dirty.logs))
    let found = hive.recovery
    let recovery = try #require(found)
    #expect(recovery.sequence == 13)
    #expect(recovery.logs.map(\.name) == ["LOG1", "LOG2"])
    #expect(recovery.logs.map(\.entries) == [1, 2])
    #expect(recovery.logs.map { $0.sequences?.first } == [10, 11])
    #expect(recovery.logs.map { $0.sequences?.last } == [10, 12])
    #expect(recovery.logs[1].end.map { "\($0)" }?.contains("an entry with number 5, not 13") == true)
  }

  /// A recovery that is cut off anywhere ends, begun again, where it would have ended.
  @Test(arguments: DirtyCase.all.filter { $0.wanted != nil })
  func aRecoveryCutOffAnywhereIsDoneAgain(dirty: DirtyCase) throws {
    let wanted = try #require(dirty.wanted)
    var random = SeededGenerator(state: 7)
    let plan = FaultPlan()
    for fault in 0... {
      plan.fail(at: nil)
      let device = FaultDevice(name: "hive", dirty.hive, plan: plan)
      let logs = dirty.logs.enumerated().map { FaultDevice(name: "LOG\($0 + 1)", $1, plan: plan) }
      plan.fail(at: fault)
      do {
        _ = try Hive(device: device, access: .readWrite, otherLogs: logs)
        #expect(fault >= 5, "a recovery has more calls than that")
        break
      } catch {
        guard case .device = error else { throw error }
      }
      plan.fail(at: nil)
      let isWhole = try recoveredForReading(device.bytes, logs.map { $0.bytes }) == wanted
      #expect(isWhole, "fault \(fault), killed")
      for cut in 0..<6 {
        let left = device.afterPowerCut(&random)
        let leftLogs = logs.map { $0.afterPowerCut(&random) }
        let isWhole = try recoveredForReading(left, leftLogs) == wanted
        #expect(isWhole, "fault \(fault), power cut \(cut)")
        let again = MemoryDevice(left)
        let logs = logDevices(leftLogs)
        _ = try Hive(device: again, access: .readWrite, otherLogs: logs)
        let isClean = try HiveDump(Hive(bytes: again.bytes)).bytes == wanted
        #expect(isClean, "fault \(fault), power cut \(cut), recovered")
      }
    }
  }

  /// Our first change and commit after a recovery, into logs that held entries of Windows: whatever the moment, never a
  /// mixture.
  @Test(arguments: DirtyCase.all.filter { $0.wanted != nil })
  func changesAfterARecoveryNeverMeetOldEntries(dirty: DirtyCase) throws {
    let wanted = try #require(dirty.wanted)
    var random = SeededGenerator(state: 8)
    let plan = FaultPlan()
    let name = UnicodeName("ours")
    var new: [UInt8] = []
    for fault in 0... {
      plan.fail(at: nil)
      let device = FaultDevice(name: "hive", dirty.hive, plan: plan)
      let logs = (0..<2).map {
        FaultDevice(name: "LOG\($0 + 1)", $0 < dirty.logs.count ? dirty.logs[$0] : [], plan: plan)
      }
      var hive = try Hive(device: device, access: .readWrite, logs: LogPair(logs[0], logs[1]))
      plan.fail(at: fault)
      var isDone = false
      do {
        _ = try hive.setValue(
          of: hive.rootKey, named: name.units.span, type: .binary, data: bytes(5_000), time: FileTime(rawValue: 3))
        new = HiveDump(hive).bytes
        try hive.commit()
        isDone = true
      } catch {
        guard case .device = error else { throw error }
      }
      // That a log could not be emptied at the end is no failure.
      let hasFailed = plan.hasFailed
      plan.fail(at: nil)
      for cut in 0..<4 {
        let left = try recoveredForReading(
          cut == 0 ? device.bytes : device.afterPowerCut(&random),
          logs.map { cut == 0 ? $0.bytes : $0.afterPowerCut(&random) })
        let isOldOrNew = left == new || !isDone && left == wanted
        #expect(isOldOrNew, "fault \(fault), power cut \(cut)")
      }
      if !hasFailed {
        let areEmpty = logs.allSatisfy { $0.bytes.isEmpty }
        #expect(areEmpty)
        break
      }
    }
  }

  /// Zeros in the place of bins that are nowhere would make a whole hive of a cut one, for good.
  @Test(arguments: ["cut", "huge", "odd"]) func whatIsNowhereIsNotWritten(what: String) throws {
    let states = try DirtyCase.states(from: 10)
    var hive = states[0]
    switch what {
    case "cut": hive.removeLast(4096)
    case "huge": put32(0xFFFF_F000, at: 40, in: &hive)
    default: put32(4095, at: 40, in: &hive)
    }
    checksum(&hive)
    let log = LogWriter(base: states[0], sequence: 10).bytes + [UInt8](repeating: 0, count: 3584)
    let plan = FaultPlan()
    plan.fail(at: nil)
    let device = FaultDevice(name: "hive", hive, plan: plan)
    #expect {
      _ = try Hive(device: device, access: .readWrite, otherLogs: [FaultDevice(name: "log", log, plan: plan)])
    } throws: { error in
      if case HiveError.damaged? = error as? HiveError { true } else { false }
    }
    #expect(plan.calls == 0, "nothing is written")
  }

  /// Bits and lengths of the logs, by chance: an error or a hive, never a trap, and nothing written.
  @Test(arguments: ["two logs", "bad base block", "an old log beside a stale new one", "shrinkage"])
  func spoiltLogsNeverTrap(name: String) throws {
    let dirty = try #require(DirtyCase.all.first { $0.testDescription == name })
    let plan = FaultPlan()
    plan.fail(at: nil)
    var opened = 0
    for seed in 0..<1000 as Range<UInt64> {
      var random = SeededGenerator(state: seed)
      var logs = dirty.logs
      let log = Int.random(in: 0..<logs.count, using: &random)
      if seed % 2 == 0 {
        for _ in 0..<Int.random(in: 1...8, using: &random) {
          // Headers more often than pages.
          let limit = Bool.random(using: &random) ? 600 : logs[log].count
          logs[log][Int.random(in: 0..<limit, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        }
        // Half of them with right sums, so that what they guard is looked at.
        if Bool.random(using: &random) {
          put32(get32(4, in: logs[log]), at: 8, in: &logs[log])
          checksum(&logs[log])
          let size = Int(get32(516, in: logs[log]))
          if size >= 40, 512 + size <= logs[log].count { LogWriter.sign(&logs[log], at: 512) }
        }
      } else {
        logs[log].removeLast(Int.random(in: 1...logs[log].count, using: &random))
      }
      let device = FaultDevice(name: "hive", dirty.hive, plan: plan)
      let devices = logs.map { FaultDevice(name: "log", $0, plan: plan) }
      do throws(HiveError) {
        let hive = try Hive(device: device, access: .readOnly, otherLogs: devices)
        if seed % 8 == 0 { _ = HiveChecker(hive).findings.count }
        opened += 1
      } catch {
        switch error {
        case .dirty, .notAHive, .damaged: break
        default: Issue.record("seed \(seed): \(error)")
        }
      }
    }
    #expect(plan.calls == 0, "nothing is written")
    #expect(opened > 0)
  }

  /// Entries with right hashes that say what cannot be.
  @Test(
    arguments: [
      (4, 0), (4, 511), (4, 512), (4, 0xFFFF_FE00), (16, 0), (16, 4095), (16, 0xFFFF_F000), (20, 0), (20, 0xFFFF_FFFF),
      (40, 0xFFFF_F000),
      (44, 0), (44, 0xFFFF_FFFF), (44, 0x7FFF_FFFF),
    ] as [(Int, UInt32)])
  func entriesThatLieAreNoTrap(field: Int, value: UInt32) throws {
    let dirty = try #require(DirtyCase.all.first)
    var log = dirty.logs[0]
    let size = get32(516, in: log)
    put32(value, at: 512 + field, in: &log)
    // The hashes are those of the entry as long as it is.
    let said = get32(516, in: log)
    put32(size, at: 516, in: &log)
    LogWriter.sign(&log, at: 512)
    put32(said, at: 516, in: &log)
    put64(LogWriter.marvin32(log[512..<544]), at: 544, in: &log)
    let hive = try Hive(device: MemoryDevice(dirty.hive), access: .readOnly, otherLogs: logDevices([log]))
    let recovery = hive.recovery
    #expect(recovery?.logs.first?.entries != nil)
    _ = HiveDump(hive).bytes
  }
}
