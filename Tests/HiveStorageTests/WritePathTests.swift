import Executive
import HiveModel
import Foundation
import HiveStorage
import Synchronization
import Testing

/// Changes on their way to the disk: through the log, and from the log to the primary file.
@Suite struct WritePathTests {
  static let samples: [(minor: Int, sequence: UInt32)] = [(3, 1), (5, 0xFFFF_FFFC)]

  /// After each step the reference reader's replay gives what is in memory, and so does ours.
  @Test(arguments: samples) func killedAtAnyTimeItHasEveryChange(minor: Int, sequence: UInt32) throws {
    let test = try HiveInUse(HiveInUse.sample(minor: minor, sequence: sequence), FaultPlan())
    for (number, step) in HiveInUse.script.enumerated() {
      try test.perform(step)
      let dump = test.dump()
      #expect(dump == test.states.last, "step \(number), \(step)")
      try expectEqual(test.killed.recoveredInEveryWay(), dump, "step \(number), \(step)")
      try expectEqual(recoveredByReference(test.killed) ?? dump, dump, "step \(number), \(step)")
    }
    // The end: clean, and no log left.
    let left = test.killed
    #expect(left.hive[4..<8] == left.hive[8..<12])
    #expect(left.logs == [[], []])
    try check(left.hive, name: "committed")
    #expect(test.states.count == 17)
  }

