package import Executive

/// One row of the filter's only table over notify classes; every mask and flag comes from here.
package struct FilteredClass: Sendable {
  /// How far an operation reaches beyond its own name; in a faithful subtree only where the driver has no check of its own.
  package enum Reach: Sendable {
    case name
    /// Also the keys that rules name below it, and its own values: they go with it.
    case namedBelow
    /// All that, and what a `**` may put below it.
    case everythingBelow
  }

  package let pre: NotifyClass
  package let post: NotifyClass
  /// The class is in the driver's hardening-checked mask. Create is not: it is handled apart, first.
  package let isHardeningChecked: Bool
  /// The driver leaves the class alone; this filter asks the hardening list for it.
  package let isBeyondDriver: Bool
  /// The rule bit that watches the operation, the one that refuses it, and the one that asks for the old value.
  package let operation: RuleBits
  package let denied: RuleBits
  package let retrieve: RuleBits
  /// Bits of a value's entry that refuse an operation on its key.
  package let deniedByValues: RuleBits
  /// Bits of the key that refuse as well when the subtree is strict.
  package let strictlyDenied: RuleBits
  package let reach: Reach
  /// The driver checks the class, and less: a faithful subtree restores that (wdfilter.md 4, rows 1 to 3).
  package let isNarrowerInDriver: Bool

  private init(
    _ pre: NotifyClass, _ post: NotifyClass, hardeningChecked: Bool = true, beyondDriver: Bool = false,
    operation: RuleBits = [], denied: RuleBits = [], retrieve: RuleBits = [], deniedByValues: RuleBits = [],
    strictlyDenied: RuleBits = [], reach: Reach = .name
  ) {
    self.pre = pre
    self.post = post
    isHardeningChecked = hardeningChecked && !beyondDriver
    isBeyondDriver = beyondDriver
    self.operation = operation
    self.denied = denied
    self.retrieve = retrieve
    self.deniedByValues = deniedByValues
    self.strictlyDenied = strictlyDenied
    self.reach = reach
    isNarrowerInDriver = !beyondDriver
  }

  /// The flag that rules are asked for: Operation | Denied.
  package var flag: RuleBits { operation.union(denied) }

  /// The hardening list is asked: for the driver's classes, for create, and for what it leaves alone.
  var asksHardeningList: Bool { isHardeningChecked || isBeyondDriver || pre == .preCreateKeyEx }

  package static let table: [FilteredClass] = [
    FilteredClass(
      .preDeleteKey, .postDeleteKey, operation: .deleteKeyOperation, denied: .deleteDenied,
      // Named only: a key that can be deleted has no subkeys, so what a `**` may put below it is not there.
      reach: .namedBelow),
    FilteredClass(
      .preSetValueKey, .postSetValueKey, operation: .setValueKeyOperation, denied: .setValueDenied,
      retrieve: .setValueRetrieveKeyValueInfo),
    FilteredClass(
      .preDeleteValueKey, .postDeleteValueKey, operation: .deleteValueKeyOperation, denied: .deleteDenied,
      retrieve: .deleteValueRetrieveKeyValueInfo),
    // A forged LastWrite time is a change of a hardened key too, although the driver lets it pass.
    FilteredClass(.preSetInformationKey, .postSetInformationKey, beyondDriver: true),
    FilteredClass(
      // It takes the old name away like a delete and brings the new one like a create.
      .preRenameKey, .postRenameKey, operation: .renameKeyOperation, denied: .renameDenied,
      strictlyDenied: [.deleteDenied, .createDenied], reach: .everythingBelow),
    FilteredClass(
      .preCreateKeyEx, .postCreateKeyEx, hardeningChecked: false, operation: .createKeyOperation,
      denied: .createDenied),
    // One call creates, deletes and sets everywhere below: whatever is protected there, or at the key, is overwritten.
    FilteredClass(
      .preRestoreKey, .postRestoreKey, operation: .restoreKeyOperation, denied: .restoreDenied,
      strictlyDenied: .anyDenied, reach: .everythingBelow),
    FilteredClass(
      .preReplaceKey, .postReplaceKey, operation: .replaceKeyOperation, denied: .replaceDenied,
      strictlyDenied: .anyDenied, reach: .everythingBelow),
    // A hive's content comes and goes below its name; the driver does not look.
    FilteredClass(
      .preLoadKey, .postLoadKey, beyondDriver: true, denied: [.createDenied, .setValueDenied],
      reach: .everythingBelow),
    FilteredClass(
      .preUnLoadKey, .postUnLoadKey, beyondDriver: true, denied: .deleteDenied,
      reach: .everythingBelow),
    // Who may change owner and access list may do the rest as well, one call later.
    FilteredClass(
      .preSetKeySecurity, .postSetKeySecurity, beyondDriver: true, denied: [.setValueDenied, .deleteDenied],
      deniedByValues: [.setValueDenied, .tamperProtectionActive]),
  ]

  /// Index into `table` by class; a request finds its row with one load.
  private static let rows: [Int8] = NotifyClass.allCases.map { notifyClass in
    Int8(table.firstIndex { $0.pre == notifyClass } ?? -1)
  }

  /// The row of a pre class; nil when the filter has nothing to do with it.
  static func row(of preClass: NotifyClass) -> FilteredClass? {
    let row = rows[Int(preClass.rawValue)]
    return row < 0 ? nil : table[Int(row)]
  }

  private static func mask(_ part: (FilteredClass) -> UInt64) -> UInt64 { table.reduce(0) { $0 | part($1) } }

  /// The driver's three masks (wdfilter.md 3).
  package static let hardeningCheckedMask = mask { $0.isHardeningChecked ? $0.pre.bit : 0 }
  package static let postMask = mask { $0.isBeyondDriver ? 0 : $0.post.bit }
  package static let handledMask = mask { $0.isBeyondDriver ? 0 : $0.pre.bit | $0.post.bit }
  /// What this filter wants to see: the handled classes, and those beyond the driver.
  package static let interestMask = mask { $0.pre.bit | $0.post.bit }
}
