internal import Executive
internal import Sigma

/// Open Cybersecurity Schema Framework: Registry Key Activity and Registry Value Activity of its Windows extension, Process Activity,
/// and the base event for messages to the mount; with the profile security_control, which says what was refused.
extension EventEncoder {
  /// The version of the schema and of its Windows extension that the names and numbers are from.
  package static let ocsfVersion = "1.8.0"

  /// What an event is in OCSF's numbers.
  private struct Activity {
    let classID: Int
    let className: String
    let id: Int
    let name: String

    static func key(_ id: Int, _ name: String) -> Activity {
      Activity(classID: 201001, className: "Registry Key Activity", id: id, name: name)
    }
    static func value(_ id: Int, _ name: String) -> Activity {
      Activity(classID: 201002, className: "Registry Value Activity", id: id, name: name)
    }
    static func process(_ id: Int, _ name: String) -> Activity {
      Activity(classID: 1007, className: "Process Activity", id: id, name: name)
    }

    var isOfValue: Bool { classID == 201002 }

    init(classID: Int, className: String, id: Int, name: String) {
      self.classID = classID
      self.className = className
      self.id = id
      self.name = name
    }

    init(_ notifyClass: NotifyClass) {
      self =
        switch notifyClass {
        case .preSetValueKey, .postSetValueKey: .value(2, "Set")
        case .preDeleteValueKey, .postDeleteValueKey: .value(4, "Delete")
        case .preQueryValueKey, .postQueryValueKey, .preEnumerateValueKey, .postEnumerateValueKey: .value(1, "Get")
        case .preCreateKey, .postCreateKey, .preCreateKeyEx, .postCreateKeyEx: .key(1, "Create")
        case .preSetInformationKey, .postSetInformationKey: .key(3, "Modify")
        case .preDeleteKey, .postDeleteKey: .key(4, "Delete")
        case .preRenameKey, .postRenameKey: .key(5, "Rename")
        case .preSetKeySecurity, .postSetKeySecurity: .key(6, "Set Security")
        case .preRestoreKey, .postRestoreKey, .preReplaceKey, .postReplaceKey: .key(7, "Restore")
        case .preLoadKey, .postLoadKey: .key(8, "Import")
        case .preSaveKey, .postSaveKey, .preSaveMergedKey, .postSaveMergedKey: .key(9, "Export")
        case .preOpenKey, .postOpenKey, .preOpenKeyEx, .postOpenKeyEx, .preQueryKey, .postQueryKey, .preEnumerateKey,
          .postEnumerateKey, .preQueryKeySecurity, .postQueryKeySecurity, .preQueryKeyName, .postQueryKeyName,
          .preQueryMultipleValueKey, .postQueryMultipleValueKey:
          .key(2, "Read")
        case .preUnLoadKey, .postUnLoadKey, .preFlushKey, .postFlushKey, .preKeyHandleClose, .postKeyHandleClose,
          .callbackObjectContextCleanup:
          .key(99, EventVerb(notifyClass).name)
        }
    }
  }

  func ocsfLine(for event: Event, loss: Loss) -> [UInt8] {
    switch event {
    case .registry(let event): ocsfLine(for: event, loss: loss)
    case .process(let told):
      ocsfLine(
        event, Self.activity(of: told.kind), at: told.time, isSuccess: true, loss: loss,
        actor: { json in
          // Who started it; what else becomes of a process nobody is known to have done.
          guard told.kind == .created, let parent = told.process.parentID else { return Self.writeOCSF(told.process, to: &json) }
          json.object("process") { $0.member("pid", parent) }
        }
      ) { json in
        Self.writeOCSF(told.process, to: &json)
        if let isTrusted = told.isTrusted { json.object("unmapped") { $0.member("trusted", isTrusted) } }
      }
    case .documentOpen(let told):
      ocsfLine(
        event, .value(1, "Get"), at: told.time, isSuccess: true, loss: loss, actor: { Self.writeActor(told.process, to: &$0) }
      ) { json in
        json.object("reg_value") { json in
          json.member("path", EventKeyName(told.keyName).path)
          json.member("name", EventKeyName.text(told.valueName.units))
        }
      }
    case .control(let told):
      ocsfLine(
        event, Activity(classID: 0, className: "Base Event", id: 99, name: told.message), at: told.time,
        isSuccess: told.refusal == nil, loss: loss, actor: nil
      ) { json in
        json.member("status_detail", told.refusal)
        json.object("unmapped") { json in
          json.member("message", told.text)
          json.member("process_pid", told.process.processID)
          json.member("user_uid", told.process.userID)
        }
      }
    }
  }

