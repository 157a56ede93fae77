/// What a registry callback is told about (REG_NOTIFY_CLASS, wdm.h). Odd one out: the create and open classes come in an
/// XP form (10 to 13) that is never sent, and the `Ex` form used here.
package enum NotifyClass: UInt8, CaseIterable, Sendable {
  case preDeleteKey = 0, preSetValueKey, preDeleteValueKey, preSetInformationKey, preRenameKey
  case preEnumerateKey, preEnumerateValueKey, preQueryKey, preQueryValueKey, preQueryMultipleValueKey
  case preCreateKey, postCreateKey, preOpenKey, postOpenKey
  case preKeyHandleClose
  case postDeleteKey, postSetValueKey, postDeleteValueKey, postSetInformationKey, postRenameKey
  case postEnumerateKey, postEnumerateValueKey, postQueryKey, postQueryValueKey, postQueryMultipleValueKey
  case postKeyHandleClose
  case preCreateKeyEx, postCreateKeyEx, preOpenKeyEx, postOpenKeyEx
  case preFlushKey, postFlushKey, preLoadKey, postLoadKey, preUnLoadKey, postUnLoadKey
  case preQueryKeySecurity, postQueryKeySecurity, preSetKeySecurity, postSetKeySecurity
  case callbackObjectContextCleanup
  case preRestoreKey, postRestoreKey, preSaveKey, postSaveKey, preReplaceKey, postReplaceKey
  case preQueryKeyName, postQueryKeyName, preSaveMergedKey, postSaveMergedKey

  /// The class's bit in a mask over classes.
  package var bit: UInt64 { 1 << UInt64(rawValue) }

  /// `RegNtPreSetValueKey`: the name in Windows' headers.
  package var name: String {
    let text = String(describing: self)
    return self == .callbackObjectContextCleanup
      ? "RegNtCallbackObjectContextCleanup" : "RegNt" + text.prefix(1).uppercased() + text.dropFirst()
  }
}