  /// Every call to a device fails once, with half of its work done. Nothing that was acknowledged is lost, in memory nor
  /// on the devices; what failed has changed nothing, and the next attempt does it.
  @Test(arguments: zip(samples, [EIO, ENOSPC]))
  func everyCallFailsOnce(sample: (minor: Int, sequence: UInt32), errno: Int32) throws {
    let bytes = try HiveInUse.sample(minor: sample.minor, sequence: sample.sequence)
    var random = SeededGenerator(state: 11)
    for fault in 0... {
      let test = try HiveInUse(bytes, FaultPlan())
      test.plan.fail(at: fault, errno: errno)
      for (number, step) in HiveInUse.script.enumerated() {
        let what = "fault \(fault), step \(number), \(step)"
        do throws(HiveError) { try test.perform(step) } catch {
          #expect("\(error)".contains(String(cString: strerror(errno))), "\(what): \(error)")
          expectEqual(test.dump(), test.states.last, "\(what)")
          try expectEqual(test.killed.recovered(), test.states.last, "\(what), killed")
          try expectBetween(test.afterPowerCut(&random), test, "\(what), power cut")
          if test.failure != nil {
            // Nothing is taken any more before a flush.
            #expect { try test.perform(.change) } throws: {
              if case HiveError.stopped? = $0 as? HiveError { true } else { false }
            }
            try test.perform(.reconcile)
            #expect(test.failure == nil, "\(what)")
            try expectEqual(test.killed.recovered(), test.states.last, "\(what), flushed")
          } else {
            #expect(errno == ENOSPC || step == .reconcile || step == .busyReconcile || step == .commit, "\(what)")
          }
          try test.perform(step)
        }
      }
      try expectEqual(TestHive(device: MemoryDevice(test.device.bytes), access: .readOnly).dump(), test.states.last)
      try expectEqual(test.killed.recovered(), test.states.last, "fault \(fault), at the end")
      if !test.plan.hasFailed {
        #expect(fault > 60, "a run has more calls than that")
        return
      }
    }
  }

  /// From every call on the devices do nothing any more. By kill -9 nothing acknowledged is lost; the power cut leaves a
  /// state not before the last sync.
  @Test(arguments: samples) func theMachineDiesAtEveryCall(minor: Int, sequence: UInt32) throws {
    let bytes = try HiveInUse.sample(minor: minor, sequence: sequence)
    var random = SeededGenerator(state: 12)
    for fault in 0... {
      let test = try HiveInUse(bytes, FaultPlan())
      test.plan.die(at: fault)
      for step in HiveInUse.script {
        do throws(HiveError) { try test.perform(step) } catch { break }
      }
      try expectEqual(test.killed.recovered(), test.states.last, "call \(fault), killed")
      for _ in 0..<3 { try expectBetween(test.afterPowerCut(&random), test, "call \(fault), power cut") }
      if !test.plan.hasFailed { return }
    }
  }

  /// Without the bytes in the message.
  private func expectEqual(
    _ a: [UInt8], _ b: [UInt8]?, _ what: String = "", _ location: SourceLocation = #_sourceLocation
  ) {
    let isEqual = a == b
    #expect(isEqual, "\(what)", sourceLocation: location)
  }

  private func expectBetween(_ left: HiveInUse.Left, _ test: HiveInUse, _ what: String) throws {
    do {
      let dump = try left.recovered()
      let isBetween = test.states[test.durable...].contains(dump)
      #expect(isBetween, "\(what)")
    } catch { Issue.record("\(what): \(error)") }
  }

  /// What golden.py makes of it, as a dump; nil where it is absent.
  private func recoveredByReference(_ left: HiveInUse.Left) throws -> [UInt8]? {
    guard Shared.isThere else { return nil }
    let folder = FileManager.default.temporaryDirectory.appending(path: "regward-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appending(path: "hive").path
    try Data(left.hive).write(to: URL(filePath: path))
    try Data(left.logs[0]).write(to: URL(filePath: path + ".LOG1"))
    try Data(left.logs[1]).write(to: URL(filePath: path + ".LOG2"))
    let tool = Shared.folder.appending(path: "tools/golden.py").path
    let (status, output) = try Shared.run("python3", [tool, "dump", path, "-o", path + ".tsv"])
    #expect(status == 0, "\(output)")
    let checked = try Shared.run("python3", [tool, "check", path])
    #expect(checked.status == 0, "\(checked.output.prefix(1000))")
    return [UInt8](try Data(contentsOf: URL(filePath: path + ".tsv")))
  }

  // MARK: The form of the log

  @Test func theLogIsAsWindowsWritesIt() throws {
    let bytes = try HiveInUse.sample(minor: 5, sequence: 40)
    let test = try HiveInUse(bytes, FaultPlan())
    for _ in 0..<3 { try test.perform(.change) }
    let log = test.first.bytes
    // The base block as it was, with the first entry's number; the hive says dirty, from that number on.
    var head = LogWriter(base: bytes, sequence: 40)
    #expect(Array(log.prefix(512)) == head.bytes)
    #expect([get32(4, in: test.device.bytes), get32(8, in: test.device.bytes)] == [41, 40])
    #expect(test.second.bytes.isEmpty)
    #expect(log.count % 4096 == 0, "nothing of what lay there before")
    // The first entry is the first page as it was.
    head.append(binsSize: bytes.count - 4096, [(0, Array(bytes[4096..<8192]))])
    #expect(Array(log.prefix(head.bytes.count)) == head.bytes)
    var place = 512
    var sequence: UInt32 = 40
    while place < log.count {
      let size = Int(get32(place + 4, in: log))
      #expect(Array(log[place..<place + 4]) == Array("HvLE".utf8))
      #expect(get32(place + 12, in: log) == sequence)
      #expect((place + size) % 4096 == 0)
      var signed = log
      LogWriter.sign(&signed, at: place)
      #expect(signed == log, "hashes of entry \(sequence)")
      var end = -1
      for run in 0..<Int(get32(place + 20, in: log)) {
        let (offset, count) = (Int(get32(place + 40 + 8 * run, in: log)), Int(get32(place + 44 + 8 * run, in: log)))
        // Neighbours are one run.
        #expect(offset > end && offset % 4096 == 0 && count > 0 && count % 4096 == 0)
        end = offset + count
      }
      place += size
      sequence &+= 1
    }
    #expect(sequence == 44)
  }

  @Test func aReconcileGoesOnInTheOtherLog() throws {
    let test = try HiveInUse(HiveInUse.sample(minor: 5, sequence: 40), FaultPlan())
    try test.perform(.change)
    try test.perform(.change)
    // Entries 40, 41 and 42.
    try test.perform(.reconcile)
    #expect(get32(4, in: test.second.bytes) == 43)
    #expect(get32(4, in: test.first.bytes) == 40, "not needed, and left as it is")
    #expect([get32(4, in: test.device.bytes), get32(8, in: test.device.bytes)] == [43, 43])
    // The time of the header, and the first bin's copy of it.
    #expect(test.device.bytes[12..<20] == test.device.bytes[4096 + 20..<4096 + 28])
    #expect(test.device.bytes[12] == 77)
    try expectEqual(TestHive(device: MemoryDevice(test.device.bytes), access: .readOnly).dump(), test.states.last)
    let before = test.plan.calls
    try test.perform(.reconcile)
    #expect(test.plan.calls == before, "nothing to do")
    try test.perform(.change)
    #expect([get32(4, in: test.device.bytes), get32(8, in: test.device.bytes)] == [44, 43])
    try test.perform(.busyReconcile)
    // Two changes came before it was begun, while the header was made durable.
    #expect(get32(4, in: test.first.bytes) == 47)
    #expect([get32(4, in: test.device.bytes), get32(8, in: test.device.bytes)] == [48, 47])
    #expect(test.lock.withShared { $0.hasUncommittedChanges })
  }

  /// Blocks and pages of a log serve again: it neither shrinks nor grows where the next entries are fewer, and a replay stops
  /// before the old ones.
  @Test func aLogIsWrittenOver() throws {
    let test = try HiveInUse(HiveInUse.sample(minor: 5, sequence: 40), FaultPlan())
    for _ in 0..<8 { try test.perform(.change) }
    let long = test.first.bytes
    // To the second log and back.
    try test.perform(.reconcile)
    try test.perform(.change)
    try test.perform(.reconcile)
    try test.perform(.change)
    let again = test.first.bytes
    #expect(again.count == long.count && get32(4, in: again) > get32(4, in: long))
    #expect(again.suffix(4096) == long.suffix(4096))
    try expectEqual(test.killed.recovered(), test.states.last)
    try expectEqual(recoveredByReference(test.killed) ?? test.dump(), test.dump())
  }

  /// A change costs its pages and one write, whatever the hive's size.
  @Test func aChangeIsOneWrite() throws {
    let test = try HiveInUse(HiveInUse.sample(minor: 5, sequence: 1), FaultPlan())
    for _ in 0..<5 { try test.perform(.change) }
    let (calls, size) = (test.plan.calls, test.first.bytes.count)
    try test.lock.withExclusive { (hive) throws(HiveError) in
      try hive.setLastWriteTime(of: hive.rootKey, FileTime(rawValue: 9))
    }
    #expect(test.plan.calls == calls + 1)
    // A page, and the header in another one.
    #expect(test.first.bytes.count == size + 2 * 4096)
  }

  @Test func aRefusedChangeIsNotInTheLog() throws {
    let test = try HiveInUse(HiveInUse.sample(minor: 5, sequence: 1), FaultPlan())
    let left = test.killed.hive
    #expect(throws: HiveError.nameCollision) {
      try test.lock.withExclusive { (hive) throws(HiveError) in
        let name = Array("key3".utf16)
        _ = try hive.createKey(under: hive.rootKey, named: name.span, className: nil, time: .now())
      }
    }
    #expect(test.plan.calls == 0)
    #expect(test.killed.hive == left)
  }

  /// Said before anything is changed, and over as soon as the log is at the primary file.
  @Test func noChangeBeginsWithALogAsLargeAsItMayBe() throws {
    let hive = try Hive(
      device: MemoryDevice(HiveInUse.sample(minor: 5, sequence: 1)), access: .readWrite,
      logs: LogPair(MemoryDevice(), MemoryDevice(), limits: LogLimits(largest: 20_000)))
    let lock = PushLock(hive)
    func change(_ time: UInt64) throws(HiveError) {
      try lock.withExclusive { (hive) throws(HiveError) in
        try hive.setLastWriteTime(of: hive.rootKey, FileTime(rawValue: time))
      }
    }
    // 8192 bytes with the first entry, then as many for each change.
    for time: UInt64 in 1...2 { try change(time) }
    let size = try #require(lock.withShared { $0.log?.size })
    #expect(size == 24_576)
    let before = lock.withShared { HiveDump($0).bytes }
    #expect(throws: HiveError.limit(problem: "the transaction log has 24576 bytes and cannot be brought to the hive's file")) {
      try change(3)
    }
    #expect(lock.withShared { HiveDump($0).bytes } == before)
    #expect(lock.withShared { $0.log?.failure } == nil)
    try Hive.reconcile(behind: lock)
    try change(4)
  }

  // MARK: Durability

  /// After a sync that failed a later one may say yes and mean nothing.
  @Test func aSyncThatFailedIsNotMadeGoodByTheNext() throws {
    let test = try HiveInUse(HiveInUse.sample(minor: 5, sequence: 1), FaultPlan())
    try test.perform(.change)
    test.plan.fail(at: 0)
    let failure = HiveError.device(operation: "sync", name: "LOG1", errno: EIO)
    #expect(throws: failure) { try test.perform(.sync) }
    #expect(throws: failure) { try test.perform(.sync) }
    #expect(throws: HiveError.stopped(failure)) { try test.perform(.change) }
    #expect(test.failure == failure)
    try test.perform(.reconcile)
    try test.perform(.sync)
    try test.perform(.change)
    try expectEqual(test.killed.recovered(), test.states.last)
  }

  @Test func whoStopsIsToldOfOnce() throws {
    let test = try HiveInUse(HiveInUse.sample(minor: 5, sequence: 1), FaultPlan())
    let told = Mutex<[HiveError]>([])
    test.lock.withShared { $0.log?.whenStopped { failure in told.withLock { $0.append(failure) } } }
    for _ in 0..<2 {
      test.plan.fail(at: 0)
      #expect(throws: HiveError.self) { try test.perform(.change) }
      test.plan.fail(at: nil)
      #expect(throws: HiveError.self) { try test.perform(.change) }
      try test.perform(.reconcile)
    }
    #expect(told.withLock { $0.count } == 2)
  }

  /// Many who ask at once share syncs, and each comes back with his change durable.
  @Test func manySyncsAreFew() throws {
    let plan = FaultPlan()
    let test = try HiveInUse(HiveInUse.sample(minor: 5, sequence: 1), plan)
    try test.perform(.change)
    let log = try #require(test.lock.withShared { $0.log })
    let syncs = Atomic<Int>(0)
    plan.beforeEachSync {
      syncs.wrappingAdd(1, ordering: .relaxed)
      usleep(2000)
    }
    let threads = (0..<8).map { thread in
      SystemThread(name: "writer") {
        for number in 0..<25 {
          let name = Array("v\(thread)-\(number)".utf16)
          do throws(HiveError) {
            try test.lock.withExclusive { (hive) throws(HiveError) in
              _ = try hive.setValue(of: hive.rootKey, named: name.span, type: .binary, data: [1], time: .now())
            }
            try log.sync()
          } catch { Issue.record("\(error)") }
        }
      }
    }
    for thread in threads { thread?.join() }
    #expect(!log.needsSync)
    #expect(syncs.load(ordering: .relaxed) < 200, "200 changes, \(syncs.load(ordering: .relaxed)) syncs")
    var random = SeededGenerator(state: 1)
    try expectEqual(test.afterPowerCut(&random).recovered(), test.dump())
  }
}
