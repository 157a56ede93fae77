import ConfigurationManager
import Executive
import HiveStorage
import Synchronization
import Testing

@Suite struct LazyFlusherTests {
  private func started() throws -> (registry: Registry, device: MemoryDevice) {
    let device = MemoryDevice(name: "memory", [])
    try Hive.format(device: device, minorVersion: 5)
    let hive = try Hive(device: device, access: .readWrite, logs: LogPair(MemoryDevice(name: "LOG1"), MemoryDevice(name: "LOG2")))
    let registry = Registry(
      hive: hive, completeName: #"\REGISTRY\MACHINE\TEST"#, callbacks: CallbackStack(), isReadOnly: false)
    return (registry, device)
  }

  private func holdsValue(_ device: MemoryDevice, _ name: UnicodeName = "v") throws -> Bool {
    let copy = try Hive(device: MemoryDevice(name: "copy", device.bytes), access: .readOnly)
    return try copy.findValue(of: copy.rootKey, named: name.units.span) != nil
  }

  private let value = RegistryValue(type: .dword, data: [1, 0, 0, 0])

  @Test func bringsAChangeToTheDeviceByItself() throws {
    let (registry, device) = try started()
    let flusher = LazyFlusher(registry: registry, interval: 10) { Issue.record("\($0)") }
    try registry.setValue(of: registry.root, named: "v", to: value, by: somebody)
    var isThere = false
    for _ in 0..<1000 where !isThere {
      KernelEvent().wait(milliseconds: 10)
      // In the middle of a flush the device is dirty, and no hive.
      isThere = (try? holdsValue(device)) ?? false
    }
    #expect(isThere)
    flusher.stop()
  }

  /// A registry whose log reaches its limits early.
  private func started(limits: LogLimits) throws -> (registry: Registry, device: MemoryDevice) {
    let device = MemoryDevice(name: "memory", [])
    try Hive.format(device: device, minorVersion: 5)
    let logs = LogPair(MemoryDevice(name: "LOG1"), MemoryDevice(name: "LOG2"), limits: limits)
    let registry = Registry(
      hive: try Hive(device: device, access: .readWrite, logs: logs), completeName: #"\REGISTRY\MACHINE\TEST"#,
      callbacks: CallbackStack(), isReadOnly: false)
    return (registry, device)
  }

  /// An interval that no test waits for: only the log's size can make it flush.
  @Test(arguments: [(40_000, true), (1 << 20, false)])
  func aLargeLogIsFlushedAtOnce(due: Int, isFlushed: Bool) throws {
    let (registry, device) = try started(limits: LogLimits(due: due))
    // What the base block has for the second sequence number is the primary file's state: a reconcile moves it on. The values themselves
    // need the logs, where changes went on during it.
    let before = Array(device.bytes[8..<12])
    let flusher = LazyFlusher(registry: registry, interval: 600_000) { Issue.record("\($0)") }
    for number in 0..<8 {
      try registry.setValue(of: registry.root, named: UnicodeName("v\(number)"), to: value, by: somebody)
    }
    var isThere = false
    for _ in 0..<(isFlushed ? 1000 : 20) where !isThere {
      KernelEvent().wait(milliseconds: 10)
      isThere = Array(device.bytes[8..<12]) != before
    }
    #expect(isThere == isFlushed)
    flusher.stop()
  }

  /// Nobody else flushes here: who fills the log does.
  @Test func whoFillsACrowdedLogFlushesItHimself() throws {
    let (registry, device) = try started(limits: LogLimits(crowded: 40_000))
    var largest = 0
    for number in 0..<100 {
      try registry.setValue(of: registry.root, named: UnicodeName("v\(number)"), to: value, by: somebody)
      largest = max(largest, registry.hiveStates[0].logSize)
    }
    #expect(largest < 40_000)
    let copy = MemoryDevice(name: "copy", device.bytes)
    let logless = try Hive(device: copy, access: .inspection)
    #expect(try logless.findValue(of: logless.rootKey, named: UnicodeName("v50").units.span) != nil)
  }

  @Test func stoppedItLeavesTheRestToACommit() throws {
    let (registry, device) = try started()
    let flusher = LazyFlusher(registry: registry, interval: 60_000) { Issue.record("\($0)") }
    try registry.setValue(of: registry.root, named: "v", to: value, by: somebody)
    flusher.stop()
    // Dirty: it is in the log only.
    #expect(device.bytes[4..<8] != device.bytes[8..<12])
    try registry.commit()
    #expect(try holdsValue(device))
  }

  /// A device that counts its syncs.
  private final class CountingDevice: HiveDevice {
    let name: String
    let memory = MemoryDevice()
    let syncs = Atomic<Int>(0)
    init(_ name: String) { self.name = name }
    func size() throws(HiveError) -> Int { try memory.size() }
    func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(HiveError) {
      try memory.read(at: offset, into: buffer)
    }
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(HiveError) {
      try memory.write(bytes, at: offset)
    }
    func resize(to size: Int) throws(HiveError) { try memory.resize(to: size) }
    func sync() throws(HiveError) { syncs.wrappingAdd(1, ordering: .relaxed) }
    func close() {}
  }

  @Test(arguments: [(Durability.operation, 3, 3), (.fsync, 0, 1), (.unmount, 0, 0)])
  func aChangeIsDurableWhenItShouldBe(durability: Durability, changes: Int, flush: Int) throws {
    let device = MemoryDevice(name: "memory")
    try Hive.format(device: device, minorVersion: 5)
    let log = CountingDevice("LOG1")
    let registry = Registry(
      hive: try Hive(device: device, access: .readWrite, logs: LogPair(log, MemoryDevice(name: "LOG2"))),
      completeName: #"\REGISTRY\MACHINE\TEST"#, callbacks: CallbackStack(), isReadOnly: false, durability: durability)
    try registry.setValue(of: registry.root, named: "first", to: value, by: somebody)
    let before = log.syncs.load(ordering: .relaxed)
    for name in ["a", "b", "c"] as [UnicodeName] {
      try registry.setValue(of: registry.root, named: name, to: value, by: somebody)
    }
    #expect(log.syncs.load(ordering: .relaxed) == before + changes)
    try registry.flushKey(registry.root, by: somebody)
    #expect(log.syncs.load(ordering: .relaxed) == before + flush)
    // To the primary file it comes in any case.
    try registry.flushKey(registry.root, toPrimary: true, by: somebody)
    #expect(try holdsValue(device, "c"))
  }

  /// A set and a delete, in one entry: a power cut leaves both or none.
  @Test func movingAValueIsOneEntry() throws {
    let device = MemoryDevice(name: "memory")
    try Hive.format(device: device, minorVersion: 5)
    let log = MemoryDevice(name: "LOG1")
    let registry = Registry(
      hive: try Hive(device: device, access: .readWrite, logs: LogPair(log, MemoryDevice(name: "LOG2"))),
      completeName: #"\REGISTRY\MACHINE\TEST"#, callbacks: CallbackStack(), isReadOnly: false)
    let target = try make("Target", in: registry.root, registry)
    try registry.setValue(of: registry.root, named: "v", to: value, by: somebody)
    let signature = Array("HvLE".utf8)
    func entries() -> Int {
      let bytes = log.bytes
      return stride(from: 512, to: bytes.count, by: 512).count { Array(bytes[$0..<$0 + 4]) == signature }
    }
    let before = entries()
    try registry.moveValue(of: registry.root, named: "v", to: target, named: "w", as: value, by: somebody)
    #expect(entries() == before + 1)
  }
}
