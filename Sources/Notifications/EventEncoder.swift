internal import Executive

/// Makes of an event one line of JSON: Elastic Common Schema, with Sysmon's names inside `winlog.event_data`
/// (events.md), so that Elastic's registry rules and Sigma's read the same line.
package struct EventEncoder: Sendable {
  /// The version of ECS that the names are from.
  package static let schemaVersion = "8.17.0"

  /// What a sink lost before this event, and why the last time.
  package struct Loss: Hashable, Sendable {
    /// Dropped by the queue, which was full.
    package var dropped: UInt64
    /// Not accepted by the sink's file.
    package var failed: UInt64
    /// The last error, an errno; 0 for none.
    package var errno: Int32

    package init(dropped: UInt64 = 0, failed: UInt64 = 0, errno: Int32 = 0) {
      self.dropped = dropped
      self.failed = failed
      self.errno = errno
    }

    package var isNone: Bool { dropped == 0 && failed == 0 && errno == 0 }
  }

  private let currentControlSet: UInt32?

  /// `currentControlSet` is `Select\Current`: names in that set are told to Sysmon's readers by the link's name. Nil: unknown.
  package init(currentControlSet: UInt32? = nil) { self.currentControlSet = currentControlSet }

  /// The event as one line, its line feed included.
  package func line(for event: borrowing Event, loss: Loss = Loss()) -> [UInt8] {
    switch copy event {
    case .registry(let event): line(for: event, loss: loss)
    case .process(let event): line(for: event, loss: loss)
    case .documentOpen(let event): line(for: event, loss: loss)
    case .control(let event): line(for: event, loss: loss)
    }
  }

  package func line(for notification: borrowing Notification, loss: Loss = Loss()) -> [UInt8] {
    let event = copy notification
    let key = EventKeyName(event.keyName)
    let verb = EventVerb(event.notifyClass)
    var json = JSONWriter()
    json.line { json in
      json.member("@timestamp", event.time.rfc3339)
      json.object("ecs") { $0.member("version", Self.schemaVersion) }
      json.member("message", Self.message(event, key: key, verb: verb))
      json.object("event") { Self.writeEvent(event, verb: verb, to: &$0) }
      json.object("registry") { Self.writeRegistry(event, key: key, to: &$0) }
      if let rule = event.ruleIDs.first {
        json.object("rule") { json in
          json.member("id", rule)
          json.member("name", rule)
        }
      }
      json.object("regward") { Self.writeRegward(event, key: key, loss: loss, to: &$0) }
      json.object("process") { Self.writeProcess(event.process, to: &$0) }
      json.object("user") { $0.member("id", String(event.process.userID)) }
      json.object("group") { $0.member("id", String(event.process.groupID)) }
      json.object("winlog") { json in
        json.member("channel", "Microsoft-Windows-Sysmon/Operational")
        json.member("event_id", verb.sysmonID.map { String($0) })
        json.object("event_data") { writeSysmon(event, key: key, verb: verb, to: &$0) }
      }
    }
    return json.bytes
  }

  /// `refused: SetValue HKLM\SYSTEM\…\Start by bash (pid 12): rule hardened: WinDefend (policy.yaml:12)`.
  private static func message(_ event: Notification, key: EventKeyName, verb: EventVerb) -> String {
    var text = ""
    if event.denied {
      text += event.audited ? "would be refused: " : "refused: "
    } else if !event.status.isSuccess {
      text += "failed (\(event.status)): "
    }
    text += verb.name + " " + key.path
    if let valueName = event.valueName { text += "\\" + sysmonName(ofValue: valueName) }
    if let newKeyName = event.newKeyName { text += " to " + EventKeyName(newKeyName).path }
    text += " by " + (programName(event.process) ?? "unknown") + " (pid \(event.process.processID))"
    if let decidedBy = event.decidedBy { text += ": " + decidedBy }
    if let rule = event.ruleIDs.first {
      text += ": rule " + rule
      if let source = event.ruleSource { text += " (" + source + ")" }
    }
    return text
  }

  private static func writeEvent(_ event: Notification, verb: EventVerb, to json: inout JSONWriter) {
    json.member("kind", "event")
    json.member("module", "regward")
    json.member("dataset", "regward.registry")
    json.member("sequence", event.sequence)
    json.member("code", verb.sysmonID.map { String($0) })
    json.member("action", event.notifyClass.name)
    json.member("category", ["configuration", "registry"])
    // What was only logged as refused did happen: "denied" would be false.
    json.member("type", event.denied && !event.audited ? [verb.type, "denied"] : [verb.type])
    json.member("outcome", event.status.isSuccess ? "success" : "failure")
  }

  private static func writeRegistry(_ event: Notification, key: EventKeyName, to json: inout JSONWriter) {
    json.member("hive", key.hive)
    json.member("key", key.key)
    let value = event.valueName.map { EventKeyName.text($0.units) }
    json.member("value", value)
    // The default value's path ends with the separator, as Elastic's rules expect it.
    json.member("path", value.map { key.path + "\\" + $0 } ?? key.path)
    if let data = event.newValue { json.object("data") { EventData(data).write(to: &$0) } }
  }

  private static func writeRegward(
    _ event: Notification, key: EventKeyName, loss: Loss, to json: inout JSONWriter
  ) {
    json.member("key_nt", key.kernelName)
    json.member("new_key", event.newKeyName.map { EventKeyName($0).kernelName })
    json.member("status", event.status.description)
    if event.audited { json.member("audited", true) }
    if event.finalKeyRules != 0 || !event.ruleNames.isEmpty {
      json.member("rules", event.ruleNames)
      json.member("rules_raw", "0x" + String(event.finalKeyRules, radix: 16, uppercase: true))
    }
    if event.ruleIDs.count > 1 { json.member("rule_ids", event.ruleIDs) }
    json.member("rule_source", event.ruleSource)
    if event.rulesVersion != 0 { json.member("rules_version", event.rulesVersion) }
    json.member("decided_by", event.decidedBy)
    json.member("exemption", event.exemption.map { "none: " + $0 })
    if !event.matchHashes.isEmpty { json.member("match_hashes", event.matchHashes) }
    if let data = event.oldValue { json.object("previous") { EventData(data).write(to: &$0) } }
    json.member("session_id", event.process.sessionID)
    write(loss, to: &json)
  }

  static func write(_ loss: Loss, to json: inout JSONWriter) {
    guard !loss.isNone else { return }
    json.object("lost") { json in
      json.member("dropped", loss.dropped)
      json.member("failed", loss.failed)
      if loss.errno != 0 { json.member("errno", loss.errno) }
    }
  }

  static func writeProcess(_ process: ProcessDescription, to json: inout JSONWriter) {
    json.member("pid", process.processID)
    json.member("entity_id", entityID(process))
    json.member("start", process.startTime?.rfc3339)
    json.member("name", programName(process))
    json.member("executable", process.executable)
    json.member("command_line", process.commandLine)
    if let parent = process.parentID { json.object("parent") { $0.member("pid", parent) } }
    json.object("thread") { $0.member("id", process.threadID) }
  }

  private func writeSysmon(
    _ event: Notification, key: EventKeyName, verb: EventVerb, to json: inout JSONWriter
  ) {
    func target(_ name: EventKeyName) -> String {
      let text = name.targetObject(currentControlSet: currentControlSet)
      return event.valueName.map { text + "\\" + Self.sysmonName(ofValue: $0) } ?? text
    }
    json.member("RuleName", event.ruleIDs.first ?? "-")
    json.member("EventType", verb.name)
    json.member("UtcTime", event.time.sysmonText)
    json.member("ProcessGuid", Self.entityID(event.process).map { "{" + $0 + "}" })
    json.member("ProcessId", String(event.process.processID))
    json.member("ThreadID", String(event.process.threadID))
    json.member("Image", event.process.executable)
    json.member("TargetObject", target(key))
    json.member("Details", event.newValue.map { EventData($0).details })
    json.member("NewName", event.newKeyName.map { target(EventKeyName($0)) })
    json.member("User", String(event.process.userID))
  }

  /// A value's name at the end of a path, `(Default)` for the one without.
  static func sysmonName(ofValue name: UnicodeName) -> String {
    name.isEmpty ? "(Default)" : EventKeyName.text(name.units)
  }

  static func programName(_ process: ProcessDescription) -> String? {
    process.executable.flatMap { $0.split(separator: "/").last }.map { String($0) }
  }

  /// One process for ever, in a GUID's form: pid and the clock ticks at its start. Nil when the start is not known.
  private static func entityID(_ process: ProcessDescription) -> String? {
    guard let ticks = process.startTicks else { return nil }
    func digits(_ number: some BinaryInteger, _ count: Int) -> String {
      let text = String(number, radix: 16, uppercase: true)
      return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
    }
    let pid = UInt32(bitPattern: process.processID)
    return [
      digits(pid, 8), digits(ticks >> 48, 4), digits(ticks >> 32 & 0xFFFF, 4), digits(ticks >> 16 & 0xFFFF, 4),
      digits(ticks & 0xFFFF, 12),
    ].joined(separator: "-")
  }
}
