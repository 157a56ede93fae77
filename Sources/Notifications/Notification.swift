package import Executive
package import Sigma

/// The process that an event is about, as far as it could be learned; nil fields could not.
package struct ProcessDescription: Hashable, Sendable {
  package var processID: Int32
  package var threadID: Int32
  /// Clock ticks since boot, field 22 of /proc/PID/stat: with the pid the key of a process.
  package var startTicks: UInt64?
  package var startTime: FileTime?
  package var executable: String?
  /// What rules for Windows are told in its place (the policy's `actor`).
  package var image: String?
  package var commandLine: String?
  package var parentID: Int32?
  package var sessionID: Int32?
  package var userID: UInt32
  package var groupID: UInt32

  package init(processID: Int32, threadID: Int32, userID: UInt32, groupID: UInt32) {
    self.processID = processID
    self.threadID = threadID
    self.userID = userID
    self.groupID = groupID
  }
}

/// What the filter tells about one operation (RegOperationMessage). Names are the registry's own; a sink encodes them.
package struct Notification: Sendable {
  /// Given by the queue, one up for each notification, so that a gap shows what was dropped.
  package var sequence: UInt64 = 0
  package var time: FileTime
  /// The class it was sent for: a pre class for a refusal, a post class for a watched operation.
  package var notifyClass: NotifyClass
  /// What the caller got.
  package var status: NTStatus
  /// True for a refusal, also for one that was only logged (`audited`).
  package var denied: Bool
  /// The policy is in audit mode: the operation went on although `denied`.
  package var audited = false
  package var process: ProcessDescription
  /// Complete name, `\REGISTRY\MACHINE\…`; the old name for a rename.
  package var keyName: UnicodeName
  package var valueName: UnicodeName?
  /// Complete name after a rename.
  package var newKeyName: UnicodeName?
  package var newValue: RegistryValue?
  package var oldValue: RegistryValue?
  /// The file that a restore or a load reads, that a replace puts in place, that a save writes (NewFileName).
  package var fileName: String?
  /// Where a replace has saved what was there (OldFileName).
  package var oldFileName: String?
  package var restoreFlags: UInt32?
  /// Number of the log entry that holds the change, one up with each change of its hive (mod 2^32); nil where nothing was changed.
  package var transactionID: UInt32?
  /// The sync client is asked with it, and the operation waits.
  package var isSynchronous = false
  /// FinalKeyRules: matched rules ∧ the operation's flag.
  package var finalKeyRules: UInt32 = 0
  package var ruleNames: [String] = []
  /// The ids of the rules that matched, first the one that decided (`hardened: WinDefend`, `defender-policy`).
  package var ruleIDs: [String] = []
  /// `file:line` of the rule that decided.
  package var ruleSource: String?
  /// The version of the rules that decided, 1 at mount and one up with each update; 0: not told.
  package var rulesVersion: UInt64 = 0
  /// Of a refusal: why the process was not exempt, in words.
  package var exemption: String?
  /// Who decided where it was not the rules: the sync client, or its silence.
  package var decidedBy: String?
  /// 16-byte hashes of the matched rules, in hexadecimal.
  package var matchHashes: [String] = []
  /// The Sigma rules to be asked about it, before anybody is told.
  package var detector: SigmaRuleSet?
  /// Nobody is told unless one of them fires.
  package var isOnlyForDetection = false
  /// Those that fired; when one of them has decided, that first.
  package var detections: [SigmaRule] = []

  package init(
    time: FileTime, notifyClass: NotifyClass, status: NTStatus, denied: Bool, process: ProcessDescription,
    keyName: UnicodeName
  ) {
    self.time = time
    self.notifyClass = notifyClass
    self.status = status
    self.denied = denied
    self.process = process
    self.keyName = keyName
  }
}
