internal import Synchronization

/// What the table remembers of one image that one process runs (MP_PROCESS_CONTEXT): key is (pid, start ticks, exec
/// generation). Kept while the process lives, and longer while somebody holds it (automatic reference counting is
/// its reference count).
///
/// The driver's `Subsystem` (Win32, WSL) has no counterpart: every process here has the same kernel interface; nor has
/// `Protection` (protected process light): Linux has no process that root cannot open. ImageWow64cpuLoaded and
/// ThreadNotifyRoutineExSet are about code injection on Windows.
package final class ProcessRecord: Sendable {
  /// What does not change until the next exec: pid, start, image name, command line, parent, session, the ids it had when
  /// it was read; its thread is the leader and its doubts are those of `ExemptionDoubt` that are learned when a
  /// context is made.
  package let facts: ProcessContext
  /// How many images this process ran before, as far as they were seen.
  package let execGeneration: UInt32
  /// Groups beside the gid of the request, for files that a group may write.
  let groups: [UInt32]

  /// Flags in the lower half, rules in the upper one: set together, so never of two classifications.
  private let standing: Atomic<UInt64>
  private let documentRule: Mutex<DocumentOpenRule?>
  private let classifierNote: Mutex<(any AnyObject & Sendable)?>
  /// Which classifier was asked; the table's number at that time.
  let classifierGeneration: Atomic<UInt64>
  /// Up to which loss of events the record was read again.
  let lossGeneration: Atomic<UInt64>
  /// Execs since the record was made; not current any more when there is one.
  let execsSince = Atomic<UInt32>(0)
  /// A tracer attached or detached: ask at every judgement until there is none.
  let asksForTracer: Atomic<Bool>
  /// Its leader has exited while other threads live.
  let leaderExited = Atomic<Bool>(false)
  /// A hash of the command line's bytes, for noticing another script without the connector.
  let commandLineHash: UInt64
  private let notifications = Atomic<UInt64>(0)
  private let refusals = Atomic<UInt64>(0)

  init(
    facts: ProcessContext, execGeneration: UInt32, groups: [UInt32], commandLineHash: UInt64,
    classification: Classification, classifierGeneration: UInt64, lossGeneration: UInt64, isTraced: Bool
  ) {
    self.facts = facts
    self.execGeneration = execGeneration
    self.groups = groups
    self.commandLineHash = commandLineHash
    standing = Atomic(Self.pack(classification))
    documentRule = Mutex(classification.documentOpenRule)
    classifierNote = Mutex(classification.note)
    self.classifierGeneration = Atomic(classifierGeneration)
    self.lossGeneration = Atomic(lossGeneration)
    asksForTracer = Atomic(isTraced)
  }

  package var processID: Int32 { facts.processID }
  /// The bits of wdfilter.md 3.2, with the trusted bit.
  package var flags: UInt32 { UInt32(truncatingIfNeeded: standing.load(ordering: .acquiring)) }
  package var rules: UInt32 { UInt32(truncatingIfNeeded: standing.load(ordering: .acquiring) >> 32) }
  package var isTrusted: Bool { flags & Classification.trustedFlag != 0 }
  /// `Classification.note`.
  package var note: (any AnyObject & Sendable)? { classifierNote.withLock { $0 } }
  package var documentOpenRule: DocumentOpenRule? { documentRule.withLock { $0 } }
  /// Registry notifications about this process that were sent.
  package var notificationsSent: UInt64 { notifications.load(ordering: .relaxed) }
  /// Operations of this process that were refused.
  package var operationsDenied: UInt64 { refusals.load(ordering: .relaxed) }

  /// The user and groups that it was read for may write to its executable.
  var canChangeItsExecutable: Bool {
    facts.executableFile?.canBeChanged(byUser: facts.userID) { $0 == facts.groupID || groups.contains($0) } ?? false
  }

  func hasClassifier(of other: ProcessRecord) -> Bool {
    classifierGeneration.load(ordering: .acquiring) == other.classifierGeneration.load(ordering: .acquiring)
  }

  /// The same process goes on under another record.
  func takeCounters(_ old: ProcessRecord) {
    notifications.add(old.notificationsSent, ordering: .relaxed)
    refusals.add(old.operationsDenied, ordering: .relaxed)
  }

  package func countNotification() { notifications.add(1, ordering: .relaxed) }
  package func countRefusal() { refusals.add(1, ordering: .relaxed) }

  /// Rules and flags without the trusted bit, which follows from them; true when that bit changed.
  func set(_ classification: Classification) -> Bool {
    documentRule.withLock { $0 = classification.documentOpenRule }
    classifierNote.withLock { $0 = classification.note }
    let before = standing.exchange(Self.pack(classification), ordering: .acquiringAndReleasing)
    return UInt32(truncatingIfNeeded: before) & Classification.trustedFlag != 0 ? !classification.isTrusted : classification.isTrusted
  }

  private static func pack(_ classification: Classification) -> UInt64 {
    let flags = classification.flags & ~Classification.trustedFlag
    return UInt64(classification.rules) << 32
      | UInt64(classification.isTrusted ? flags | Classification.trustedFlag : flags)
  }
}

extension ProcessRecord: Hashable {
  package static func == (a: ProcessRecord, b: ProcessRecord) -> Bool { a === b }
  package func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}
