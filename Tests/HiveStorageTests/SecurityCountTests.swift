import Executive
import Testing

@testable import HiveStorage

@Suite struct SecurityCountTests {
  /// A damaged count of 0 on a cell in use must not let the cell go when a key that came later goes again.
  @Test func aCountOfZeroDoesNotFreeWhatIsInUse() throws {
    let device = MemoryDevice(name: "memory", [])
    try Hive.format(device: device, minorVersion: 5)
    var hive = try Hive(device: device, access: .readWrite, logs: LogPair(MemoryDevice(name: "LOG1"), MemoryDevice(name: "LOG2")))
    let root = hive.rootKey
    let security = try hive.image.security(at: hive.keyNode(at: root).security)
    try hive.transaction { (hive) throws(HiveError) in
      hive.image.store(UInt32(0), security.cell, SecurityCell.Field.referenceCount)
    }
    let before = try hive.securityDescriptor(ofKey: root)
    let key = try hive.createKey(under: root, named: UnicodeName("k").units.span, time: .now())
    try hive.deleteKey(key, time: .now())
    #expect(before != nil)
    #expect(try hive.securityDescriptor(ofKey: root) == before)
  }
}
