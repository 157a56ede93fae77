internal import Executive

/// The lines of everything that is no registry operation: the same members where they mean the same.
extension EventEncoder {
  /// `created: bash (pid 12)`; event.category process (events.md).
  func ecsLine(for event: ProcessEvent, loss: Loss) -> [UInt8] {
    let type =
      switch event.kind {
      case .created: "start"
      case .terminated: "end"
      case .trusted, .untrusted: "change"
      case .refreshed: "info"
      }
    return line(
      at: event.time, message: Self.message(event),
      Header(
        dataset: "regward.process", sequence: event.sequence, action: "process-\(event.kind.rawValue)", category: "process",
        type: type),
      of: event.process, knowsUser: event.process.startTicks != nil, loss: loss
    ) { json in
      json.member("operation_type", event.operationType)
      if let isTrusted = event.isTrusted { json.member("trusted", isTrusted) }
      if !event.flags.isEmpty { json.member("flags", event.flags) }
      if !event.rules.isEmpty { json.member("process_rules", event.rules) }
    }
  }

  /// A DocOpen notification.
  func ecsLine(for event: DocumentOpenEvent, loss: Loss) -> [UInt8] {
    let key = EventKeyName(event.keyName)
    let value = EventKeyName.text(event.valueName.units)
    return line(
      at: event.time, message: Self.message(event),
      Header(
        dataset: "regward.document", sequence: event.sequence, action: "DocOpen", category: "registry", type: "access"),
      of: event.process, loss: loss,
      also: { json in
        json.object("registry") { json in
          json.member("hive", key.hive)
          json.member("key", key.key)
          json.member("value", value)
          json.member("path", key.path + "\\" + value)
        }
        json.object("file") { $0.member("extension", event.fileExtension) }
      }
    ) { json in
      json.member("message_type", DocumentOpenEvent.messageType)
      json.member("key_nt", key.kernelName)
      json.member("rule_source", event.ruleSource)
    }
  }

  /// A message through the control socket.
  func ecsLine(for event: ControlEvent, loss: Loss) -> [UInt8] {
    line(
      at: event.time, message: Self.message(event),
      Header(
        dataset: "regward.control", sequence: event.sequence, action: event.message, category: "configuration",
        type: "change", isFailure: event.refusal != nil),
      of: event.process, loss: loss
    ) { json in
      json.member("message", event.text)
      json.member("error", event.refusal)
      json.member("rules_version", event.rulesVersion)
    }
  }

  // MARK: For people

  /// The event in a sentence.
  static func message(_ event: Event) -> String {
    switch event {
    case .registry(let event): message(event, key: EventKeyName(event.keyName), verb: EventVerb(event.notifyClass))
    case .process(let event): message(event)
    case .documentOpen(let event): message(event)
    case .control(let event): message(event)
    }
  }

  private static func message(_ event: ProcessEvent) -> String {
    "\(event.kind.rawValue): \(programName(event.process) ?? "process") (pid \(event.process.processID))"
  }

  private static func message(_ event: DocumentOpenEvent) -> String {
    "opened: \(EventKeyName(event.keyName).path)\\\(EventKeyName.text(event.valueName.units)) by "
      + "\(programName(event.process) ?? "unknown") (pid \(event.process.processID))"
  }

  private static func message(_ event: ControlEvent) -> String {
    "\(event.message) by \(programName(event.process) ?? "process") (pid \(event.process.processID), uid "
      + "\(event.process.userID))" + (event.refusal.map { ": refused: \($0)" } ?? "")
  }

  // MARK: ECS

  /// The members of `event`.
  private struct Header {
    let dataset: String
    let sequence: UInt64
    let action: String
    let category: String
    let type: String
    var isFailure = false
  }

  private func line(
    at time: FileTime, message: String, _ header: Header, of process: ProcessDescription, knowsUser: Bool = true, loss: Loss,
    also: (inout JSONWriter) -> Void = { _ in }, regward: (inout JSONWriter) -> Void
  ) -> [UInt8] {
    var json = JSONWriter()
    json.line { json in
      json.member("@timestamp", time.rfc3339)
      json.object("ecs") { $0.member("version", Self.schemaVersion) }
      json.member("message", message)
      json.object("event") { json in
        json.member("kind", "event")
        json.member("module", "regward")
        json.member("dataset", header.dataset)
        json.member("sequence", header.sequence)
        json.member("action", header.action)
        json.member("category", [header.category])
        json.member("type", [header.type])
        json.member("outcome", header.isFailure ? "failure" : "success")
      }
      also(&json)
      json.object("regward") { json in
        regward(&json)
        Self.write(loss, to: &json)
      }
      json.object("process") { Self.writeProcess(process, to: &$0) }
      // At its end nobody can say any more whose a process was.
      if knowsUser {
        json.object("user") { $0.member("id", String(process.userID)) }
        json.object("group") { $0.member("id", String(process.groupID)) }
      }
      writeHost(to: &json)
    }
    return json.bytes
  }
}
