internal import Executive
internal import Sigma

/// An event as Sysmon tells it: a number, and named texts in Sysmon's order. What Sysmon has no event for has number 0 and tells by
/// `EventType` what it is; what Sysmon has no name for begins with `Regward`.
struct SysmonEvent {
  typealias Field = (name: StaticString, text: String)

  static let channel = "Microsoft-Windows-Sysmon/Operational"
  private static let provider = "Microsoft-Windows-Sysmon"
  private static let providerID = "{5770385F-C22A-43E0-BF4C-06F5698FFBD9}"

  private let id: Int
  private let time: FileTime
  private let sequence: UInt64
  private let process: ProcessDescription
  private let computer: String
  private var fields: [Field]

  init(_ event: Event, loss: EventEncoder.Loss, by encoder: EventEncoder) {
    sequence = event.sequence
    computer = encoder.hostName ?? "-"
    switch event {
    case .registry(let event):
      let verb = EventVerb(event.notifyClass)
      id = verb.sysmonID ?? 0
      time = event.time
      process = event.process
      fields = Self.fields(
        of: event, key: EventKeyName(event.keyName), verb: verb, currentControlSet: encoder.currentControlSet)
      fields.append(("RegwardOutcome", Self.outcome(of: event)))
      fields.append(("RegwardStatus", event.status.description))
      if let file = event.fileName { fields.append(("RegwardFile", file)) }
      if process.image != nil, let executable = process.executable { fields.append(("RegwardExecutable", executable)) }
    case .process(let event):
      time = event.time
      process = event.process
      switch event.kind {
      case .created: id = 1
      case .terminated: id = 5
      case .trusted, .untrusted, .refreshed: id = 0
      }
      fields = Self.fields(of: process, at: time, "process-\(event.kind.rawValue)")
      if let commandLine = process.commandLine { fields.append(("CommandLine", commandLine)) }
      if let parent = process.parentID { fields.append(("ParentProcessId", String(parent))) }
      if let isTrusted = event.isTrusted { fields.append(("RegwardTrusted", String(isTrusted))) }
    case .documentOpen(let event):
      id = 0
      time = event.time
      process = event.process
      fields = Self.fields(of: process, at: time, "DocOpen")
      let key = EventKeyName(event.keyName).targetObject(currentControlSet: encoder.currentControlSet)
      fields.append(("TargetObject", key + "\\" + EventEncoder.sysmonName(ofValue: event.valueName)))
    case .control(let event):
      // Sysmon tells of its own configuration with this number.
      id = 16
      time = event.time
      process = event.process
      fields = Self.fields(of: process, at: time, event.message)
      fields.append(("Configuration", event.text))
      fields.append(("RegwardOutcome", event.refusal.map { "refused: \($0)" } ?? "done"))
    }
    guard !loss.isNone else { return }
    fields.append(("RegwardLostDropped", String(loss.dropped)))
    fields.append(("RegwardLostFailed", String(loss.failed)))
    if loss.errno != 0 { fields.append(("RegwardLostErrno", String(loss.errno))) }
  }

  /// What was refused is an event of Sysmon's numbers too, and must not be read as done.
  private static func outcome(of event: Notification) -> String {
    if event.denied { return event.audited ? "would be refused" : "refused" }
    return event.status.isSuccess ? "done" : "failed"
  }

  private static func fields(of process: ProcessDescription, at time: FileTime, _ type: String) -> [Field] {
    var fields: [Field] = [("RuleName", "-"), ("EventType", type), ("UtcTime", time.sysmonText)]
    if let id = EventEncoder.entityID(process) { fields.append(("ProcessGuid", "{" + id + "}")) }
    fields.append(("ProcessId", String(process.processID)))
    if let image = process.executable { fields.append(("Image", image)) }
    if process.startTicks != nil { fields.append(("User", String(process.userID))) }
    return fields
  }

