package import Executive

/// What is known of a caller at one moment: the process's record and the one thread and request that are judged.
///
/// A value in one reference: a judgement hands it on several times, and texts and lists would be counted each time.
package struct ProcessContext: Hashable, Sendable {
  private struct Fields: Hashable, Sendable {
    var processID: Int32
    var threadID: Int32
    var startTicks: UInt64
    var startTime: FileTime
    var executable: String?
    var executableFile: ExecutableFile?
    var commandLine: String?
    var parentID: Int32
    var sessionID: Int32
    var userID: UInt32
    var groupID: UInt32
    var doubts: [ExemptionDoubt]
    var record: ProcessRecord?
  }

  // SAFETY: written only through a `ProcessContext` that holds it alone, as a value is.
  private final class Storage: @unchecked Sendable {
    var fields: Fields
    init(_ fields: Fields) { self.fields = fields }
  }

  private var storage: Storage

  private var fields: Fields {
    get { storage.fields }
    _modify {
      if !isKnownUniquelyReferenced(&storage) { storage = Storage(storage.fields) }
      yield &storage.fields
    }
  }

  package static func == (a: ProcessContext, b: ProcessContext) -> Bool {
    a.storage === b.storage || a.storage.fields == b.storage.fields
  }

  package func hash(into hasher: inout Hasher) { hasher.combine(storage.fields) }

  package var processID: Int32 {
    get { storage.fields.processID }
    _modify { yield &fields.processID }
  }
  package var threadID: Int32 {
    get { storage.fields.threadID }
    _modify { yield &fields.threadID }
  }
  /// Clock ticks since boot, field 22 of /proc/PID/stat: with the pid the key of a process.
  package var startTicks: UInt64 {
    get { storage.fields.startTicks }
    _modify { yield &fields.startTicks }
  }
  package var startTime: FileTime {
    get { storage.fields.startTime }
    _modify { yield &fields.startTime }
  }
  /// The executable's path; nil for a kernel thread and when it may not be read.
  package var executable: String? {
    get { storage.fields.executable }
    _modify { yield &fields.executable }
  }
  package var executableFile: ExecutableFile? {
    get { storage.fields.executableFile }
    _modify { yield &fields.executableFile }
  }
  package var commandLine: String? {
    get { storage.fields.commandLine }
    _modify { yield &fields.commandLine }
  }
  package var parentID: Int32 {
    get { storage.fields.parentID }
    _modify { yield &fields.parentID }
  }
  package var sessionID: Int32 {
    get { storage.fields.sessionID }
    _modify { yield &fields.sessionID }
  }
  /// Who asks, as the kernel told with the request: the file system ids of the thread.
  package var userID: UInt32 {
    get { storage.fields.userID }
    _modify { yield &fields.userID }
  }
  package var groupID: UInt32 {
    get { storage.fields.groupID }
    _modify { yield &fields.groupID }
  }
  package var doubts: [ExemptionDoubt] {
    get { storage.fields.doubts }
    _modify { yield &fields.doubts }
  }
  /// What the table remembers of the process; nil for a context that was made without a table.
  package var record: ProcessRecord? {
    get { storage.fields.record }
    _modify { yield &fields.record }
  }

  package init(
    processID: Int32, threadID: Int32, startTicks: UInt64, startTime: FileTime, executable: String?,
    executableFile: ExecutableFile?, commandLine: String?, parentID: Int32, sessionID: Int32, userID: UInt32,
    groupID: UInt32, doubts: [ExemptionDoubt], record: ProcessRecord? = nil
  ) {
    storage = Storage(
      Fields(
        processID: processID, threadID: threadID, startTicks: startTicks, startTime: startTime, executable: executable,
        executableFile: executableFile, commandLine: commandLine, parentID: parentID, sessionID: sessionID,
        userID: userID, groupID: groupID, doubts: doubts, record: record))
  }

  /// Doubts are told in the order of their cases.
  mutating func add(_ doubt: ExemptionDoubt) {
    let known = doubts + [doubt]
    doubts = ExemptionDoubt.allCases.filter(known.contains)
  }

  /// Nothing says that the process runs anything else than then.
  func isSameImage(_ then: ProcessContext) -> Bool {
    startTicks == then.startTicks && executable == then.executable && executableFile == then.executableFile
      && commandLine == then.commandLine
  }
}
