package import Executive
internal import HiveStorage
internal import Synchronization

extension Registry {
  // Every change has the same shape: the operation is made from the key's name now, admitted by the callbacks, done and handed
  // to the log under the exclusive lock, and completed. `onChange` runs under that lock, after the change.

  /// Asks whether `caller` may set the value, before its data is known. What comes back is handed to `setValue(admitted:)` or
  /// thrown away.
  package func admitSetValue(
    of key: KeyControlBlock, named name: UnicodeName, by caller: Caller
  ) throws(NTStatus) -> Admission {
    try admit(key, by: caller) { .setValueKey(key: $0, valueName: name, value: nil) }
  }

  /// Sets a value, new or not (NtSetValueKey). `onChange` gets the value's number; where a callback did the work itself, that of the
  /// value that is there then, if there is one.
  package func setValue(
    of key: KeyControlBlock, named name: UnicodeName, to value: RegistryValue, by caller: Caller,
    through object: KeyObject? = nil, onChange: (_ identity: UInt64) -> Void = { _ in }
  ) throws(NTStatus) {
    let isDone = try dispatch(key, by: caller, through: object, { .setValueKey(key: $0, valueName: name, value: value) }) {
      hive throws(HiveError) in
      onChange(key.hive.identity(try Self.set(value, of: key, named: name, &hive)))
      return nil
    }
    if !isDone { try noteValue(name, in: key, onChange) }
  }

  /// Sets a value by an admission given when its file was opened; for the close that has no caller.
  ///
  /// An admission that callbacks have changed since is not honoured: what the rules refuse now must not be done by leave of older
  /// ones. The operation is dispatched anew then, for nobody: the thread that opened the file may be gone and its number
  /// another's, so its name would prove nothing, and an unknown caller is never exempt. What is lost by that is little, for who
  /// closes is asked by `flush` before, with his name.
  package func setValue(
    of key: KeyControlBlock, named name: UnicodeName, to value: RegistryValue, admitted: consuming Admission,
    onChange: (_ identity: UInt64) -> Void = { _ in }
  ) throws(NTStatus) {
    var admission = admitted
    let judged = admission.operation
    guard case .setValueKey(let reference, let judgedName, _) = judged, reference.id == key.id, judgedName == name else {
      throw .invalidParameter
    }
    guard !callbacks.isOutdated(admission) else {
      return try setValue(of: key, named: name, to: value, by: .unknown, onChange: onChange)
    }
    admission.operation = .setValueKey(key: reference, valueName: name, value: value)
    try admission.judgeData()
    let isDone = try perform(admission, on: key) { hive throws(HiveError) in
      onChange(key.hive.identity(try Self.set(value, of: key, named: name, &hive)))
      return nil
    }
    switch isDone {
    case true?: break
    case false?: try noteValue(name, in: key, onChange)
    // The key moved since the file was opened, and nobody can say any more who asks.
    case nil: try setValue(of: key, named: name, to: value, by: .unknown, onChange: onChange)
    }
  }

  private func noteValue(
    _ name: UnicodeName, in key: KeyControlBlock, _ note: (_ identity: UInt64) -> Void
  ) throws(NTStatus) {
    do throws(NTStatus) {
      try lookUp(name, in: key, among: .values) { if case .value(let value, _) = $0 { note(value.identity) } }
    } catch {
      guard error == .objectNameNotFound else { throw error }
    }
  }

  /// Deletes a value (NtDeleteValueKey).
  package func deleteValue(
    of key: KeyControlBlock, named name: UnicodeName, ordinal: Int = 1, by caller: Caller,
    through object: KeyObject? = nil, onChange: (_ identity: UInt64) -> Void = { _ in }
  ) throws(NTStatus) {
    guard try exists(name, in: key, among: .values, ordinal: ordinal) else { throw .objectNameNotFound }
    try dispatch(key, by: caller, through: object, { .deleteValueKey(key: $0, valueName: name) }) {
      hive throws(HiveError) in
      guard let cell = try Self.findValue(name, in: key.cell, ordinal: ordinal, hive) else { throw .keyNotFound }
      try hive.deleteValue(of: key.cell, value: cell, time: .now())
      onChange(key.hive.identity(cell))
      return nil
    }
  }

