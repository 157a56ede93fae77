/// What Sysmon tells of the registry (its events 12 to 14), by its EventType.
package enum SigmaOperation: String, CaseIterable, Sendable {
  case createKey = "CreateKey"
  case deleteKey = "DeleteKey"
  case deleteValue = "DeleteValue"
  case setValue = "SetValue"
  case renameKey = "RenameKey"
}

/// The categories of a rule's `logsource` that are about the registry.
package enum SigmaCategory: String, CaseIterable, Sendable {
  case add = "registry_add"
  case delete = "registry_delete"
  case event = "registry_event"
  case rename = "registry_rename"
  case set = "registry_set"

  var operations: [SigmaOperation] {
    switch self {
    case .add: [.createKey]
    case .delete: [.deleteKey, .deleteValue]
    case .event: SigmaOperation.allCases
    case .rename: [.renameKey]
    case .set: [.setValue]
    }
  }
}
