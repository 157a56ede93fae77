import ConfigurationManager
import Executive
import Foundation
import Notifications
import PolicyFile
import ProcessTable
import Sigma
import Synchronization
import Testing
import WdFilter

/// What Sysmon would say, by fields.
func seen(_ operation: SigmaOperation, _ fields: [SigmaField: String]) -> SigmaEvent {
  var event = SigmaEvent(operation)
  for (field, text) in fields { event[field] = .text(SigmaText(text)) }
  return event
}

func item(_ key: String, _ values: String...) throws -> SigmaItem {
  try SigmaItem(key: key, values: values.map { .text($0) })
}

/// A policy of our own, with rules in folders beside it.
final class RuleFolder {
  let path: String
  var policy: String { path + "/policy.yaml" }

  init(_ policy: String, _ rules: [String: String] = [:]) throws {
    path = "/tmp/regward-sigma-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    chmod(path, 0o755)
    try write(policy, to: "policy.yaml")
    for (name, text) in rules { try write(text, to: "rules/" + name) }
  }

  func write(_ text: String, to name: String) throws {
    let file = URL(filePath: path + "/" + name)
    try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: file)
    chmod(file.path, 0o644)
    chmod(file.deletingLastPathComponent().path, 0o755)
  }

  func load(version: UInt64 = 1) throws -> PolicyFile { try PolicyFile.load(path: policy, version: version) }

  /// Every problem, the folder left out.
  var problems: [String] {
    let lines: [String]
    do throws(PolicyError) { lines = try PolicyFile.load(path: policy).warnings.map(\.lintLine) } catch {
      lines = error.problems.map(\.lintLine)
    }
    return lines.map { $0.replacingOccurrences(of: path + "/", with: "") }
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// The rules that lie beside the tests.
  static func fixtures(_ section: String = "sigma: { path: rules }", _ more: String = "") throws -> RuleFolder {
    let source = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Rules")
    let folder = try RuleFolder("version: 1\n\(more)\n\(section)\n")
    for name in FileManager.default.enumerator(atPath: source.path)?.compactMap({ $0 as? String }) ?? []
    where name.hasSuffix("ml") {
      try folder.write(try String(contentsOf: source.appending(path: name), encoding: .utf8), to: "rules/" + name)
    }
    return folder
  }
}

func rule(_ id: String, _ detection: String, category: String = "registry_set", level: String = "high", title: String? = nil) -> String {
  """
  title: \(title ?? "Title of \(id)")
  id: \(id)
  logsource: { category: \(category), product: windows }
  detection:
  \(detection.split(separator: "\n").map { "  " + $0 }.joined(separator: "\n"))
  level: \(level)
  """ + "\n"
}

let run = #"\REGISTRY\USER\S-1-5-21-1\Software\Microsoft\Windows\CurrentVersion\Run"#
let acme = #"\REGISTRY\MACHINE\SOFTWARE\Acme"#

func key(_ name: String) -> KeyReference { KeyReference(id: 1, completeName: UnicodeName(name)) }

func set(_ name: String, _ value: String, _ text: String?) -> RegistryOperation {
  .setValueKey(
    key: key(name), valueName: UnicodeName(value),
    value: text.map { RegistryValue(type: .sz, data: Array($0.utf16).flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] } + [0, 0]) })
}

func process(_ path: String? = "/usr/bin/agent", uid: UInt32 = 1000) -> ProcessContext {
  ProcessContext(
    processID: 4711, threadID: 4711, startTicks: 1, startTime: FileTime(rawValue: 1), executable: path,
    executableFile: ExecutableFile(device: 1, inode: 2, ownerID: 0, mode: 0o100755, links: 1),
    commandLine: path, parentID: 1, sessionID: 1, userID: uid, groupID: uid, doubts: [])
}

/// Nothing is asked of it.
final class NoRegistry: RegistryQueries {
  func queryValue(of key: KeyReference, named valueName: UnicodeName) -> RegistryValue? { nil }
}

/// A filter before a queue, as in a mount, and what a log is told.
final class Bench: Sendable {
  let filter: RegistryFilter
  let refusals = RefusalLog()
  let queue: Notifications.NotificationQueue
  private let sink = EventList()

  init(_ rules: RuleSet, scope: EventScope = .matched, capacity: Int = 1000) {
    let queue = Notifications.NotificationQueue(capacity: capacity, scope: scope, currentControlSet: 1, sinks: [sink])
    self.queue = queue
    filter = RegistryFilter(
      rules: rules, processes: ProcessTable(), notify: { queue.enqueue($0) }, refusals: refusals,
      reportsEveryChange: scope == .writes, currentControlSet: 1)
  }

  /// By this very process; pre, and when it lets the operation go, post.
  @discardableResult
  func run(_ operation: RegistryOperation, by caller: Caller? = nil) -> NTStatus {
    let caller = caller ?? Caller(threadID: getpid(), userID: getuid(), groupID: getgid())
    var call = RegistryCall(caller: caller, registry: NoRegistry())
    let status = filter.preOperation(operation, &call)
    if status.isSuccess { _ = filter.postOperation(operation, status: .success, &call) }
    return status
  }

  /// Ends it.
  var told: [Notifications.Notification] {
    queue.shutdown(milliseconds: 30_000)
    return sink.events.withLock { $0 }
  }

  var dropped: [UInt64] { sink.dropped.withLock { $0 } }
}

final class EventList: NotificationSink {
  let events = Mutex<[Notifications.Notification]>([])
  let dropped = Mutex<[UInt64]>([])
  let name = "list"
  var counters: SinkCounters { SinkCounters() }
  func deliver(_ event: borrowing Event, dropped: UInt64) {
    self.dropped.withLock { $0.append(dropped) }
    guard case .registry(let told) = copy event else { return }
    events.withLock { $0.append(told) }
  }
  func flush() {}
}
