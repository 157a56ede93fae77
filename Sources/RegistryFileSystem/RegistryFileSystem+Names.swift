package import ConfigurationManager
internal import Executive
internal import Synchronization

extension RegistryFileSystem {
  /// mkdir(2): CreateKeyEx.
  package func makeDirectory(
    _ name: UnsafePointer<CChar>, in parent: UInt64, by caller: Caller
  ) throws(Errno) -> Entry {
    let spelled = Self.bytes(name)
    let key = try key(of: parent)
    try refuseControl(spelled, in: parent)
    let wanted = try newName(spelled, isKey: true)
    var found: Found?
    do {
      try registry.createKey(named: wanted.name, in: key, by: caller) { child, information in
        found = Found(node: inodes.remember(child), name: wanted.name, information: information)
      }
    } catch {
      // A callback may turn the success into a failure afterwards.
      if let found { inodes.forget(found.node.id, count: 1) }
      throw Errno(error)
    }
    guard let found else { throw .io }
    dropTimes(of: key, isKnown: true)
    return try entry(for: found, spelled: spelled)
  }

  /// rmdir(2): DeleteKey, when the key has neither subkeys nor values.
  package func removeDirectory(_ name: UnsafePointer<CChar>, in parent: UInt64, by caller: Caller) throws(Errno) {
    let spelled = Self.bytes(name)
    let key = try key(of: parent)
    try refuseControl(spelled, in: parent)
    let found = try find(spelled, in: key)
    defer { inodes.forget(found.node.id, count: 1) }
    guard case .key(let child, _) = found.node.kind else { throw .notDirectory }
    guard inodes.pendingValues(of: child).isEmpty else { throw .notEmpty }
    do { try registry.deleteKey(child, by: caller) } catch { throw Errno(error) }
    dropTimes(of: key, isKnown: true)
    if !isExact(spelled, found.name) { cache?.dropNames() }
  }

  /// unlink(2): DeleteValueKey.
  package func unlink(_ name: UnsafePointer<CChar>, in parent: UInt64, by caller: Caller) throws(Errno) {
    let spelled = Self.bytes(name)
    let key = try key(of: parent)
    try refuseControl(spelled, in: parent)
    let found = try find(spelled, in: key)
    defer { inodes.forget(found.node.id, count: 1) }
    if case .key(let link, isLink: true) = found.node.kind {
      // To the kernel a link is a file: this is its DeleteKey.
      do { try registry.deleteKey(link, by: caller) } catch { throw Errno(error) }
      dropTimes(of: key, isKnown: true)
      if !isExact(spelled, found.name) { cache?.dropNames() }
      return
    }
    guard let value = found.node.value else { throw .isDirectory }
    let (isPending, ordinal) = value.withLock { ($0.pendingFile != nil, $0.ordinal) }
    if isPending {
      // Nothing of it is in the registry: its leave to be set is given back.
      abandon(found.node)
    } else {
      do {
        try registry.deleteValue(of: key, named: found.name, ordinal: ordinal, by: caller) { identity in
          markDeleted(identity)
        }
      } catch { throw Errno(error) }
      dropTimes(of: key, isKnown: true)
    }
    if !isExact(spelled, found.name) { cache?.dropNames() }
  }

  /// rename(2). A key keeps its parent (else EXDEV: mv copies and deletes, every step judged). A value is set under its new
  /// name and deleted under its old one, as one change; over a value of another type it takes that one's type when it was made
  /// without one. The node returned has pages to be dropped.
  package func rename(
    _ name: UnsafePointer<CChar>, in parent: UInt64, to newName: UnsafePointer<CChar>, in newParent: UInt64,
    flags: UInt32, by caller: Caller
  ) throws(Errno) -> UInt64? {
    let noReplace: UInt32 = 1
    guard flags & ~noReplace == 0 else { throw .invalid }
    let spelled = Self.bytes(name)
    let newSpelled = Self.bytes(newName)
    try refuseControl(spelled, in: parent)
    try refuseControl(newSpelled, in: newParent)
    let key = try key(of: parent)
    let newKey = try self.key(of: newParent)
    let found = try find(spelled, in: key)
    defer { inodes.forget(found.node.id, count: 1) }
    let target: Found?
    do throws(Errno) { target = try find(newSpelled, in: newKey) } catch {
      // Only a name that is not there is free; damage in the way is no reason to write over it.
      guard error == .noEntry else { throw error }
      target = nil
    }
    defer { if let target { inodes.forget(target.node.id, count: 1) } }
    if target != nil, flags & noReplace != 0 { throw .exists }
    if target?.node === found.node, spelled == newSpelled { return nil }

    var stale: UInt64?
    if case .key(let child, _) = found.node.kind {
      guard key === newKey else { throw .crossDevice }
      if let target, target.node !== found.node {
        guard case .key = target.node.kind else { throw .notDirectory }
        throw .exists
      }
      let wanted = try self.newName(newSpelled, isKey: true)
      var isDone = false
      do {
        try registry.renameKey(child, to: wanted.name, by: caller) { _ in isDone = true }
      } catch { throw Errno(error) }
      // What a callback did itself the kernel does not know.
      if !isDone || !isExact(newSpelled, wanted.name) { cache?.dropNames() }
    } else {
      stale = try renameValue(found, of: key, to: newSpelled, over: target, of: newKey, by: caller)
    }
    dropTimes(of: key, isKnown: true)
    if newKey !== key { dropTimes(of: newKey, isKnown: true) }
    if !isExact(spelled, found.name) { cache?.dropNames() }
    return stale
  }

