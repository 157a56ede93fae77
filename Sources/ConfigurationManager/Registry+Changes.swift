package import Executive
internal import HiveStorage
internal import Synchronization

extension Registry {
  // Every change has the same shape: the operation is made from the key's name now, admitted by the callbacks, done under the
  // exclusive lock, and completed. `onChange` runs under that lock, after the change.

  /// Asks whether `caller` may set the value, before its data is known. What comes back is handed to `setValue(admitted:)` or
  /// thrown away.
  package func admitSetValue(
    of key: KeyControlBlock, named name: UnicodeName, by caller: Caller
  ) throws(NTStatus) -> Admission {
    try admit(key, by: caller) { .setValueKey(key: $0, valueName: name, value: nil) }
  }

  /// Sets a value, new or not (NtSetValueKey). `onChange` gets the value's number.
  package func setValue(
    of key: KeyControlBlock, named name: UnicodeName, to value: RegistryValue, by caller: Caller,
    onChange: (_ identity: UInt32) -> Void = { _ in }
  ) throws(NTStatus) {
    try dispatch(key, by: caller, { .setValueKey(key: $0, valueName: name, value: value) }) { hive throws(HiveError) in
      onChange(try Self.set(value, of: key, named: name, &hive).rawValue)
    }
  }

  /// Sets a value by an admission given when its file was opened; for the close that has no caller.
  package func setValue(
    of key: KeyControlBlock, named name: UnicodeName, to value: RegistryValue, admitted: consuming Admission,
    onChange: (_ identity: UInt32) -> Void = { _ in }
  ) throws(NTStatus) {
    var admission = admitted
    let judged = admission.operation
    guard case .setValueKey(let reference, let judgedName, _) = judged, reference.id == key.id, judgedName == name else {
      throw .invalidParameter
    }
    admission.operation = .setValueKey(key: reference, valueName: name, value: value)
    let done = try perform(admission, on: key) { hive throws(HiveError) in
      onChange(try Self.set(value, of: key, named: name, &hive).rawValue)
    }
    if done == nil {
      // The key moved since the file was opened, and nobody can say any more who asks.
      try setValue(of: key, named: name, to: value, by: .unknown, onChange: onChange)
    }
  }

  /// Deletes a value (NtDeleteValueKey).
  package func deleteValue(
    of key: KeyControlBlock, named name: UnicodeName, ordinal: Int = 1, by caller: Caller,
    onChange: (_ identity: UInt32) -> Void = { _ in }
  ) throws(NTStatus) {
    guard try exists(name, in: key, among: .values, ordinal: ordinal) else { throw .objectNameNotFound }
    try dispatch(key, by: caller, { .deleteValueKey(key: $0, valueName: name) }) { hive throws(HiveError) in
      guard let cell = try Self.findValue(name, in: key.cell, ordinal: ordinal, hive) else { throw .keyNotFound }
      try hive.deleteValue(of: key.cell, value: cell, time: .now())
      onChange(cell.rawValue)
    }
  }

  /// Moves a value to another name or key, over whatever is there: a set and a delete, judged as both, done as one.
  /// `value` is what the target gets: its data, and the type that the caller chose.
  package func moveValue(
    of source: KeyControlBlock, named name: UnicodeName, to target: KeyControlBlock, named newName: UnicodeName,
    as value: RegistryValue, by caller: Caller,
    onChange: (_ source: UInt32, _ target: UInt32) -> Void = { _, _ in }
  ) throws(NTStatus) {
    while true {
      var deletion = try admit(source, by: caller) { .deleteValueKey(key: $0, valueName: name) }
      var setting: Admission
      do throws(NTStatus) {
        setting = try admit(target, by: caller) { .setValueKey(key: $0, valueName: newName, value: value) }
      } catch {
        deletion.complete(error)
        throw error
      }
      let status: NTStatus?
      do throws(NTStatus) {
        let isCurrent = try hive.withExclusive { hive throws(NTStatus) in
          guard try isUnmoved(deletion.operation, source), try isUnmoved(setting.operation, target) else { return false }
          do throws(HiveError) {
            let time = FileTime.now()
            guard let old = try Self.findValue(name, in: source.cell, ordinal: 1, hive) else { throw .keyNotFound }
            if source === target, name.equalsIgnoringCase(newName) {
              // Only the case of the name changes.
              let new = try hive.renameValue(of: source.cell, value: old, to: newName.units.span, time: time)
              onChange(old.rawValue, new.rawValue)
            } else {
              let new = try hive.setValue(
                of: target.cell, named: newName.units.span, type: value.type, data: value.data, time: time)
              try hive.deleteValue(of: source.cell, value: old, time: time)
              onChange(old.rawValue, new.rawValue)
            }
          } catch { throw NTStatus(error) }
          changes.wrappingAdd(1, ordering: .releasing)
          return true
        }
        status = isCurrent ? .success : nil
      } catch {
        deletion.complete(error)
        setting.complete(error)
        throw error
      }
      guard let status else { continue }
      setting.complete(status)
      deletion.complete(status)
      return
    }
  }

