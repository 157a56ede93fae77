package import Executive

/// What is known of a caller at one moment: the process's record and the one thread and request that are judged.
package struct ProcessContext: Hashable, Sendable {
  package var processID: Int32
  package var threadID: Int32
  /// Clock ticks since boot, field 22 of /proc/PID/stat: with the pid the key of a process.
  package var startTicks: UInt64
  package var startTime: FileTime
  /// The executable's path; nil for a kernel thread and when it may not be read.
  package var executable: String?
  package var executableFile: ExecutableFile?
  package var commandLine: String?
  package var parentID: Int32
  package var sessionID: Int32
  /// Who asks, as the kernel told with the request: the file system ids of the thread.
  package var userID: UInt32
  package var groupID: UInt32
  package var doubts: [ExemptionDoubt]
  /// What the table remembers of the process; nil for a context that was made without a table.
  package var record: ProcessRecord?

  package init(
    processID: Int32, threadID: Int32, startTicks: UInt64, startTime: FileTime, executable: String?,
    executableFile: ExecutableFile?, commandLine: String?, parentID: Int32, sessionID: Int32, userID: UInt32,
    groupID: UInt32, doubts: [ExemptionDoubt], record: ProcessRecord? = nil
  ) {
    self.processID = processID
    self.threadID = threadID
    self.startTicks = startTicks
    self.startTime = startTime
    self.executable = executable
    self.executableFile = executableFile
    self.commandLine = commandLine
    self.parentID = parentID
    self.sessionID = sessionID
    self.userID = userID
    self.groupID = groupID
    self.doubts = doubts
    self.record = record
  }

  /// Nothing says that the process runs anything else than then.
  func isSameImage(_ then: ProcessContext) -> Bool {
    startTicks == then.startTicks && executable == then.executable && executableFile == then.executableFile
      && commandLine == then.commandLine
  }
}
