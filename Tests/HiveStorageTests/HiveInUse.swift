import Executive
import HiveModel
import HiveStorage
import Testing

/// A hive behind its lock, on devices that fail by plan, with every state that it was in after a change.
final class HiveInUse: @unchecked Sendable {
  // SAFETY: one thread uses it; it is only handed to closures that this thread runs.
  let plan: FaultPlan
  let device: FaultDevice
  let first: FaultDevice
  let second: FaultDevice
  let lock: PushLock<Hive>
  /// Dumps: as it was opened, and after each change that returned.
  private(set) var states: [[UInt8]]
  /// The state that the last sync, or what includes one, made durable.
  private(set) var durable = 0
  private var number = 0

  enum Step: CaseIterable {
    case change, sync, reconcile
    /// A reconcile with a change while each of its syncs goes on.
    case busyReconcile
    case commit
  }

  /// What is done with it in tests: both logs are begun, left and begun again, and left for good.
  static let script: [Step] = [
    .change, .change, .sync, .change, .reconcile, .change, .change, .busyReconcile, .sync, .reconcile, .busyReconcile,
    .change, .reconcile, .reconcile, .change, .commit, .change, .sync, .commit,
  ]

  init(_ bytes: [UInt8], _ plan: FaultPlan) throws {
    self.plan = plan
    plan.fail(at: nil)
    device = FaultDevice(name: "hive", bytes, plan: plan)
    first = FaultDevice(name: "LOG1", [1, 2, 3], plan: plan)
    second = FaultDevice(name: "LOG2", [], plan: plan)
    let hive = try Hive(device: device, access: .readWrite, logs: LogPair(first, second))
    states = [HiveDump(hive).bytes]
    lock = PushLock(hive)
  }

  /// A hive with something in it, clean, its sequence numbers as given.
  static func sample(minor: Int, sequence: UInt32) throws -> [UInt8] {
    let hive = try TestHive(minorVersion: minor)
    for number in 0..<32 {
      try hive.set("value", of: hive.create("Key\(number)", under: hive.root), to: bytes(number * 20))
    }
    try hive.commit()
    var bytes = hive.bytes
    put32(sequence, at: 4, in: &bytes)
    put32(sequence, at: 8, in: &bytes)
    checksum(&bytes)
    return bytes
  }

  func dump() -> [UInt8] { lock.withShared { HiveDump($0).bytes } }

  var failure: HiveError? { lock.withShared { $0.log?.failure } }

  func perform(_ step: Step) throws(HiveError) {
    let count = states.count - 1
    switch step {
    case .change:
      return try change()
    case .sync:
      guard let log = lock.withShared({ $0.log }) else { return }
      try log.sync()
    case .reconcile: try Hive.reconcile(behind: lock, time: FileTime(rawValue: 77))
    case .busyReconcile:
      let log = lock.withShared { $0.log }
      // A hive that takes no changes is committed, with the lock held.
      plan.beforeEachSync { [self] in if log?.failure == nil { try? change() } }
      defer { plan.beforeEachSync(nil) }
      try Hive.reconcile(behind: lock, time: FileTime(rawValue: 78))
    case .commit: try lock.withExclusive { (hive) throws(HiveError) in try hive.commit(time: FileTime(rawValue: 79)) }
    }
    durable = max(durable, count)
  }

  /// One change, of another kind each time.
  private func change() throws(HiveError) {
    defer { number += 1 }
    let number = number
    try lock.withExclusive { (hive) throws(HiveError) in
      try Self.change(&hive, number)
      states.append(HiveDump(hive).bytes)
    }
  }

  private static func change(_ hive: inout Hive, _ number: Int) throws(HiveError) {
    let time = FileTime(rawValue: 3)
    func name(_ text: String) -> [UInt16] { Array(text.utf16) }
    func key(_ number: Int) throws(HiveError) -> CellIndex {
      guard let key = try hive.findSubkey(of: hive.rootKey, named: name("Key\(number)").span) else { throw .keyNotFound }
      return key
    }
    switch number % 5 {
    case 0:
      // Grows the file.
      _ = try hive.setValue(
        of: hive.rootKey, named: name("large\(number)").span, type: .binary, data: bytes(5_000, number), time: time)
    case 1: try hive.deleteKey(try key(number % 32), time: time)
    case 2: _ = try hive.renameKey(try key(number % 32), to: name("Another name than Key\(number)").span, time: time)
    case 3:
      // Two changes that are one.
      try hive.transaction { (hive) throws(HiveError) in
        let made = try hive.createKey(under: hive.rootKey, named: name("New\(number)").span, className: nil, time: time)
        _ = try hive.setValue(of: made, named: name("value").span, type: .binary, data: bytes(100), time: time)
      }
    default:
      _ = try hive.setValue(
        of: try key(number % 32), named: name("value").span, type: .binary, data: bytes(10, number), time: time)
    }
  }

  // MARK: What is left

  struct Left {
    let hive: [UInt8]
    let logs: [[UInt8]]
  }

  /// By kill -9.
  var killed: Left { Left(hive: device.bytes, logs: [first.bytes, second.bytes]) }

  func afterPowerCut(_ random: inout SeededGenerator) -> Left {
    Left(
      hive: device.afterPowerCut(&random), logs: [first.afterPowerCut(&random), second.afterPowerCut(&random)])
  }
}

extension HiveInUse.Left {
  /// What opening it for writing makes of it; nothing is broken.
  func recovered() throws -> [UInt8] {
    let whole = try TestHive(device: MemoryDevice(name: "hive", hive), logs: .inMemory(logs[0], logs[1]))
    whole.expectSound()
    return whole.dump()
  }

  /// The same, and that opening for reading finds it too and changes nothing, and that the hive is clean afterwards.
  func recoveredInEveryWay() throws -> [UInt8] {
    let device = MemoryDevice(name: "hive", hive)
    let pair = LogPair.inMemory(logs[0], logs[1])
    let read = HiveDump(try Hive(device: device, access: .readOnly, otherLogs: [pair.first, pair.second])).bytes
    let isUnchanged = device.bytes == hive && pair.first.isHolding(logs[0]) && pair.second.isHolding(logs[1])
    #expect(isUnchanged)
    let whole = try TestHive(device: device, logs: pair)
    whole.expectSound()
    let clean = try TestHive(device: MemoryDevice(device.bytes), access: .readOnly).dump()
    let isSame = whole.dump() == read && clean == read
    #expect(isSame)
    return read
  }
}

extension HiveDevice {
  fileprivate func isHolding(_ bytes: [UInt8]) -> Bool { (self as? MemoryDevice)?.bytes == bytes }
}
