internal import Executive

/// What a notify class is called in events: Sysmon's event, ECS' type. Pre and post share one.
struct EventVerb {
  /// Sysmon's EventType, and the registry's verb for what Sysmon does not know.
  let name: String
  /// Sysmon's event id: 12 a key or value comes or goes, 13 a value is set, 14 a key is renamed; nil for what it does not know.
  let sysmonID: Int?
  /// ECS event.type.
  let type: String

  init(_ notifyClass: NotifyClass) {
    switch notifyClass {
    case .preCreateKey, .postCreateKey, .preCreateKeyEx, .postCreateKeyEx: self.init("CreateKey", 12, "creation")
    case .preDeleteKey, .postDeleteKey: self.init("DeleteKey", 12, "deletion")
    case .preDeleteValueKey, .postDeleteValueKey: self.init("DeleteValue", 12, "deletion")
    case .preSetValueKey, .postSetValueKey: self.init("SetValue", 13, "change")
    case .preRenameKey, .postRenameKey: self.init("RenameKey", 14, "change")
    case .preSetInformationKey, .postSetInformationKey: self.init("SetInformationKey", nil, "change")
    case .preSetKeySecurity, .postSetKeySecurity: self.init("SetKeySecurity", nil, "change")
    case .preRestoreKey, .postRestoreKey: self.init("RestoreKey", nil, "change")
    case .preReplaceKey, .postReplaceKey: self.init("ReplaceKey", nil, "change")
    case .preLoadKey, .postLoadKey: self.init("LoadKey", nil, "creation")
    case .preUnLoadKey, .postUnLoadKey: self.init("UnLoadKey", nil, "deletion")
    case .preSaveKey, .postSaveKey: self.init("SaveKey", nil, "access")
    case .preSaveMergedKey, .postSaveMergedKey: self.init("SaveMergedKey", nil, "access")
    case .preFlushKey, .postFlushKey: self.init("FlushKey", nil, "info")
    case .preOpenKey, .postOpenKey, .preOpenKeyEx, .postOpenKeyEx: self.init("OpenKey", nil, "access")
    case .preEnumerateKey, .postEnumerateKey: self.init("EnumerateKey", nil, "access")
    case .preEnumerateValueKey, .postEnumerateValueKey: self.init("EnumerateValueKey", nil, "access")
    case .preQueryKey, .postQueryKey: self.init("QueryKey", nil, "access")
    case .preQueryValueKey, .postQueryValueKey: self.init("QueryValueKey", nil, "access")
    case .preQueryMultipleValueKey, .postQueryMultipleValueKey: self.init("QueryMultipleValueKey", nil, "access")
    case .preQueryKeySecurity, .postQueryKeySecurity: self.init("QueryKeySecurity", nil, "access")
    case .preQueryKeyName, .postQueryKeyName: self.init("QueryKeyName", nil, "access")
    case .preKeyHandleClose, .postKeyHandleClose: self.init("CloseKey", nil, "info")
    case .callbackObjectContextCleanup: self.init("ContextCleanup", nil, "info")
    }
  }

  private init(_ name: String, _ sysmonID: Int?, _ type: String) {
    self.name = name
    self.sysmonID = sysmonID
    self.type = type
  }
}
