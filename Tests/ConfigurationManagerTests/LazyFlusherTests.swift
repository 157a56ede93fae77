import ConfigurationManager
import Executive
import HiveStorage
import Testing

@Suite struct LazyFlusherTests {
  private func make() throws -> (registry: Registry, device: MemoryDevice) {
    let device = MemoryDevice(name: "memory", [])
    try Hive.format(device: device, minorVersion: 5)
    let hive = try Hive(device: device, access: .readWrite, log: MemoryDevice(name: "log", []))
    let registry = Registry(
      hive: hive, completeName: #"\REGISTRY\MACHINE\TEST"#, callbacks: CallbackStack(), isReadOnly: false)
    return (registry, device)
  }

  private func holdsValue(_ device: MemoryDevice) throws -> Bool {
    let copy = try Hive(device: MemoryDevice(name: "copy", device.bytes), access: .readOnly)
    return try copy.findValue(of: copy.rootKey, named: UnicodeName("v").units.span) != nil
  }

  private let value = RegistryValue(type: .dword, data: [1, 0, 0, 0])

  @Test func bringsAChangeToTheDeviceByItself() throws {
    let (registry, device) = try make()
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

  @Test func stoppedItLeavesTheRestToACommit() throws {
    let (registry, device) = try make()
    let flusher = LazyFlusher(registry: registry, interval: 60_000) { Issue.record("\($0)") }
    try registry.setValue(of: registry.root, named: "v", to: value, by: somebody)
    flusher.stop()
    #expect(try !holdsValue(device))
    try registry.commit()
    #expect(try holdsValue(device))
  }
}