  /// Moves a value to another name or key, over whatever is there: a set and a delete, judged as both, done as one.
  /// `value` is what the target gets: its data, and the type that the caller chose. A half that a callback has done itself is not
  /// done again, and `onChange` is not called then.
  package func moveValue(
    of source: KeyControlBlock, named name: UnicodeName, to target: KeyControlBlock, named newName: UnicodeName,
    as value: RegistryValue, by caller: Caller,
    onChange: (_ source: UInt64, _ target: UInt64) -> Void = { _, _ in }
  ) throws(NTStatus) {
    // mv copies and deletes then, every step judged.
    guard source.hive === target.hive else { throw .notSameDevice }
    while true {
      var deletion = try admit(source, by: caller) { .deleteValueKey(key: $0, valueName: name) }
      var setting: Admission
      do throws(NTStatus) {
        setting = try admit(target, by: caller) { .setValueKey(key: $0, valueName: newName, value: value) }
      } catch {
        _ = deletion.complete(error)
        throw error
      }
      let (sets, deletes) = (!setting.isBypassed, !deletion.isBypassed)
      let status: NTStatus?
      do throws(NTStatus) {
        let isCurrent = try change(source.hive) { hive throws(NTStatus) in
          guard try isUnmoved(deletion.operation, source, hive), try isUnmoved(setting.operation, target, hive) else { return false }
          do throws(HiveError) {
            let time = FileTime.now()
            guard let old = try Self.findValue(name, in: source.cell, ordinal: 1, hive) else { throw .keyNotFound }
            let moved = try hive.transaction { (hive) throws(HiveError) -> (old: CellIndex, new: CellIndex)? in
              if sets, deletes, source === target, name.equalsIgnoringCase(newName) {
                // Only the case of the name changes.
                return (old, try hive.renameValue(of: source.cell, value: old, to: newName.units.span, time: time))
              }
              let new = try sets
                ? hive.setValue(
                  of: target.cell, named: newName.units.span, type: value.type, data: value.data, time: time) : nil
              guard deletes else { return nil }
              try hive.deleteValue(of: source.cell, value: old, time: time)
              return new.map { (old, $0) }
            }
            if let moved { onChange(source.hive.identity(moved.old), source.hive.identity(moved.new)) }
            setting.noteTransaction(source.hive.log)
            deletion.noteTransaction(source.hive.log)
          } catch { throw NTStatus(error) }
          return true
        }
        status = isCurrent ? .success : nil
      } catch {
        status = error
      }
      guard let status else { continue }
      let ofSetting = setting.complete(status)
      let ofDeletion = deletion.complete(status)
      guard ofSetting.isSuccess else { throw ofSetting }
      guard ofDeletion.isSuccess else { throw ofDeletion }
      return
    }
  }

  /// Makes a key that does not exist yet (NtCreateKey). Throws `objectNameCollision`. `body` gets the new key, which its receiver
  /// holds, under the lock; also when a callback turns the success into a failure afterwards.
  package func createKey(
    named name: UnicodeName, in parent: KeyControlBlock, options: KeyOptions = [], by caller: Caller,
    through object: KeyObject? = nil, _ body: (KeyControlBlock, KeyInformation) -> Void
  ) throws(NTStatus) {
    guard try !exists(name, in: parent, among: .keys) else { throw .objectNameCollision }
    let isDone = try dispatch(
      parent, by: caller, through: object,
      { .createKey(completeName: $0.completeName.appending(name), parent: $0, options: options) }
    ) { hive throws(HiveError) in
      let cell = try hive.createKey(
        under: parent.cell, named: name.units.span, isLink: options.contains(.createLink), time: .now())
      let information = KeyInformation(
        name: name, lastWriteTime: try hive.keyNode(at: cell).lastWriteTime, subkeyCount: 0, valueCount: 0,
        isLink: options.contains(.createLink), identity: parent.hive.identity(cell))
      let key = reference(cell, parent: parent, name: name)
      body(key, information)
      return KeyReference(id: key.id, completeName: try key.completeName(hive))
    }
    if !isDone {
      // The key that the callback has made.
      try lookUp(name, in: parent, among: .keys) { if case .key(let key, let information) = $0 { body(key, information) } }
    }
  }

