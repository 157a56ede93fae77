internal import Executive
internal import PolicyFile
internal import ProcessTable
internal import WdFilter

/// The messages about processes.
extension ControlService {
  // MARK: Beside the policy

  /// Which list of a policy a message speaks of.
  enum AmendedSection { case exclusions, documentRules, friendly }

  /// A member as a section of a policy: JSON is YAML, so the message is read by the same reader, and what a policy may not say
  /// a message may not either.
  func section(_ name: String, _ request: JSONValue) throws(Refusal) -> String {
    guard let value = request[name] else { throw Refusal("'\(name)' is missing") }
    return "\(name): \(value.json)"
  }

  func friendlySection(_ request: JSONValue) throws(Refusal) -> String {
    guard let when = request["when"] else { throw Refusal("'when' is missing") }
    let entry = JSONValue.object([
      "id": request["id"] ?? .text("friendly"), "when": when, "flags": .list([.text(ProcessFlags.friendly.names[0])]),
    ])
    return "processes: \(JSONValue.list([entry]).json)"
  }

  func amend(_ message: String, _ section: AmendedSection, _ text: String, by peer: ControlPeer) -> JSONValue {
    do throws(PolicyError) {
      let policy = try PolicyFile.parse(
        text: "version: 1\n" + text, fileName: "\(message) of process \(peer.processID), uid \(peer.userID)")
      let amendments: [Amendment] =
        switch section {
        case .exclusions: [.exclusions(policy.rules.exclusions)]
        case .documentRules: [.documentRules(policy.rules.documentRules)]
        case .friendly: policy.rules.processes.map { .friendly($0) }
        }
      var version = mount.version()
      for amendment in amendments { version = try mount.amend(amendment) }
      return Self.bounded(policy.warnings) { warnings in
        .object([
          "message": .text(message), "status": .text("ok"), "version": .count(version), "problems": warnings,
        ])
      }
    } catch {
      return refused(message, error)
    }
  }

  func amend(_ message: String, _ amendment: Amendment) -> JSONValue {
    do throws(PolicyError) {
      let version = try mount.amend(amendment)
      return .object(["message": .text(message), "status": .text("ok"), "version": .count(version)])
    } catch {
      return refused(message, error)
    }
  }

  private func refused(_ message: String, _ error: PolicyError) -> JSONValue {
    let reason = error.problems.first { $0.severity == .error }?.message ?? "it cannot be used"
    return Self.bounded(error.problems) { problems in
      .object([
        "message": .text(message), "status": .text("error"), "error": .text(reason),
        "version": .count(mount.version()), "problems": problems,
      ])
    }
  }

  /// Sets what gives no rights, clears anything.
  func processChange(_ request: JSONValue) throws(Refusal) -> Amendment {
    guard let pid = request["pid"]?.integer, let start = request["start_ticks"]?.integer, let id = Int32(exactly: pid), id > 0,
      start >= 0
    else { throw Refusal("'pid' and 'start_ticks' must be the numbers of a process") }
    var change = ProcessChange()
    let flags = ProcessFlags.named.map { ($0.name, $0.bit.rawValue) }
    let rules = ProcessRules.named.map { ($0.name, $0.bit.rawValue) }
    change.setFlags = ProcessFlags(rawValue: try word("set_flags", request, flags))
    change.clearedFlags = ProcessFlags(rawValue: try word("clear_flags", request, flags))
    change.setRules = ProcessRules(rawValue: try word("set_rules", request, rules))
    change.clearedRules = ProcessRules(rawValue: try word("clear_rules", request, rules))
    guard change.privileges.isEmpty else {
      throw Refusal(
        "\(change.privileges.joined(separator: ", ")) cannot be set by this message: what gives rights must rest on something "
          + "that a caller cannot choose; use the policy, SET_PROCESS_EXCLUSION or REGISTER_FRIENDLY_PROCESS")
    }
    let key = ProcessKey(processID: id, startTicks: UInt64(start))
    guard let record = mount.processes.record(ofProcess: id), record.facts.startTicks == key.startTicks else {
      throw Refusal("there is no process \(id) that started at \(start)")
    }
    return .process(key, change)
  }

  /// A list of names, or one number, as in a policy.
  private func word(_ name: String, _ request: JSONValue, _ known: [(String, UInt32)]) throws(Refusal) -> UInt32 {
    guard let value = request[name] else { return 0 }
    if let number = value.integer.flatMap({ UInt32(exactly: $0) }) { return number }
    guard let elements = value.elements else { throw Refusal("'\(name)' must be a list of names, or one number of 32 bits") }
    var word: UInt32 = 0
    for element in elements {
      guard let bit = known.first(where: { $0.0 == element.string })?.1 else {
        throw Refusal("'\(name)' knows \(known.map(\.0).joined(separator: ", "))")
      }
      word |= bit
    }
    return word
  }

  // MARK: Asking

  /// The live processes in two lists, by number from `after` on, as many as a packet has room for; `next` is where the rest begins.
  func listProcesses(_ message: String, after: JSONValue?) throws(Refusal) -> JSONValue {
    var first: Int64 = 0
    if let after {
      guard let number = after.integer, number >= 0 else { throw Refusal("'after' must be the number of a process") }
      first = number
    }
    // The machine is looked over once, not for each packet.
    let records = first == 0 ? mount.processes.allRecords() : mount.processes.records
    var lists: [Bool: [JSONValue]] = [:]
    var room = SequencedSocket.longestPacket - 1024
    var last: Int32?
    var next: JSONValue?
    for record in records where Int64(record.processID) > first {
      let entry = Self.describe(record)
      room -= entry.json.utf8.count + 1
      if room < 0, let last {
        next = .count(last)
        break
      }
      lists[record.isTrusted, default: []].append(entry)
      last = record.processID
    }
    var answer: [JSONValue.Member] = [
      .init(name: "message", value: .text(message)), .init(name: "status", value: .text("ok")),
      .init(name: "trusted", value: .list(lists[true] ?? [])), .init(name: "untrusted", value: .list(lists[false] ?? [])),
    ]
    if let next { answer.append(.init(name: "next", value: next)) }
    return .object(answer)
  }

  private static func describe(_ record: ProcessRecord) -> JSONValue {
    let facts = record.facts
    func names(_ names: [String]) -> JSONValue { .list(names.map { .text($0) }) }
    var members: KeyValuePairs<String, JSONValue> {
      [
        "pid": .count(record.processID), "start": .text(facts.startTime.rfc3339), "start_ticks": .count(facts.startTicks),
        "parent": .count(facts.parentID), "uid": .count(facts.userID),
        "image": facts.executable.map { .text(String($0.prefix(1024))) } ?? .null,
        "flags": names(ProcessFlags(rawValue: record.flags).names),
        "rules": names(ProcessRules(rawValue: record.rules).names), "trusted": .flag(record.isTrusted),
        "doc_open": .optional(record.documentOpenRule?.fileExtension), "denials": .count(record.operationsDenied),
        "events": .count(record.notificationsSent),
      ]
    }
    return .object(members)
  }
}