  private func renameValue(
    _ source: Found, of key: KeyControlBlock, to newSpelled: [UInt8], over target: Found?, of newKey: KeyControlBlock,
    by caller: Caller
  ) throws(Errno) -> UInt64? {
    guard !source.node.isRawView else { throw .invalid }
    if let target, target.node.value == nil { throw .isDirectory }
    let wanted = try newName(newSpelled, isKey: false)
    guard wanted.suffix != .raw else { throw .invalid }
    // Of twins only the first can be moved by its name.
    guard source.node.value?.withLock({ $0.ordinal }) == 1 else { throw .unclean }
    // Still open and not set yet: set it first, so that there is something to move.
    if let file = source.node.value?.withLock({ $0.pendingFile }) { _ = try set(file, by: caller) }
    if let target, target.node.value?.withLock({ $0.pendingFile != nil }) == true { abandon(target.node) }
    var value: RegistryValue
    do {
      // What is moved is read: who may not read it cannot read it under another name either.
      let (information, data, _) = try registry.queryValue(of: key, named: source.name, by: caller) { () throws(NTStatus) in
        try registry.queryValue(of: key, named: source.name)
      }
      value = RegistryValue(type: information.type, data: data)
    } catch { throw Errno(error) }
    let hasExactData = source.node.value?.withLock { $0.isExact } == true
    let type: ValueType? =
      if case .type(let type) = wanted.suffix { type } else if source.node.value?.withLock({ $0.isUntyped }) == true {
        target?.node.value?.withLock { $0.type }
      } else { nil }
    if let type, type != value.type {
      do throws(Errno) {
        value = try retyped(value, of: source.node, as: type)
      } catch {
        // Who may not set the target is told that, whatever the text.
        do { _ = try registry.admitSetValue(of: newKey, named: target?.name ?? wanted.name, by: caller) } catch {
          throw Errno(error)
        }
        throw error
      }
    }
    // A name that is there already keeps the spelling that the hive has.
    let newName = target.map { target in target.node === source.node ? wanted.name : target.name } ?? wanted.name
    var hasReaders = false
    var isDone = false
    do {
      try registry.moveValue(
        of: key, named: source.name, to: newKey, named: newName, as: value, by: caller
      ) { old, new in
        isDone = true
        if old != new {
          markDeleted(new)
          // Its other view stays behind: the name it was found by is gone.
          for view in inodes.unbind(old) where view !== source.node { view.value?.withLock { $0.isDeleted = true } }
        }
        source.node.value?.withLock { state in
          if state.parent !== newKey {
            registry.retain(newKey)
            registry.close(state.parent)
            state.parent = newKey
          }
          state.name = newName
          state.identity = new
          state.ordinal = 1
          state.isUntyped = state.isUntyped && type == nil
          state.type = value.type
          state.lacksLineEnd = state.lacksLineEnd && type == nil
          state.generation += 1
          hasReaders = state.readers > 0
        }
        inodes.bind(source.node, to: new)
        inodes.noteChange(ofValue: new, to: value.type, isExact: hasExactData, exceptRaw: false)
      }
    } catch { throw Errno(error) }
    if !isDone || !isExact(newSpelled, newName) { cache?.dropNames() }
    return hasReaders ? source.node.id : nil
  }

  // MARK: Small things

  private func find(_ spelled: [UInt8], in key: KeyControlBlock) throws(Errno) -> Found {
    guard let wanted = try? NameCodec.decode(spelled) else { throw .noEntry }
    return try resolve(wanted, spelled: spelled, in: key)
  }

  private func refuseControl(_ spelled: [UInt8], in parent: UInt64) throws(Errno) {
    if parent == InodeTable.root, ControlFile(inRoot: spelled) != nil { throw .notPermitted }
    if let node = inodes.node(parent), case .control = node.kind { throw .notPermitted }
  }

  /// The value with this number is gone from the hive; under the registry's lock.
  func markDeleted(_ identity: UInt64) {
    for node in inodes.unbind(identity) {
      node.value?.withLock { state in
        state.isDeleted = true
        state.generation += 1
      }
    }
  }

  /// A value that was created and will never be set.
  func abandon(_ node: Node) {
    inodes.settle(node, identity: nil)
    let file = node.value?.withLock { state in
      defer {
        state.pendingFile = nil
        state.isDeleted = true
        state.unsavedSize = nil
      }
      return state.pendingFile
    }
    // Thrown away outside the lock: its callbacks are told.
    _ = file?.state.withLock { state in
      state.isBare = false
      state.hasWritten = false
      return state.admission.take()
    }
  }
}
