internal import ConfigurationManager
internal import Executive
internal import Glibc

/// A value that nobody saved and that could not be promoted, for people.
package struct LostValue: Sendable, CustomStringConvertible {
  package let name: String
  package let reason: String

  package var description: String { "\(name) was only in memory and is gone: \(reason)" }
}

/// Values that were made, and that nobody has saved, become values of the hive: none is dropped without a word.
extension RegistryFileSystem {
  /// How long a value may wait without a handle, nanoseconds.
  package static let patience: UInt64 = 5_000_000_000

  /// Promotes those that have waited long enough; when the next will have, or nil when there is none.
  func promoteDue() -> UInt64? {
    var next: UInt64?
    for (node, unsaved) in inodes.unsavedValues() {
      guard let idleSince = unsaved.idleSince else { continue }
      let due = idleSince &+ Self.patience
      if due <= now() {
        promote(node, unsaved)
      } else {
        next = min(next ?? due, due)
      }
    }
    return next
  }

  /// At the end of the mount: also those that somebody has open.
  func promoteAll() {
    for (node, unsaved) in inodes.unsavedValues() { promote(node, unsaved, evenOpen: true) }
  }

  /// Whether a value of the hive that `key` lies in is open for writing. What nobody has open does not wait longer.
  func hasWriters(below key: KeyControlBlock) -> Bool {
    for (node, unsaved) in inodes.unsavedValues() where node.value?.withLock({ $0.parent.isOfHive(key) }) == true {
      promote(node, unsaved)
    }
    return inodes.hasWriters(below: key)
  }

  /// A SetValueKey in the name of who made the value.
  private func promote(_ node: Node, _ unsaved: UnsavedValue, evenOpen: Bool = false) {
    unsaved.inTurn {
      guard evenOpen || unsaved.idleSince != nil,
        let (parent, name) = node.value?.withLock({ ($0.parent, $0.name) })
      else { return }
      // Before the value is settled: its node may be given up then, and its key with it.
      registry.retain(parent)
      defer { registry.close(parent) }
      do throws(Errno) {
        let new = try unsaved.promotedValue()
        do throws(NTStatus) {
          try registry.setValue(of: parent, named: name, to: new, by: unsaved.maker.caller) { identity in
            settle(node, unsaved, as: identity, isUntyped: unsaved.type == nil, type: new.type)
          }
        } catch { throw Errno(error) }
        abandon(node, unsaved)
        scratchMemory.notePromoted()
        dropTimes(of: parent)
      } catch {
        let keyName = (try? registry.completeName(of: parent))?.appending(name) ?? name
        abandon(node, unsaved)
        dropNames()
        scratchMemory.noteLost()
        whenLost(LostValue(name: keyName.description, reason: String(cString: strerror(error.rawValue))))
      }
    }
  }
}
