internal import Executive
internal import Sigma

/// Makes of an event one line, in one of the formats. The one of `ecs` is Elastic Common Schema with Sysmon's names inside
/// `winlog.event_data` (events.md), so that Elastic's registry rules and Sigma's read the same line.
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

  package let format: EventFormat
  /// This machine's, as events tell it; nil: not told.
  package let hostName: String?
  let currentControlSet: UInt32?

  /// `currentControlSet` is `Select\Current`: names in that set are told to Sysmon's readers by the link's name. Nil: unknown.
  package init(format: EventFormat = .ecs, currentControlSet: UInt32? = nil, hostName: String? = nil) {
    self.format = format
    self.currentControlSet = currentControlSet
    self.hostName = hostName
  }

  /// The same in another format.
  package func encoding(_ format: EventFormat) -> EventEncoder {
    EventEncoder(format: format, currentControlSet: currentControlSet, hostName: hostName)
  }

  /// The event as one line, its line feed included.
  package func line(for event: borrowing Event, loss: Loss = Loss()) -> [UInt8] {
    let event = copy event
    switch format {
    case .ecs: return ecsLine(for: event, loss: loss)
    case .sysmon: return SysmonEvent(event, loss: loss, by: self).jsonLine
    case .sysmonXML: return SysmonEvent(event, loss: loss, by: self).xmlLine
    case .ocsf: return ocsfLine(for: event, loss: loss)
    case .wdfilter: return driverLine(for: event, loss: loss)
    }
  }

  package func line(for notification: consuming Notification, loss: Loss = Loss()) -> [UInt8] {
    line(for: .registry(notification), loss: loss)
  }

  private func ecsLine(for event: Event, loss: Loss) -> [UInt8] {
    switch event {
    case .registry(let event): ecsLine(for: event, loss: loss)
    case .process(let event): ecsLine(for: event, loss: loss)
    case .documentOpen(let event): ecsLine(for: event, loss: loss)
    case .control(let event): ecsLine(for: event, loss: loss)
    }
  }

  private func ecsLine(for event: Notification, loss: Loss) -> [UInt8] {
    let key = EventKeyName(event.keyName)
    let verb = EventVerb(event.notifyClass)
    var json = JSONWriter()
    json.line { json in
      json.member("@timestamp", event.time.rfc3339)
      json.object("ecs") { $0.member("version", Self.schemaVersion) }
      json.member("message", Self.message(event, key: key, verb: verb))
      json.object("event") { Self.writeEvent(event, verb: verb, to: &$0) }
      json.object("registry") { Self.writeRegistry(event, key: key, to: &$0) }
      if let file = event.fileName { json.object("file") { $0.member("path", file) } }
      Self.writeRules(of: event, to: &json)
      json.object("regward") { Self.writeRegward(event, key: key, loss: loss, to: &$0) }
      json.object("process") { Self.writeProcess(event.process, to: &$0) }
      json.object("user") { $0.member("id", String(event.process.userID)) }
      json.object("group") { $0.member("id", String(event.process.groupID)) }
      writeHost(to: &json)
      json.object("winlog") { json in
        json.member("channel", "Microsoft-Windows-Sysmon/Operational")
        json.member("event_id", verb.sysmonID.map { String($0) })
        json.object("event_data") { json in
          for field in SysmonEvent.fields(of: event, key: key, verb: verb, currentControlSet: currentControlSet) {
            json.member(field.name, field.text)
          }
        }
      }
    }
    return json.bytes
  }

  /// `refused: SetValue HKLM\SYSTEM\…\Start by bash (pid 12): rule hardened: WinDefend (policy.yaml:12)`.
  static func message(_ event: Notification, key: EventKeyName, verb: EventVerb) -> String {
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
    if !event.detections.isEmpty { text += ": Sigma: " + event.detections.map(\.title).joined(separator: ", ") }
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
    json.member("severity", event.level.map { severities[$0.rank - 1] })
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
    if event.isSynchronous { json.member("sync", true) }
    if event.audited { json.member("audited", true) }
    if event.finalKeyRules != 0 || !event.ruleNames.isEmpty {
      json.member("rules", event.ruleNames)
      json.member("rules_raw", "0x" + String(event.finalKeyRules, radix: 16, uppercase: true))
    }
    if event.ruleIDs.count > 1 { json.member("rule_ids", event.ruleIDs) }
    if !event.detections.isEmpty {
      json.objects("sigma", of: event.detections) { json, rule in
        json.member("id", rule.id)
        json.member("title", rule.title)
        json.member("level", rule.level?.rawValue)
        if !rule.tags.isEmpty { json.member("tags", rule.tags) }
        json.member("source", rule.source)
      }
    }
    json.member("rule_source", event.ruleSource)
    if event.rulesVersion != 0 { json.member("rules_version", event.rulesVersion) }
    json.member("decided_by", event.decidedBy)
    json.member("exemption", event.exemption.map { "none: " + $0 })
    if !event.matchHashes.isEmpty { json.member("match_hashes", event.matchHashes) }
    if let data = event.newValue.map({ EventData($0) }), data.isCut { json.object("data") { data.writeWhole(to: &$0) } }
    if let data = event.oldValue.map({ EventData($0) }) {
      json.object("previous") { json in
        data.write(to: &json)
        if data.isCut { data.writeWhole(to: &json) }
      }
    }
    if let file = event.oldFileName { json.object("file") { $0.member("old", file) } }
    json.member("restore_flags", event.restoreFlags)
    json.member("transaction_id", event.transactionID)
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

  /// ECS, host.
  func writeHost(to json: inout JSONWriter) {
    if let hostName { json.object("host") { $0.member("hostname", hostName) } }
  }

  /// A value's name at the end of a path, `(Default)` for the one without.
  static func sysmonName(ofValue name: UnicodeName) -> String {
    name.isEmpty ? "(Default)" : EventKeyName.text(name.units)
  }

  static func programName(_ process: ProcessDescription) -> String? {
    process.executable.flatMap { $0.split(separator: "/").last }.map { String($0) }
  }

  /// One process for ever, in a GUID's form: pid and the clock ticks at its start. Nil when the start is not known.
  static func entityID(_ process: ProcessDescription) -> String? {
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