  private static func activity(of kind: ProcessEvent.Kind) -> Activity {
    switch kind {
    case .created: .process(1, "Launch")
    case .terminated: .process(2, "Terminate")
    case .trusted, .untrusted, .refreshed: .process(99, kind.rawValue)
    }
  }

  private func ocsfLine(for event: Notification, loss: Loss) -> [UInt8] {
    let key = EventKeyName(event.keyName)
    let activity = Activity(event.notifyClass)
    return ocsfLine(
      .registry(event), activity, at: event.time, isSuccess: event.status.isSuccess,
      isRefused: event.denied && !event.audited, isAudited: event.audited, level: event.level, loss: loss,
      actor: { Self.writeActor(event.process, to: &$0) }
    ) { json in
      json.member("status_code", event.status.description)
      json.member("status_detail", event.decidedBy)
      let techniques = event.techniques
      if !techniques.isEmpty {
        json.objects("attacks", of: techniques) { json, technique in json.object("technique") { $0.member("uid", technique) } }
      }
      // What the class requires goes by the class: of a value without a name, the default one's.
      if activity.isOfValue {
        let name = event.valueName ?? ""
        json.object("reg_value") { Self.writeOCSF(event.newValue, name, key, to: &$0) }
        if let old = event.oldValue { json.object("prev_reg_value") { Self.writeOCSF(old, name, key, to: &$0) } }
      } else if let new = event.newKeyName {
        json.object("reg_key") { $0.member("path", EventKeyName(new).path) }
        json.object("prev_reg_key") { $0.member("path", key.path) }
      } else {
        json.object("reg_key") { $0.member("path", key.path) }
      }
      json.object("unmapped") { json in
        json.member("notify_class", event.notifyClass.name)
        if !event.ruleIDs.isEmpty { json.member("rule_ids", event.ruleIDs) }
        json.member("rule_source", event.ruleSource)
        if !event.detections.isEmpty {
          json.objects("sigma_rules", of: event.detections) { json, rule in
            json.member("uid", rule.id)
            json.member("name", rule.title)
            json.member("level", rule.level?.rawValue)
          }
        }
        json.member("image", event.process.image)
        if !event.ruleNames.isEmpty { json.member("rules", event.ruleNames) }
        json.member("file", event.fileName)
        json.member("old_file", event.oldFileName)
        json.member("restore_flags", event.restoreFlags)
        json.member("transaction_id", event.transactionID)
        if !event.matchHashes.isEmpty { json.member("match_hashes", event.matchHashes) }
      }
    }
  }

