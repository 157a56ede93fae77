package import Executive

/// A key object in use: its number, unique while mounted, and its complete name at the moment of the operation, as in
/// `\REGISTRY\MACHINE\SYSTEM\ControlSet001\Services\WinDefend`.
package struct KeyReference: Hashable, Sendable {
  package let id: UInt64
  package let completeName: UnicodeName

  package init(id: UInt64, completeName: UnicodeName) {
    self.id = id
    self.completeName = completeName
  }
}

/// One registry operation with the information that its callbacks get (the REG_*_INFORMATION structures).
package enum RegistryOperation: Sendable {
  /// A key that does not exist yet; `completeName` is the whole name it will have (REG_CREATE_KEY_INFORMATION). The create of an
  /// existing key is an `openKey`.
  case createKey(completeName: UnicodeName, parent: KeyReference)
  case openKey(key: KeyReference)
  /// `value` is nil when a file is opened for writing: judged before the data is known (REG_SET_VALUE_KEY_INFORMATION).
  case setValueKey(key: KeyReference, valueName: UnicodeName, value: RegistryValue?)
  case deleteValueKey(key: KeyReference, valueName: UnicodeName)
  case deleteKey(key: KeyReference)
  /// `newName` is the last component only (REG_RENAME_KEY_INFORMATION).
  case renameKey(key: KeyReference, newName: UnicodeName)
  case setInformationKey(key: KeyReference, lastWriteTime: FileTime)

  package var preClass: NotifyClass {
    switch self {
    case .createKey: .preCreateKeyEx
    case .openKey: .preOpenKeyEx
    case .setValueKey: .preSetValueKey
    case .deleteValueKey: .preDeleteValueKey
    case .deleteKey: .preDeleteKey
    case .renameKey: .preRenameKey
    case .setInformationKey: .preSetInformationKey
    }
  }

  package var postClass: NotifyClass {
    switch self {
    case .createKey: .postCreateKeyEx
    case .openKey: .postOpenKeyEx
    case .setValueKey: .postSetValueKey
    case .deleteValueKey: .postDeleteValueKey
    case .deleteKey: .postDeleteKey
    case .renameKey: .postRenameKey
    case .setInformationKey: .postSetInformationKey
    }
  }

  /// The complete name of the key that the operation is about; for a create, the name it will have.
  package var completeName: UnicodeName {
    switch self {
    case .createKey(let completeName, _): completeName
    case .openKey(let key), .setValueKey(let key, _, _), .deleteValueKey(let key, _), .deleteKey(let key),
      .renameKey(let key, _), .setInformationKey(let key, _):
      key.completeName
    }
  }
}
