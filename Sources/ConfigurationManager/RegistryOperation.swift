package import Executive

/// What a key is made as (REG_OPTION_*).
package struct KeyOptions: OptionSet, Hashable, Sendable {
  package let rawValue: UInt32

  package init(rawValue: UInt32) { self.rawValue = rawValue }

  /// A symbolic link: its value `SymbolicLinkValue` names the key that it stands for.
  package static let createLink = KeyOptions(rawValue: 0x2)
}

/// What SaveKey writes (REG_STANDARD_FORMAT, REG_LATEST_FORMAT).
package enum SaveFormat: UInt32, Sendable {
  case standard = 1
  case latest = 2
}

/// What SetInformationKey sets of a key (KEY_SET_INFORMATION_CLASS).
package enum KeySetInformation: Sendable {
  /// KeyWriteTimeInformation.
  case lastWriteTime(FileTime)
  /// Nil: none. A class of our own: Windows gives a key its class name when it makes it, and never again.
  case className(UnicodeName?)
}

/// One registry operation with the information that its callbacks get (the REG_*_INFORMATION structures).
package enum RegistryOperation: Sendable {
  /// A key that does not exist yet; `completeName` is the whole name it will have (REG_CREATE_KEY_INFORMATION). The create of an
  /// existing key is an `openKey`.
  case createKey(completeName: UnicodeName, parent: KeyReference, options: KeyOptions)
  /// `desiredAccess` is a mask of KEY_* rights (REG_OPEN_KEY_INFORMATION).
  case openKey(key: KeyReference, desiredAccess: UInt32)
  /// The key object is closed; a failure of a callback changes nothing (REG_KEY_HANDLE_CLOSE_INFORMATION).
  case keyHandleClose(key: KeyReference)
  /// `value` is nil when a file is opened for writing: judged before the data is known (REG_SET_VALUE_KEY_INFORMATION).
  case setValueKey(key: KeyReference, valueName: UnicodeName, value: RegistryValue?)
  case deleteValueKey(key: KeyReference, valueName: UnicodeName)
  case deleteKey(key: KeyReference)
  /// `newName` is the last component only (REG_RENAME_KEY_INFORMATION).
  case renameKey(key: KeyReference, newName: UnicodeName)
  case setInformationKey(key: KeyReference, information: KeySetInformation)
  /// `securityInformation` tells which parts of the self-relative `descriptor` count (SECURITY_INFORMATION).
  case setKeySecurity(key: KeyReference, securityInformation: UInt32, descriptor: [UInt8])
  case queryKeySecurity(key: KeyReference, securityInformation: UInt32)
  case queryKey(key: KeyReference)
  case queryValueKey(key: KeyReference, valueName: UnicodeName)
  /// `name` is the subkey's at `index`, counted from 0.
  case enumerateKey(key: KeyReference, index: Int, name: UnicodeName)
  case enumerateValueKey(key: KeyReference, index: Int, valueName: UnicodeName)
  case flushKey(key: KeyReference)
  /// A hive's root comes to be at `completeName` (REG_LOAD_KEY_INFORMATION).
  case loadKey(completeName: UnicodeName, sourceFile: String, flags: UInt32)
  case unloadKey(key: KeyReference)
  /// The content of the key and everything below it is replaced by that of `sourceFile` (REG_RESTORE_KEY_INFORMATION).
  case restoreKey(key: KeyReference, sourceFile: String, flags: UInt32)
  case saveKey(key: KeyReference, file: String, format: SaveFormat)
  /// The whole hive is replaced: `key` is its root, whichever key of it was asked for (REG_REPLACE_KEY_INFORMATION).
  case replaceKey(key: KeyReference, newFile: String, oldFile: String)
  /// A callback's context on a key object is given back: the object is closed, or the callback unregistered. Only the one whose
  /// context it is is told; what it answers changes nothing (CallbackObjectContextCleanup).
  case contextCleanup(key: KeyReference)

  /// Both classes of the operation; the cleanup of a context has only one.
  package var classes: (pre: NotifyClass, post: NotifyClass) {
    switch self {
    case .createKey: (.preCreateKeyEx, .postCreateKeyEx)
    case .openKey: (.preOpenKeyEx, .postOpenKeyEx)
    case .keyHandleClose: (.preKeyHandleClose, .postKeyHandleClose)
    case .setValueKey: (.preSetValueKey, .postSetValueKey)
    case .deleteValueKey: (.preDeleteValueKey, .postDeleteValueKey)
    case .deleteKey: (.preDeleteKey, .postDeleteKey)
    case .renameKey: (.preRenameKey, .postRenameKey)
    case .setInformationKey: (.preSetInformationKey, .postSetInformationKey)
    case .setKeySecurity: (.preSetKeySecurity, .postSetKeySecurity)
    case .queryKeySecurity: (.preQueryKeySecurity, .postQueryKeySecurity)
    case .queryKey: (.preQueryKey, .postQueryKey)
    case .queryValueKey: (.preQueryValueKey, .postQueryValueKey)
    case .enumerateKey: (.preEnumerateKey, .postEnumerateKey)
    case .enumerateValueKey: (.preEnumerateValueKey, .postEnumerateValueKey)
    case .flushKey: (.preFlushKey, .postFlushKey)
    case .loadKey: (.preLoadKey, .postLoadKey)
    case .unloadKey: (.preUnLoadKey, .postUnLoadKey)
    case .restoreKey: (.preRestoreKey, .postRestoreKey)
    case .saveKey: (.preSaveKey, .postSaveKey)
    case .replaceKey: (.preReplaceKey, .postReplaceKey)
    case .contextCleanup: (.callbackObjectContextCleanup, .callbackObjectContextCleanup)
    }
  }

  package var preClass: NotifyClass { classes.pre }
  package var postClass: NotifyClass { classes.post }

  /// The key that the operation is about; for a create its parent, nil for a load.
  package var key: KeyReference? {
    switch self {
    case .createKey(_, let key, _), .openKey(let key, _), .keyHandleClose(let key), .setValueKey(let key, _, _),
      .deleteValueKey(let key, _), .deleteKey(let key), .renameKey(let key, _), .setInformationKey(let key, _),
      .setKeySecurity(let key, _, _), .queryKeySecurity(let key, _), .queryKey(let key), .queryValueKey(let key, _),
      .enumerateKey(let key, _, _), .enumerateValueKey(let key, _, _), .flushKey(let key), .unloadKey(let key),
      .restoreKey(let key, _, _), .saveKey(let key, _, _), .replaceKey(let key, _, _), .contextCleanup(let key):
      key
    case .loadKey: nil
    }
  }

  /// The complete name of the key that the operation is about; for a create or a load, the name it will have.
  package var completeName: UnicodeName {
    switch self {
    case .createKey(let completeName, _, _), .loadKey(let completeName, _, _): completeName
    default: key?.completeName ?? UnicodeName(units: [])
    }
  }
}
