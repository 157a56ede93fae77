import ConfigurationManager
import Executive
import Glibc
import Notifications
import ProcessTable
import Synchronization
import WdFilter

let system = #"\REGISTRY\MACHINE\SYSTEM"#
let winDefend = system + #"\ControlSet001\Services\WinDefend"#
let acme = #"\REGISTRY\MACHINE\SOFTWARE\Acme"#

func key(_ name: String) -> KeyReference { KeyReference(id: 1, completeName: UnicodeName(name)) }

/// The operations in short.
func create(_ name: String) -> RegistryOperation {
  let parent = name.prefix(upTo: name.lastIndex(of: "\\") ?? name.startIndex)
  return .createKey(completeName: UnicodeName(name), parent: key(String(parent)), options: [])
}
func open(_ name: String) -> RegistryOperation { .openKey(key: key(name), desiredAccess: 0x20019) }
func delete(_ name: String) -> RegistryOperation { .deleteKey(key: key(name)) }
func touch(_ name: String) -> RegistryOperation { .setInformationKey(key: key(name), information: .lastWriteTime(.now())) }
func rename(_ name: String, _ newName: String) -> RegistryOperation {
  .renameKey(key: key(name), newName: UnicodeName(newName))
}
func set(_ name: String, _ value: String, _ data: [UInt8]? = [4, 0, 0, 0]) -> RegistryOperation {
  .setValueKey(
    key: key(name), valueName: UnicodeName(value), value: data.map { RegistryValue(type: .dword, data: $0) })
}
func deleteValue(_ name: String, _ value: String) -> RegistryOperation {
  .deleteValueKey(key: key(name), valueName: UnicodeName(value))
}

func createLink(_ name: String) -> RegistryOperation {
  .createKey(completeName: UnicodeName(name), parent: key(""), options: .createLink)
}
func restore(_ name: String) -> RegistryOperation {
  .restoreKey(key: key(name), sourceFile: "/tmp/evil.hiv", flags: 0)
}
/// `name` is the hive's root: the registry has climbed to it before anybody is asked.
func replace(_ name: String) -> RegistryOperation {
  .replaceKey(key: key(name), newFile: "/tmp/new", oldFile: "/tmp/old")
}
func load(_ name: String) -> RegistryOperation {
  .loadKey(completeName: UnicodeName(name), sourceFile: "/tmp/evil.hiv", flags: 0)
}
func unload(_ name: String) -> RegistryOperation { .unloadKey(key: key(name)) }
func secure(_ name: String) -> RegistryOperation {
  .setKeySecurity(key: key(name), securityInformation: 4, descriptor: [1])
}
func query(_ name: String, _ value: String) -> RegistryOperation {
  .queryValueKey(key: key(name), valueName: UnicodeName(value))
}

func rule(
  _ id: String, _ name: String, _ bits: RuleBits, values: [ValueRule] = [], mode: RuleMode = .enforce,
  line: Int = 7
) throws -> MonitoredRule {
  MonitoredRule(
    id: id, key: try KeyPattern(name), mode: mode, rules: bits, values: values,
    source: RuleSource(file: "test.yaml", line: line))
}

func rule(_ name: String, _ bits: RuleBits, values: [ValueRule] = [], line: Int = 7) throws -> MonitoredRule {
  try rule("rule", name, bits, values: values, line: line)
}

func process(
  _ path: String = "/usr/bin/agent", uid: UInt32 = 1000, gid: UInt32 = 1000, owner: UInt32 = 0, mode: UInt32 = 0o755,
  doubts: [ExemptionDoubt] = []
) -> ProcessContext {
  ProcessContext(
    processID: 4711, threadID: 4711, startTicks: 1, startTime: FileTime(rawValue: 1), executable: path,
    executableFile: ExecutableFile(device: 1, inode: 2, ownerID: owner, mode: 0o100000 | mode, links: 1),
    commandLine: path, parentID: 1, sessionID: 1, userID: uid, groupID: gid, doubts: doubts)
}

func entry(
  _ id: String = "entry", exe: String? = nil, uid: UInt32? = nil, gid: UInt32? = nil, flags: ProcessFlags? = nil,
  rules: ProcessRules? = nil
) -> ProcessRule {
  ProcessRule(
    id: id, when: ProcessPattern(executable: exe.flatMap { ExecutablePattern($0) }, userID: uid, groupID: gid),
    flags: flags, rules: rules, source: RuleSource(file: "test.yaml", line: 3))
}

/// A registry that knows one answer to every question.
final class FixedValue: RegistryQueries {
  let value: RegistryValue?
  private let asked = Mutex(0)
  init(_ value: RegistryValue? = nil) { self.value = value }
  func queryValue(of key: KeyReference, named valueName: UnicodeName) -> RegistryValue? {
    asked.withLock { $0 += 1 }
    return value
  }
  var questions: Int { asked.withLock { $0 } }
}

/// A filter with everything it says.
final class Bench: Sendable {
  let filter: RegistryFilter
  let refusals = RefusalLog()
  let processes = ProcessTable()
  private let said: Said

  private final class Said: Sendable {
    let list = Mutex<[Notification]>([])
  }

  init(_ rules: RuleSet, reportsEveryChange: Bool = false) {
    let said = Said()
    self.said = said
    filter = RegistryFilter(
      rules: rules, processes: processes,
      notify: { notification in
        let copy = notification
        said.list.withLock { $0.append(copy) }
      }, refusals: refusals, reportsEveryChange: reportsEveryChange)
  }

  var notifications: [Notification] { said.list.withLock { $0 } }

  /// Pre, and when it lets the operation go, post with `outcome`.
  @discardableResult
  func run(
    _ operation: RegistryOperation, by caller: Caller, registry: FixedValue = FixedValue(),
    outcome: NTStatus = .success
  ) -> NTStatus {
    var call = RegistryCall(caller: caller, registry: registry)
    let status = filter.preOperation(operation, &call)
    if status.isSuccess { _ = filter.postOperation(operation, status: outcome, &call) }
    return status
  }
}

/// SplitMix64: the same sequence for the same seed, on every machine.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}

/// A folder of our own with policies in it.
final class PolicyFolder {
  let path: String
  var file: String { path + "/policy.yaml" }

  struct CannotWrite: Error {}

  init(_ text: String = "version: 1\n", _ others: [String: String] = [:]) throws {
    var template = Array("/tmp/regward-policy-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw CannotWrite() }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    try write(text, to: "policy.yaml")
    for (name, text) in others { try write(text, to: name) }
  }

  private var names: [String] = ["link"]

  func write(_ text: String, to name: String) throws {
    names.append(name)
    let file = path + "/" + name
    let descriptor = Glibc.open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw CannotWrite() }
    _ = Glibc.write(descriptor, Array(text.utf8), text.utf8.count)
    close(descriptor)
    chmod(file, 0o644)
  }

  deinit {
    for name in names { unlink(path + "/" + name) }
    rmdir(path)
  }
}
