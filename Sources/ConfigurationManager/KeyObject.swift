package import Executive

/// One opening of a key (CM_KEY_BODY): several of them may stand for one key. Callbacks hang their object contexts on it. Made by
/// `Registry.openKey`, given back with `Registry.closeKey`.
package final class KeyObject: Sendable {
  /// Unique while mounted, never used again.
  package let id: UInt64
  package let key: KeyControlBlock
  /// The key's complete name when it was opened.
  package let openedName: UnicodeName
  /// The KEY_* rights that it was opened with.
  package let grantedAccess: UInt32

  init(id: UInt64, key: KeyControlBlock, openedName: UnicodeName, grantedAccess: UInt32) {
    self.id = id
    self.openedName = openedName
    self.key = key
    self.grantedAccess = grantedAccess
  }
}

extension KeyObject: Hashable {
  package static func == (a: KeyObject, b: KeyObject) -> Bool { a === b }
  package func hash(into hasher: inout Hasher) { hasher.combine(id) }
}
