import Executive
import HiveModel
import HiveStorage
import Testing

/// Everything brought to the primary file at once.
@Suite struct CommitTests {
  private func start(minor: Int) throws -> TestHive {
    let hive = try TestHive(minorVersion: minor, logs: .inMemory())
    for number in 0..<32 {
      let key = try hive.create("Key\(number)", under: hive.root)
      try hive.set("value", of: key, to: bytes(number * 50))
    }
    return hive
  }

  @Test(arguments: [3, 5]) func aCommitLeavesACleanHive(minor: Int) throws {
    let hive = try start(minor: minor)
    #expect(hive.hasUncommittedChanges)
    try hive.commit()
    let left = hive.bytes
    // 64 changes from number 1 on, and the entry before them.
    #expect(get32(4, in: left) == 66)
    #expect(get32(8, in: left) == 66)
    // The base block's time, and the first bin's copy of it.
    #expect(left[12..<20] == left[4096 + 20..<4096 + 28])
    #expect(left[12] == 77)
    let again = try TestHive(device: MemoryDevice(left))
    #expect(!again.hasUncommittedChanges)
    again.expectSound()
    try check(left, name: "commit")
  }

  @Test func withoutLogsChangesAreInMemoryUntilTheCommit() throws {
    let hive = try TestHive(minorVersion: 5)
    let before = hive.bytes
    _ = try hive.create("Key", under: hive.root)
    #expect(hive.bytes == before)
    try hive.commit()
    #expect(get32(4, in: hive.bytes) == 2)
    #expect(get32(8, in: hive.bytes) == 2)
    #expect(try TestHive(device: hive.device, access: .readOnly).dump() == hive.dump())
  }

  @Test func onlyDirtyPagesAreWritten() throws {
    let start = try start(minor: 5)
    try start.commit()
    let plan = FaultPlan()
    let device = FaultDevice(name: "hive", start.bytes, plan: plan)
    let hive = try TestHive(device: device, logs: .inMemory())
    let key = try #require(try hive.subkey("Key3", of: hive.root))
    let value = try #require(try hive.value("value", of: key))
    try hive.set("value", of: key, to: Array(hive.data(ofValue: value).reversed()))
    try hive.commit()
    // The first page for its time, the key's and the data's, the header dirty and clean.
    #expect(device.bytesWritten <= 3 * 4096 + 2 * 512)
    let calls = plan.calls
    try hive.commit()
    #expect(plan.calls == calls)
  }

  @Test func logsOfOthersAreEmptiedBeforeTheFirstChange() throws {
    let start = try start(minor: 5)
    try start.commit()
    let stale = MemoryDevice(name: "stale", [1, 2, 3])
    let logs = (MemoryDevice(name: "LOG1", [4]), MemoryDevice(name: "LOG2", [5]))
    var hive = try Hive(
      device: MemoryDevice(start.bytes), access: .readWrite, logs: LogPair(logs.0, logs.1), otherLogs: [stale])
    #expect(stale.bytes == [1, 2, 3] && logs.0.bytes == [4] && logs.1.bytes == [5])
    try hive.setLastWriteTime(of: hive.rootKey, FileTime(rawValue: 99))
    #expect(stale.bytes.isEmpty && logs.1.bytes.isEmpty)
    #expect(logs.0.bytes.count > 4096)
  }

  @Test func aClockSetBackDoesNotAgeTheHive() throws {
    let hive = try start(minor: 5)
    try hive.commit()
    _ = try hive.create("More", under: hive.root)
    try hive.hive.commit(time: FileTime(rawValue: 5))
    #expect(hive.bytes[12] == 77)
    #expect(hive.bytes[12..<20] == hive.bytes[4096 + 20..<4096 + 28])
  }
}
