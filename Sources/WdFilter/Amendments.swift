/// A process as long as it lives, whatever it executes.
package struct ProcessKey: Hashable, Sendable {
  package let processID: Int32
  /// Clock ticks since boot, field 22 of /proc/PID/stat.
  package let startTicks: UInt64

  package init(processID: Int32, startTicks: UInt64) {
    self.processID = processID
    self.startTicks = startTicks
  }
}

/// What a message makes of one process, beside the policy (MpSetProcessInfoByContext).
package struct ProcessChange: Hashable, Sendable {
  package var setFlags: ProcessFlags = []
  package var clearedFlags: ProcessFlags = []
  package var setRules: ProcessRules = []
  package var clearedRules: ProcessRules = []

  package init() {}

  package var isEmpty: Bool { self == ProcessChange() }

  /// What it would set that gives rights. Those rest on something that a caller cannot choose, which the number of a process
  /// is not: they come from the policy, an exclusion or the friendly table.
  package var privileges: [String] {
    setFlags.intersection(.privileges).names + setRules.intersection(.privileges).names
  }

  func apply(to flags: inout ProcessFlags, _ rules: inout ProcessRules) {
    flags = flags.union(setFlags).subtracting(clearedFlags)
    rules = rules.union(setRules).subtracting(clearedRules)
  }
}

/// One change by message.
package enum Amendment: Sendable {
  /// SET_PROCESS_EXCLUSION: the list, instead of the one before.
  case exclusions([ExcludedExecutable])
  /// REGISTER_FRIENDLY_PROCESS: one more.
  case friendly(ProcessRule)
  /// SET_DOC_OPEN_RULE: the list, instead of the one before.
  case documentRules([DocumentOpenEntry])
  /// SET_PROCESS_INFO: an empty change takes the one before back.
  case process(ProcessKey, ProcessChange)
}

/// What messages have put beside the policy that is in force, until another comes into force.
package struct Amendments: Hashable, Sendable {
  /// Of each list, so that nobody fills the memory with messages.
  package static let limit = 1024

  /// Nil: the policy's own.
  package private(set) var exclusions: [ExcludedExecutable]?
  package private(set) var friendly: [ProcessRule] = []
  /// Nil: the policy's own.
  package private(set) var documentRules: [DocumentOpenEntry]?
  package private(set) var processes: [ProcessKey: ProcessChange] = [:]

  package init() {}

  package var isEmpty: Bool { self == Amendments() }

  /// False when it would be too much; nothing is changed then. A friendly process that is there already is not added again.
  /// `isAlive` says who of those that were changed before is still there.
  package mutating func apply(_ amendment: Amendment, isAlive: (ProcessKey) -> Bool) -> Bool {
    switch amendment {
    case .exclusions(let list):
      guard list.count <= Self.limit else { return false }
      exclusions = list
    case .friendly(let entry):
      guard !friendly.contains(where: { $0.when == entry.when }) else { return true }
      guard friendly.count < Self.limit else { return false }
      friendly.append(entry)
    case .documentRules(let list):
      guard list.count <= Self.limit else { return false }
      documentRules = list
    case .process(let key, let change):
      processes = processes.filter { isAlive($0.key) }
      guard processes[key] != nil || processes.count < Self.limit else { return false }
      processes[key] = change.isEmpty ? nil : change
    }
    return true
  }

  /// `2 exclusions, 1 friendly process`; empty for none.
  package var summary: String {
    func count(_ number: Int, _ one: String, _ several: String) -> String { "\(number) \(number == 1 ? one : several)" }
    var parts: [String] = []
    if let exclusions { parts.append(count(exclusions.count, "exclusion", "exclusions")) }
    if !friendly.isEmpty { parts.append(count(friendly.count, "friendly process", "friendly processes")) }
    if let documentRules { parts.append(count(documentRules.count, "document rule", "document rules")) }
    if !processes.isEmpty { parts.append(count(processes.count, "changed process", "changed processes")) }
    return parts.joined(separator: ", ")
  }
}