  private func ocsfLine(
    _ event: Event, _ activity: Activity, at time: FileTime, isSuccess: Bool, isRefused: Bool = false,
    isAudited: Bool = false, level: SigmaLevel? = nil, loss: Loss, actor: ((inout JSONWriter) -> Void)?, _ members: (inout JSONWriter) -> Void
  ) -> [UInt8] {
    var json = JSONWriter()
    let isOfSystem = activity.classID != 0
    json.line { json in
      json.member("activity_id", activity.id)
      json.member("activity_name", activity.name)
      json.member("category_uid", isOfSystem ? 1 : 0)
      json.member("category_name", isOfSystem ? "System Activity" : "Uncategorized")
      json.member("class_uid", activity.classID)
      json.member("class_name", activity.className)
      json.member("type_uid", activity.classID * 100 + activity.id)
      json.member("type_name", "\(activity.className): \(activity.name)")
      json.member("time", Self.milliseconds(time))
      let severity = max(isRefused || isAudited ? .medium : .informational, level ?? .informational)
      json.member("severity_id", severity.rank)
      json.member("severity", severity.rawValue.capitalizedWord)
      json.member("status_id", isSuccess ? 1 : 2)
      json.member("status", isSuccess ? "Success" : "Failure")
      json.member("action_id", isRefused ? 2 : isAudited ? 3 : 1)
      json.member("disposition_id", isRefused ? 2 : isAudited ? 17 : 1)
      json.member("message", Self.message(event))
      json.object("metadata") { json in
        json.member("version", Self.ocsfVersion)
        json.member("profiles", ["security_control"])
        json.member("sequence", event.sequence)
        json.member("original_time", time.rfc3339)
        json.objects("extensions", of: [()]) { json, _ in
          json.member("name", "win")
          json.member("uid", "2")
          json.member("version", Self.ocsfVersion)
        }
        json.object("product") { json in
          json.member("name", "regward")
          json.member("vendor_name", "regward")
        }
        if !loss.isNone { json.member("labels", Self.labels(of: loss)) }
      }
      if isOfSystem {
        json.object("device") { json in
          json.member("type_id", 0)
          json.member("hostname", hostName)
        }
      }
      if let actor { json.object("actor", actor) }
      members(&json)
    }
    return json.bytes
  }

  private static func labels(of loss: Loss) -> [String] {
    ["lost.dropped:\(loss.dropped)", "lost.failed:\(loss.failed)"] + (loss.errno == 0 ? [] : ["lost.errno:\(loss.errno)"])
  }

  private static func milliseconds(_ time: FileTime) -> Int64 {
    let (seconds, nanoseconds) = time.unixTime
    return seconds * 1000 + nanoseconds / 1_000_000
  }

  private static func writeActor(_ process: ProcessDescription, to json: inout JSONWriter) {
    writeOCSF(process, to: &json)
    json.object("user") { $0.member("uid", String(process.userID)) }
  }

  private static func writeOCSF(_ process: ProcessDescription, to json: inout JSONWriter) {
    json.object("process") { json in
      json.member("pid", process.processID)
      json.member("uid", entityID(process))
      json.member("name", programName(process))
      json.member("cmd_line", process.commandLine)
      json.member("created_time", process.startTime.map(milliseconds))
      json.member("ptid", process.threadID)
      if let path = process.executable {
        json.object("file") { json in
          json.member("name", programName(process))
          json.member("path", path)
          json.member("type_id", 1)
        }
      }
      if let parent = process.parentID { json.object("parent_process") { $0.member("pid", parent) } }
      if let session = process.sessionID { json.object("session") { $0.member("uid", String(session)) } }
    }
  }

  /// OCSF's numbers of the types, by ours; the others are 99, with their name beside.
  private static let typeIDs: [ValueType: Int] = [
    .binary: 1, .dword: 2, .dwordBigEndian: 3, .expandSz: 4, .link: 5, .multiSz: 6, .none: 7, .qword: 8, .sz: 10,
  ]

  private static func writeOCSF(
    _ value: RegistryValue?, _ name: UnicodeName, _ key: EventKeyName, to json: inout JSONWriter
  ) {
    json.member("path", key.path)
    json.member("name", EventKeyName.text(name.units))
    json.member("is_default", name.isEmpty)
    guard let value else { return }
    let data = EventData(value)
    json.member("type", value.type.name)
    json.member("type_id", typeIDs[value.type] ?? 99)
    // Their numbers are signed.
    if let number = data.integer {
      json.member("reg_integer_data", Int64(bitPattern: number))
    } else if value.type == .multiSz {
      json.member("reg_string_list_data", data.strings ?? [])
    } else if let text = data.strings?.first {
      json.member("reg_string_data", text)
    } else {
      // The name for bytes is only for these two types; what another type has, or a number of a wrong size, is `data`.
      json.member(value.type == .binary || value.type == .none ? "reg_binary_data" : "data", base64: data.shown)
    }
  }
}
