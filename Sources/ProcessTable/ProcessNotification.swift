/// What a process does or becomes, as subscribers of the callback object are told (WD_PS_NOTIFY_INFO; the source of every
/// field is the table of wdfilter.md 6.1, and what a source does not give is nil).
package struct ProcessNotification: Hashable, Sendable {
  package enum OperationType: UInt32, Sendable {
    case created = 1
    case terminated = 2
    /// The trusted bit changed, or is told again on request.
    case trust = 3
  }

  package let processID: Int32
  package let parentID: Int32?
  package let imageFileName: String?
  package let operationType: OperationType
  package let isTrusted: Bool?
  /// Told again on request: nothing has changed. (The image alone does not say so: that of some processes cannot be read.)
  package let isRefresh: Bool
  /// The extended form's process context. Nil when the process was gone before it could be read, and after its end.
  package let record: ProcessRecord?

  private init(
    _ processID: Int32, _ operationType: OperationType, parentID: Int32? = nil, imageFileName: String? = nil,
    isTrusted: Bool? = nil, isRefresh: Bool = false, record: ProcessRecord? = nil
  ) {
    self.isRefresh = isRefresh
    self.processID = processID
    self.parentID = parentID
    self.imageFileName = imageFileName
    self.operationType = operationType
    self.isTrusted = isTrusted
    self.record = record
  }

  static func created(_ record: ProcessRecord, parentID: Int32? = nil) -> ProcessNotification {
    ProcessNotification(
      record.processID, .created, parentID: parentID ?? record.facts.parentID, imageFileName: record.facts.executable,
      isTrusted: record.isTrusted, record: record)
  }

  /// A process that executed something else, or ended, before it was read.
  static func created(unreadable processID: Int32, parentID: Int32?) -> ProcessNotification {
    ProcessNotification(processID, .created, parentID: parentID, isTrusted: false)
  }

  static func terminated(_ processID: Int32) -> ProcessNotification { ProcessNotification(processID, .terminated) }

  static func trust(_ record: ProcessRecord, _ isTrusted: Bool) -> ProcessNotification {
    ProcessNotification(record.processID, .trust, isTrusted: isTrusted, record: record)
  }

  static func refresh(_ record: ProcessRecord) -> ProcessNotification {
    ProcessNotification(
      record.processID, .trust, imageFileName: record.facts.executable, isTrusted: record.isTrusted, isRefresh: true,
      record: record)
  }
}
