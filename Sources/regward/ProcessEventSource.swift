internal import Executive
internal import Notifications
internal import ProcessTable
internal import WdFilter

/// The notification sink as a subscriber of the process callback: puts what happens to processes among the events
/// (`log-processes`). It waits for nobody: the queue drops and counts.
final class ProcessEventSource: Sendable {
  private let callback: CallbackObject<ProcessNotification>
  private let registration: CallbackObject<ProcessNotification>.Registration?

  init(_ processes: ProcessTable, queue: NotificationQueue) {
    callback = processes.processCallback
    registration = processes.subscribe { _, notification in
      if let notification { queue.enqueue(.process(ProcessEvent(notification, at: .now()))) }
    }
  }

  func stop() { if let registration { callback.unregister(registration) } }
}

extension ProcessEvent {
  init(_ notification: ProcessNotification, at time: FileTime) {
    self.init(
      time: time, kind: Kind(notification), operationType: notification.operationType.rawValue,
      process: notification.description, isTrusted: notification.isTrusted,
      flags: notification.record.map { ProcessFlags(rawValue: $0.flags).names } ?? [],
      rules: notification.record.map { ProcessRules(rawValue: $0.rules).names } ?? [])
  }
}

extension ProcessEvent.Kind {
  init(_ notification: ProcessNotification) {
    switch notification.operationType {
    case .created: self = .created
    case .terminated: self = .terminated
    case .trust where notification.isRefresh: self = .refreshed
    case .trust: self = notification.isTrusted == true ? .trusted : .untrusted
    }
  }
}

extension ProcessNotification {
  /// The process with all that is known of it; of one that was gone before it could be read, its number.
  var description: ProcessDescription {
    guard let record else {
      var process = ProcessDescription(processID: processID, threadID: processID, userID: .max, groupID: .max)
      process.parentID = parentID
      return process
    }
    var process = ProcessDescription(record.facts)
    // The parent at the fork: who outlived it has another by now.
    if let parentID { process.parentID = parentID }
    return process
  }
}