  /// Makes a key that does not exist yet (NtCreateKey). Throws `objectNameCollision`. `body` gets the new key, which its receiver
  /// holds, under the lock.
  package func createKey(
    named name: UnicodeName, in parent: KeyControlBlock, by caller: Caller,
    _ body: (KeyControlBlock, KeyInformation) -> Void
  ) throws(NTStatus) {
    guard try !exists(name, in: parent, among: .keys) else { throw .objectNameCollision }
    try dispatch(parent, by: caller, { .createKey(completeName: $0.completeName.appending(name), parent: $0) }) {
      hive throws(HiveError) in
      let cell = try hive.createKey(under: parent.cell, named: name.units.span, className: nil, time: .now())
      let information = KeyInformation(
        name: name, lastWriteTime: try hive.keyNode(at: cell).lastWriteTime, subkeyCount: 0, valueCount: 0,
        identity: cell.rawValue)
      body(reference(cell, parent: parent, name: name), information)
    }
  }

  /// Deletes a key that has neither subkeys nor values (NtDeleteKey). Throws `cannotDelete`.
  package func deleteKey(_ key: KeyControlBlock, by caller: Caller, onChange: () -> Void = {}) throws(NTStatus) {
    let information = try query(key)
    guard information.subkeyCount == 0, information.valueCount == 0 else {
      // Who may not delete it at all is told that, and so is the log.
      _ = try admit(key, by: caller) { .deleteKey(key: $0) }
      throw .cannotDelete
    }
    try dispatch(key, by: caller, { .deleteKey(key: $0) }) { hive throws(HiveError) in
      guard try hive.keyNode(at: key.cell).valueCount == 0 else { throw .cannotDelete }
      try hive.deleteKey(key.cell, time: .now())
      forget(key)
      onChange()
    }
  }

  /// Gives a key another last component (NtRenameKey). Throws `objectNameCollision`.
  package func renameKey(
    _ key: KeyControlBlock, to newName: UnicodeName, by caller: Caller, onChange: (_ identity: UInt32) -> Void = { _ in }
  ) throws(NTStatus) {
    try dispatch(key, by: caller, { .renameKey(key: $0, newName: newName) }) { hive throws(HiveError) in
      let cell = try hive.renameKey(key.cell, to: newName.units.span, time: .now())
      moved(key, to: cell, name: newName)
      onChange(cell.rawValue)
    }
  }

  /// Sets a key's LastWrite time (NtSetInformationKey, KeyWriteTimeInformation).
  package func setLastWriteTime(of key: KeyControlBlock, to time: FileTime, by caller: Caller) throws(NTStatus) {
    try dispatch(key, by: caller, { .setInformationKey(key: $0, lastWriteTime: time) }) { hive throws(HiveError) in
      try hive.setLastWriteTime(of: key.cell, time)
    }
  }

  // MARK: The one shape

  private func admit(
    _ key: KeyControlBlock, by caller: Caller, _ operation: (KeyReference) -> RegistryOperation
  ) throws(NTStatus) -> Admission {
    guard !isReadOnly else { throw .mediaWriteProtected }
    let reference = KeyReference(id: key.id, completeName: try completeName(of: key))
    return try callbacks.admit(operation(reference), by: caller, registry: self)
  }

  private func dispatch(
    _ key: KeyControlBlock, by caller: Caller, _ operation: (KeyReference) -> RegistryOperation,
    _ body: (inout Hive) throws(HiveError) -> Void
  ) throws(NTStatus) {
    while true {
      let admission = try admit(key, by: caller, operation)
      if try perform(admission, on: key, body) != nil { return }
    }
  }

  /// Does what was admitted. Nil when the key was renamed since: the admission is cancelled, the operation must be judged again.
  private func perform(
    _ admission: consuming Admission, on key: KeyControlBlock, _ body: (inout Hive) throws(HiveError) -> Void
  ) throws(NTStatus) -> Bool? {
    var admission = admission
    do throws(NTStatus) {
      let isCurrent = try hive.withExclusive { hive throws(NTStatus) in
        guard try isUnmoved(admission.operation, key) else { return false }
        do throws(HiveError) { try body(&hive) } catch { throw NTStatus(error) }
        changes.wrappingAdd(1, ordering: .releasing)
        return true
      }
      guard isCurrent else { return nil }
    } catch {
      admission.complete(error)
      throw error
    }
    admission.complete(.success)
    return true
  }

  /// Whether the key still has the name that was judged; a deleted one throws.
  private func isUnmoved(_ operation: RegistryOperation, _ key: KeyControlBlock) throws(NTStatus) -> Bool {
    guard !key.isDeleted else { throw .keyDeleted }
    if case .createKey(_, let parent) = operation { return parent.completeName == key.completeName }
    return operation.completeName == key.completeName
  }

  private static func set(
    _ value: RegistryValue, of key: KeyControlBlock, named name: UnicodeName, _ hive: inout Hive
  ) throws(HiveError) -> CellIndex {
    try hive.setValue(of: key.cell, named: name.units.span, type: value.type, data: value.data, time: .now())
  }
}
