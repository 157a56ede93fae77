import Executive
import HiveStorage
import Testing

/// A hive under test and its devices. A class, as the testing macros cannot hold what cannot be copied.
final class TestHive {
  var hive: Hive
  let device: any HiveDevice

  init(device: any HiveDevice, access: Hive.Access = .readWrite, logs: LogPair? = nil) throws {
    self.device = device
    hive = try Hive(device: device, access: access, logs: logs)
  }

  /// A new hive in memory.
  convenience init(minorVersion: Int, logs: LogPair? = nil) throws {
    let device = MemoryDevice(name: "hive")
    try Hive.format(device: device, minorVersion: minorVersion, time: FileTime(rawValue: 1))
    try self.init(device: device, logs: logs)
  }

  var root: CellIndex { hive.rootKey }
  var minorVersion: Int { hive.minorVersion }
  var hasUncommittedChanges: Bool { hive.hasUncommittedChanges }
  var bytes: [UInt8] { (device as? MemoryDevice)?.bytes ?? [] }

  /// The checker ends every test.
  func expectSound(orphans: Int = 0, _ location: SourceLocation = #_sourceLocation) {
    let checker = HiveChecker(hive)
    let findings = checker.findings.prefix(5).map { "\($0)" }
    #expect(findings.isEmpty, sourceLocation: location)
    #expect(checker.orphans.count == orphans, "orphans", sourceLocation: location)
  }

  func dump() -> [UInt8] { HiveDump(hive).bytes }
  func commit() throws { try hive.commit(time: FileTime(rawValue: 77)) }
  func statistics() throws -> Hive.Statistics { try hive.statistics() }
  func keyNode(at key: CellIndex) throws -> KeyNode { try hive.keyNode(at: key) }
  func keyName(at key: CellIndex) throws -> UnicodeName { try hive.keyName(at: key) }
  func className(ofKey key: CellIndex) throws -> UnicodeName? { try hive.className(ofKey: key) }
  func securityDescriptor(ofKey key: CellIndex) throws -> [UInt8]? { try hive.securityDescriptor(ofKey: key) }
  func valueNode(at value: CellIndex) throws -> ValueNode { try hive.valueNode(at: value) }
  func valueName(at value: CellIndex) throws -> UnicodeName { try hive.valueName(at: value) }
  func data(ofValue value: CellIndex) throws -> [UInt8] { try hive.data(ofValue: value) }

  func create(_ name: String, under key: CellIndex, className: UnicodeName? = nil) throws -> CellIndex {
    try create(UnicodeName(name), under: key, className: className)
  }

  func create(_ name: UnicodeName, under key: CellIndex, className: UnicodeName? = nil) throws -> CellIndex {
    try hive.createKey(under: key, named: name.units.span, className: className, time: FileTime(rawValue: 2))
  }

  func delete(_ key: CellIndex) throws { try hive.deleteKey(key, time: FileTime(rawValue: 4)) }

  func rename(_ key: CellIndex, to name: UnicodeName) throws -> CellIndex {
    try hive.renameKey(key, to: name.units.span, time: FileTime(rawValue: 7))
  }

  @discardableResult
  func set(
    _ name: UnicodeName, of key: CellIndex, to data: [UInt8], type: ValueType = .binary
  ) throws -> CellIndex {
    try hive.setValue(of: key, named: name.units.span, type: type, data: data, time: FileTime(rawValue: 3))
  }

  func deleteValue(of key: CellIndex, value: CellIndex) throws {
    try hive.deleteValue(of: key, value: value, time: FileTime(rawValue: 8))
  }

  func renameValue(of key: CellIndex, value: CellIndex, to name: UnicodeName) throws -> CellIndex {
    try hive.renameValue(of: key, value: value, to: name.units.span, time: FileTime(rawValue: 8))
  }

  func subkey(_ name: UnicodeName, of key: CellIndex) throws -> CellIndex? {
    try hive.findSubkey(of: key, named: name.units.span)
  }

  func value(_ name: UnicodeName, of key: CellIndex) throws -> CellIndex? {
    try hive.findValue(of: key, named: name.units.span)
  }

  func subkeyNames(of key: CellIndex, from index: Int = 0) throws -> [UnicodeName] {
    var names: [UnicodeName] = []
    try hive.forEachSubkey(of: key, from: index) { (_, subkey) throws(HiveError) in
      names.append(try hive.keyName(at: subkey))
      return true
    }
    return names
  }

  func valueNames(of key: CellIndex) throws -> [UnicodeName] {
    var names: [UnicodeName] = []
    try hive.forEachValue(of: key) { (_, value) throws(HiveError) in
      names.append(try hive.valueName(at: value))
      return true
    }
    return names
  }
}

extension LogPair {
  /// Two logs in memory.
  static func inMemory(_ first: [UInt8] = [], _ second: [UInt8] = []) -> LogPair {
    LogPair(MemoryDevice(name: "LOG1", first), MemoryDevice(name: "LOG2", second))
  }
}

func bytes(_ count: Int, _ seed: Int = 0) -> [UInt8] {
  (0..<count).map { UInt8(truncatingIfNeeded: ($0 &* 31) ^ ($0 >> 8) ^ seed) }
}