  /// Makes a link key, or gives the one that is there another target: a create and the setting of its value, each judged.
  /// `target` is a complete name. Throws `objectNameCollision` where a key is that is no link.
  package func setLink(
    named name: UnicodeName, in parent: KeyControlBlock, to target: UnicodeName, by caller: Caller
  ) throws(NTStatus) {
    guard target.units.first == 0x5C, target.units.count <= 32767 else { throw .objectNameInvalid }
    let value = RegistryValue(type: .link, data: target.units.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] })
    if try exists(name, in: parent, among: .keys) {
      let found = try lookUp(name, in: parent, among: .keys) { object -> (KeyControlBlock, Bool)? in
        guard case .key(let key, let information) = object else { return nil }
        return (key, information.isLink)
      }
      guard let (key, isLink) = found else { throw .objectNameNotFound }
      defer { close(key) }
      guard isLink else { throw .objectNameCollision }
      return try setValue(of: key, named: Self.linkValueName, to: value, by: caller)
    }
    var made: KeyControlBlock?
    defer { if let made { close(made) } }
    try createKey(named: name, in: parent, options: .createLink, by: caller) { key, _ in made = key }
    guard let key = made else { throw .objectNameNotFound }
    do throws(NTStatus) { try setValue(of: key, named: Self.linkValueName, to: value, by: caller) } catch {
      // Nobody wants a link that leads nowhere: what was made just now is taken back.
      try? change(key.hive) { hive throws(NTStatus) in
        if (try? hive.deleteKey(key.cell, time: .now())) != nil { forget(key) }
      }
      throw error
    }
  }

  /// Replaces a key's security descriptor (NtSetSecurityObject). Throws `invalidSecurityDescriptor` for bytes that are none.
  package func setKeySecurity(
    of key: KeyControlBlock, to descriptor: [UInt8], securityInformation: UInt32 = SecurityInformation.all,
    by caller: Caller, through object: KeyObject? = nil
  ) throws(NTStatus) {
    try dispatch(
      key, by: caller, through: object,
      { .setKeySecurity(key: $0, securityInformation: securityInformation, descriptor: descriptor) }
    ) { hive throws(HiveError) in
      try hive.setSecurityDescriptor(ofKey: key.cell, descriptor, time: .now())
      return nil
    }
  }

  /// Deletes a key that has neither subkeys nor values (NtDeleteKey). Throws `cannotDelete`.
  package func deleteKey(
    _ key: KeyControlBlock, by caller: Caller, through object: KeyObject? = nil, onChange: () -> Void = {}
  ) throws(NTStatus) {
    let information = try query(key)
    // A link's one value is its target.
    guard information.subkeyCount == 0, information.valueCount == 0 || information.isLink else {
      // Who may not delete it at all is told that, and so is the log.
      _ = try admit(key, by: caller, through: object) { .deleteKey(key: $0) }
      throw .cannotDelete
    }
    try dispatch(key, by: caller, through: object, { .deleteKey(key: $0) }) { hive throws(HiveError) in
      let node = try hive.keyNode(at: key.cell)
      guard node.valueCount == 0 || node.isLink else { throw .cannotDelete }
      try hive.deleteKey(key.cell, time: .now())
      forget(key)
      onChange()
      return nil
    }
  }

  /// Gives a key another last component (NtRenameKey). Throws `objectNameCollision`.
  package func renameKey(
    _ key: KeyControlBlock, to newName: UnicodeName, by caller: Caller, through object: KeyObject? = nil,
    onChange: (_ identity: UInt64) -> Void = { _ in }
  ) throws(NTStatus) {
    try dispatch(key, by: caller, through: object, { .renameKey(key: $0, newName: newName) }) { hive throws(HiveError) in
      let cell = try hive.renameKey(key.cell, to: newName.units.span, time: .now())
      moved(key, to: cell)
      onChange(key.hive.identity(cell))
      return nil
    }
  }

  /// Sets a key's LastWrite time (NtSetInformationKey, KeyWriteTimeInformation).
  package func setLastWriteTime(
    of key: KeyControlBlock, to time: FileTime, by caller: Caller, through object: KeyObject? = nil
  ) throws(NTStatus) {
    try dispatch(key, by: caller, through: object, { .setInformationKey(key: $0, information: .lastWriteTime(time)) }) {
      hive throws(HiveError) in
      try hive.setLastWriteTime(of: key.cell, time)
      return nil
    }
  }

  /// Gives a key another class name, or none. Windows has no call for that; judged as a NtSetInformationKey.
  package func setClass(
    of key: KeyControlBlock, to name: UnicodeName?, by caller: Caller, through object: KeyObject? = nil
  ) throws(NTStatus) {
    try dispatch(key, by: caller, through: object, { .setInformationKey(key: $0, information: .className(name)) }) {
      hive throws(HiveError) in
      try hive.setClassName(ofKey: key.cell, name)
      return nil
    }
  }

  // MARK: The one shape

  func admit(
    _ key: KeyControlBlock, by caller: Caller, through object: KeyObject? = nil,
    _ operation: (KeyReference) -> RegistryOperation
  ) throws(NTStatus) -> Admission {
    guard !isReadOnly else { throw .mediaWriteProtected }
    // As Windows says it: hives are loaded there, and keys are not made.
    guard !key.hive.isNamespace else { throw .invalidParameter }
    let reference = KeyReference(id: key.id, completeName: try completeName(of: key), object: object)
    return try callbacks.admit(operation(reference), by: caller, registry: self)
  }

  /// False when a callback did the work itself, and the hive is as it was.
  @discardableResult
  func dispatch(
    _ key: KeyControlBlock, by caller: Caller, through object: KeyObject?,
    _ operation: (KeyReference) -> RegistryOperation, _ body: (inout Hive) throws(HiveError) -> KeyReference?
  ) throws(NTStatus) -> Bool {
    while true {
      let admission = try admit(key, by: caller, through: object, operation)
      if let isDone = try perform(admission, on: key, body) { return isDone }
    }
  }

  /// Does what was admitted; `body` gives the key that came of it. False: a callback did it, or made the failure a success. Nil when
  /// the key was renamed since: the admission is cancelled, the operation must be judged again.
  private func perform(
    _ admission: consuming Admission, on key: KeyControlBlock,
    _ body: (inout Hive) throws(HiveError) -> KeyReference?
  ) throws(NTStatus) -> Bool? {
    var admission = admission
    var status = NTStatus.success
    var isDone = false
    if !admission.isBypassed {
      do throws(NTStatus) {
        let isCurrent = try change(key.hive) { hive throws(NTStatus) in
          guard try isUnmoved(admission.operation, key, hive) else { return false }
          do throws(HiveError) { admission.result = try body(&hive) } catch { throw NTStatus(error) }
          admission.noteTransaction(key.hive.log)
          return true
        }
        guard isCurrent else { return nil }
        isDone = true
      } catch {
        status = error
      }
    }
    let outcome = admission.complete(status)
    guard outcome.isSuccess else { throw outcome }
    return isDone
  }

  /// Whether the key still has the name that was judged; a deleted one throws.
  private func isUnmoved(
    _ operation: RegistryOperation, _ key: KeyControlBlock, _ hive: borrowing Hive
  ) throws(NTStatus) -> Bool {
    guard !key.isDeleted else { throw .keyDeleted }
    do throws(HiveError) { return operation.key?.completeName == (try key.completeName(hive)) } catch { throw NTStatus(error) }
  }

  private static func set(
    _ value: RegistryValue, of key: KeyControlBlock, named name: UnicodeName, _ hive: inout Hive
  ) throws(HiveError) -> CellIndex {
    try hive.setValue(of: key.cell, named: name.units.span, type: value.type, data: value.data, time: .now())
  }
}
