package import Executive

/// One row of the filter's only table over notify classes; every mask and flag comes from here.
package struct FilteredClass: Sendable {
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

  private init(
    _ pre: NotifyClass, _ post: NotifyClass, hardeningChecked: Bool = true, beyondDriver: Bool = false,
    operation: RuleBits = [], denied: RuleBits = [], retrieve: RuleBits = []
  ) {
    self.pre = pre
    self.post = post
    isHardeningChecked = hardeningChecked
    isBeyondDriver = beyondDriver
    self.operation = operation
    self.denied = denied
    self.retrieve = retrieve
  }

  /// The flag that rules are asked for: Operation | Denied.
  package var flag: RuleBits { operation.union(denied) }

  package static let table: [FilteredClass] = [
    FilteredClass(
      .preDeleteKey, .postDeleteKey, operation: .deleteKeyOperation, denied: .deleteDenied),
    FilteredClass(
      .preSetValueKey, .postSetValueKey, operation: .setValueKeyOperation, denied: .setValueDenied,
      retrieve: .setValueRetrieveKeyValueInfo),
    FilteredClass(
      .preDeleteValueKey, .postDeleteValueKey, operation: .deleteValueKeyOperation, denied: .deleteDenied,
      retrieve: .deleteValueRetrieveKeyValueInfo),
    // A forged LastWrite time is a change of a hardened key too, although the driver lets it pass.
    FilteredClass(.preSetInformationKey, .postSetInformationKey, hardeningChecked: false, beyondDriver: true),
    FilteredClass(
      .preRenameKey, .postRenameKey, operation: .renameKeyOperation, denied: .renameDenied),
    FilteredClass(
      .preCreateKeyEx, .postCreateKeyEx, hardeningChecked: false, operation: .createKeyOperation,
      denied: .createDenied),
    FilteredClass(
      .preRestoreKey, .postRestoreKey, operation: .restoreKeyOperation, denied: .restoreDenied),
    FilteredClass(
      .preReplaceKey, .postReplaceKey, operation: .replaceKeyOperation, denied: .replaceDenied),
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
