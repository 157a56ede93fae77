package import Executive

/// Everything that the queue carries to the sinks.
package enum Event: Sendable {
  /// What the filter says about one operation.
  case registry(Notification)
  /// A process that begins, ends, or is trusted or not.
  case process(ProcessEvent)
  /// A document that a reader has opened (DocOpen).
  case documentOpen(DocumentOpenEvent)
  /// A message through the control socket that changes something.
  case control(ControlEvent)

  /// Of a kind that anybody can cause without end.
  var isPlentiful: Bool { if case .process = self { true } else { false } }

  /// Given by the queue, one up for each event, so that a gap shows what was dropped.
  package var sequence: UInt64 {
    get {
      switch self {
      case .registry(let event): event.sequence
      case .process(let event): event.sequence
      case .documentOpen(let event): event.sequence
      case .control(let event): event.sequence
      }
    }
    set {
      switch self {
      case .registry(var event):
        event.sequence = newValue
        self = .registry(event)
      case .process(var event):
        event.sequence = newValue
        self = .process(event)
      case .documentOpen(var event):
        event.sequence = newValue
        self = .documentOpen(event)
      case .control(var event):
        event.sequence = newValue
        self = .control(event)
      }
    }
  }
}

/// What became of a process (WD_PS_NOTIFY_INFO); which source gives which field says the table of wdfilter.md 6.1.
package struct ProcessEvent: Sendable {
  package enum Kind: String, Sendable {
    case created, terminated, trusted, untrusted
    /// Told again because somebody asked for it.
    case refreshed
  }

  package var sequence: UInt64 = 0
  package let time: FileTime
  package let kind: Kind
  /// 1 created, 2 terminated, 3 trust or refresh.
  package let operationType: UInt32
  /// Its thread is the leader.
  package var process: ProcessDescription
  /// Nil where the source does not say, as at an end.
  package let isTrusted: Bool?
  /// The names of what the process carries (wdfilter.md 3.2), as far as it is known.
  package let flags: [String]
  package let rules: [String]

  package init(
    time: FileTime, kind: Kind, operationType: UInt32, process: ProcessDescription, isTrusted: Bool?, flags: [String] = [],
    rules: [String] = []
  ) {
    self.flags = flags
    self.rules = rules
    self.time = time
    self.kind = kind
    self.operationType = operationType
    self.process = process
    self.isTrusted = isTrusted
  }
}

/// A value was opened whose name has the extension that its opener reads.
package struct DocumentOpenEvent: Sendable {
  /// The driver's number for messages of this kind.
  package static let messageType = 7

  package var sequence: UInt64 = 0
  package let time: FileTime
  package let process: ProcessDescription
  /// Complete.
  package let keyName: UnicodeName
  package let valueName: UnicodeName
  /// Of the rule, without its dot.
  package let fileExtension: String
  /// Where the rule was written.
  package let ruleSource: String?

  package init(
    time: FileTime, process: ProcessDescription, keyName: UnicodeName, valueName: UnicodeName, fileExtension: String,
    ruleSource: String?
  ) {
    self.time = time
    self.process = process
    self.keyName = keyName
    self.valueName = valueName
    self.fileExtension = fileExtension
    self.ruleSource = ruleSource
  }
}

/// Somebody has changed something of a mount through its control socket, or was refused.
package struct ControlEvent: Sendable {
  package var sequence: UInt64 = 0
  package let time: FileTime
  /// The message's name, `SET_PROCESS_EXCLUSION`.
  package let message: String
  /// The whole message, as JSON.
  package let text: String
  /// Who sent it, as the kernel knew him when he connected.
  package let process: ProcessDescription
  /// Why nothing was changed; nil when it was done.
  package let refusal: String?
  /// The version of the rules in force afterwards.
  package let rulesVersion: UInt64

  package init(
    time: FileTime, message: String, text: String, process: ProcessDescription, refusal: String?, rulesVersion: UInt64
  ) {
    self.time = time
    self.message = message
    self.text = text
    self.process = process
    self.refusal = refusal
    self.rulesVersion = rulesVersion
  }
}