  /// Those of Sysmon's registry events (12, 13, 14): what Sysmon's readers and Sigma's rules are told.
  static func fields(
    of event: Notification, key: EventKeyName, verb: EventVerb, currentControlSet: UInt32?
  ) -> [Field] {
    func target(_ name: EventKeyName) -> String {
      let text = name.targetObject(currentControlSet: currentControlSet)
      return event.valueName.map { text + "\\" + EventEncoder.sysmonName(ofValue: $0) } ?? text
    }
    var fields: [Field] = [
      ("RuleName", ruleName(of: event)), ("EventType", verb.name), ("UtcTime", event.time.sysmonText),
    ]
    if let id = EventEncoder.entityID(event.process) { fields.append(("ProcessGuid", "{" + id + "}")) }
    fields.append(("ProcessId", String(event.process.processID)))
    fields.append(("ThreadID", String(event.process.threadID)))
    if let image = event.process.image ?? event.process.executable { fields.append(("Image", image)) }
    fields.append(("TargetObject", target(key)))
    if let value = event.newValue { fields.append(("Details", EventData(value).details)) }
    if let name = event.newKeyName { fields.append(("NewName", target(EventKeyName(name)))) }
    fields.append(("User", String(event.process.userID)))
    return fields
  }

  /// The policy's rule, and the titles of the Sigma rules that fired.
  private static func ruleName(of event: Notification) -> String {
    let names = event.ownRuleIDs.prefix(1) + event.detections.map(\.title)
    return names.isEmpty ? "-" : names.joined(separator: "; ")
  }

  // MARK: Lines

  /// `{"Event":{"System":{…},"EventData":{…}}}`, as exporters of Windows' event log write it.
  var jsonLine: [UInt8] {
    var json = JSONWriter()
    json.line { json in
      json.object("Event") { json in
        json.object("System") { json in
          json.object("Provider") { json in
            json.object("#attributes") { json in
              json.member("Name", Self.provider)
              json.member("Guid", Self.providerID)
            }
          }
          json.member("EventID", id)
          json.member("Version", 2)
          json.member("Level", 4)
          json.member("Task", id)
          json.object("TimeCreated") { json in json.object("#attributes") { $0.member("SystemTime", time.rfc3339) } }
          json.member("EventRecordID", sequence)
          json.object("Execution") { json in
            json.object("#attributes") { json in
              json.member("ProcessID", process.processID)
              json.member("ThreadID", process.threadID)
            }
          }
          json.member("Channel", Self.channel)
          json.member("Computer", computer)
        }
        json.object("EventData") { json in
          for field in fields { json.member(field.name, field.text) }
        }
      }
    }
    return json.bytes
  }

  /// `<Event xmlns="…"><System>…</System><EventData><Data Name="…">…</Data>…</EventData></Event>`.
  var xmlLine: [UInt8] {
    var xml = #"<Event xmlns="http://schemas.microsoft.com/win/2004/08/events/event"><System>"#
    xml += #"<Provider Name="\#(Self.provider)" Guid="\#(Self.providerID)"/><EventID>\#(id)</EventID><Version>2</Version>"#
    xml += #"<Level>4</Level><Task>\#(id)</Task><TimeCreated SystemTime="\#(time.rfc3339)"/>"#
    xml += "<EventRecordID>\(sequence)</EventRecordID>"
    xml += #"<Execution ProcessID="\#(process.processID)" ThreadID="\#(process.threadID)"/>"#
    xml += "<Channel>\(Self.channel)</Channel><Computer>\(Self.escaped(computer))</Computer></System><EventData>"
    for field in fields { xml += #"<Data Name="\#(field.name)">\#(Self.escaped(field.text))</Data>"# }
    return Array((xml + "</EventData></Event>\n").utf8)
  }

  /// Text for XML 1.0, which cannot carry most control characters in any way: U+FFFD stands for them. Those that a terminal might
  /// act on, and line ends, are numbers.
  private static func escaped(_ text: String) -> String {
    var escaped = ""
    for scalar in text.unicodeScalars {
      switch scalar.value {
      case 0x26: escaped += "&amp;"
      case 0x3C: escaped += "&lt;"
      case 0x3E: escaped += "&gt;"
      case 0x22: escaped += "&quot;"
      case 0x09, 0x0A, 0x0D, 0x7F..<0xA0: escaped += "&#x\(String(scalar.value, radix: 16, uppercase: true));"
      case 0..<0x20, 0xFFFE, 0xFFFF: escaped += "\u{FFFD}"
      default: escaped.unicodeScalars.append(scalar)
      }
    }
    return escaped
  }
}
