package import Executive

/// The file that a process executes, as the kernel holds it.
package struct ExecutableFile: Hashable, Sendable {
  package let device: UInt64
  package let inode: UInt64
  package let ownerID: UInt32
  /// Type and permissions (st_mode).
  package let mode: UInt32
  /// 0 for a deleted file and for a memfd.
  package let links: UInt32

  package init(device: UInt64, inode: UInt64, ownerID: UInt32, mode: UInt32, links: UInt32) {
    self.device = device
    self.inode = inode
    self.ownerID = ownerID
    self.mode = mode
    self.links = links
  }

  /// Nobody but root can have put this content there.
  package var belongsToRoot: Bool { ownerID == 0 && mode & 0o022 == 0 }
}

/// Why a process is not exempt, whatever the policy says of it (identity.md, last section).
package enum ExemptionDoubt: String, Sendable, CaseIterable {
  case noExecutable = "its executable cannot be read"
  case deletedExecutable = "its executable is deleted, or was never a file with a name (memfd)"
  case ownExecutable = "its executable can be changed by its own user"
  case foreignUserNamespace = "it runs in another user namespace than the mount, or that cannot be told"
  case traced = "it is being traced (ptrace)"
  case loaderEnvironment =
    "its environment has LD_PRELOAD, LD_AUDIT or LD_LIBRARY_PATH, or cannot be read"
}

/// What is known of a process at one moment (MP_PROCESS_CONTEXT).
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

  package init(
    processID: Int32, threadID: Int32, startTicks: UInt64, startTime: FileTime, executable: String?,
    executableFile: ExecutableFile?, commandLine: String?, parentID: Int32, sessionID: Int32, userID: UInt32,
    groupID: UInt32, doubts: [ExemptionDoubt]
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
  }
}
