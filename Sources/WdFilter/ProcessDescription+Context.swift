package import Notifications
package import ProcessTable

extension ProcessDescription {
  /// What events tell of a caller, or of a process by itself (`ProcessRecord.facts`).
  package init(_ process: ProcessContext) {
    self.init(
      processID: process.processID, threadID: process.threadID, userID: process.userID, groupID: process.groupID)
    startTicks = process.startTicks
    startTime = process.startTime
    executable = process.executable
    commandLine = process.commandLine
    parentID = process.parentID
    sessionID = process.sessionID
  }
}
