internal import Executive
internal import Sigma

/// The driver's own names: RegOperationMessage, WD_PS_NOTIFY_INFO (wdfilter.md 5 and 6).
extension EventEncoder {
  func driverLine(for event: Event, loss: Loss) -> [UInt8] {
    var json = JSONWriter()
    json.line { json in
      switch event {
      case .registry(let event): Self.writeOperation(event, to: &json)
      case .process(let event): Self.writeProcess(event, to: &json)
      case .documentOpen(let event):
        json.member("Message", "DocOpen")
        json.member("Type", DocumentOpenEvent.messageType)
        Self.write(event.sequence, event.time, event.process, to: &json)
        json.member("KeyName", EventKeyName(event.keyName).kernelName)
        json.member("ValueName", EventKeyName.text(event.valueName.units))
        json.member("Extension", event.fileExtension)
      case .control(let event):
        json.member("Message", event.message)
        Self.write(event.sequence, event.time, event.process, to: &json)
        json.member("Data", event.text)
        json.member("Error", event.refusal)
      }
      guard !loss.isNone else { return }
      json.member("DroppedCount", loss.dropped)
      json.member("FailedCount", loss.failed)
      if loss.errno != 0 { json.member("LastError", loss.errno) }
    }
    return json.bytes
  }

  private static func write(
    _ sequence: UInt64, _ time: FileTime, _ process: ProcessDescription, to json: inout JSONWriter
  ) {
    json.member("SequenceNumber", sequence)
    json.member("TimeStamp", time.rawValue)
    json.member("ProcessId", process.processID)
    json.member("ProcessCreationTime", process.startTime?.rawValue)
    json.member("ThreadId", process.threadID)
    json.member("SessionId", process.sessionID)
  }

  private static func writeOperation(_ event: Notification, to json: inout JSONWriter) {
    json.member("Message", "RegOperationMessage")
    if event.isSynchronous { json.member("Type", SyncMessageType.registryEventSync.rawValue) }
    write(event.sequence, event.time, event.process, to: &json)
    json.member("NotifyClass", event.notifyClass.rawValue)
    json.member("NotifyClassName", event.notifyClass.name)
    json.member("Status", event.status.rawValue)
    json.member("Denied", event.denied && !event.audited)
    if event.audited { json.member("Audited", true) }
    json.member("KeyName", EventKeyName(event.keyName).kernelName)
    json.member("ValueName", event.valueName.map { EventKeyName.text($0.units) })
    json.member("NewKeyName", event.newKeyName.map { EventKeyName($0).kernelName })
    json.member("OldFileName", event.oldFileName)
    json.member("NewFileName", event.fileName)
    json.member("FinalKeyRules", event.finalKeyRules)
    if let value = event.newValue {
      json.member("NewValueType", value.type.rawValue)
      json.member("NewValueDataSize", value.data.count)
      json.member("NewValueData", base64: EventData(value).shown)
    }
    if let value = event.oldValue {
      json.member("OldValueType", value.type.rawValue)
      json.member("OldValueDataSize", value.data.count)
      json.member("OldValueData", base64: EventData(value).shown)
    }
    json.member("RestoreFlags", event.restoreFlags)
    json.member("TransactionId", event.transactionID)
    json.member("ValueHashes", event.matchHashes)
    if !event.detections.isEmpty {
      json.objects("SigmaRules", of: event.detections) { json, rule in
        json.member("Id", rule.id)
        json.member("Title", rule.title)
        json.member("Level", rule.level?.rawValue)
      }
    }
  }

  private static func writeProcess(_ event: ProcessEvent, to json: inout JSONWriter) {
    json.member("Message", "WD_PS_NOTIFY_INFO")
    write(event.sequence, event.time, event.process, to: &json)
    json.member("ParentProcessId", event.process.parentID)
    json.member("ImageFileName", event.process.executable)
    json.member("OperationType", event.operationType)
    if let isTrusted = event.isTrusted { json.member("IsTrusted", isTrusted) }
  }
}
