/// An image and the extension that it opens (an entry of MP_DOC_OPEN_RULES).
package struct DocumentOpenRule: Hashable, Sendable {
  package let imageName: String
  /// Without its dot.
  package let fileExtension: String

  package init(imageName: String, fileExtension: String) {
    self.imageName = imageName
    self.fileExtension = fileExtension
  }
}

/// What the policy makes of a process when its context is made: found out once, in the order of wdfilter.md 6, before the
/// process is announced.
package struct Classification: Sendable {
  /// 1. MpSetProcessDocOpenRule.
  package var documentOpenRule: DocumentOpenRule?
  /// The bits of wdfilter.md 3.2: 2. of MpSetProcessExempt (Excluded, MsMpEng), 3. of MpSetProcessHardening (MpServiceSid),
  /// 4. of MpSetProcessHardeningExclusion (Friendly). The trusted bit is the table's own and ignored here.
  package var flags: UInt32
  package var rules: UInt32

  /// What the classifier wants to find again at each judgement (`ProcessRecord.note`).
  package var note: (any AnyObject & Sendable)?

  package init(
    documentOpenRule: DocumentOpenRule? = nil, flags: UInt32 = 0, rules: UInt32 = 0,
    note: (any AnyObject & Sendable)? = nil
  ) {
    self.note = note
    self.documentOpenRule = documentOpenRule
    self.flags = flags
    self.rules = rules
  }

  static let trustedFlag: UInt32 = 0x40
  /// MsMpEng, MpServiceSid.
  private static let trustedByFlags: UInt32 = 0x18
  private static let trustedByRule: UInt32 = 0x20

  /// By MpUpdateProcessTrust.
  var isTrusted: Bool { rules & Self.trustedByRule != 0 || flags & Self.trustedByFlags != 0 }
}
