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
    guard try !hasCurrentControlSet(named: wanted.name, in: key) else { throw .exists }
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
    guard inodes.unsavedValues(of: child).isEmpty else { throw .notEmpty }
    do { try registry.deleteKey(child, by: caller) } catch { throw Errno(error) }
    dropTimes(of: key, isKnown: true)
    if !isExact(spelled, found.name) { dropNames() }
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
      if !isExact(spelled, found.name) { dropNames() }
      return
    }
    if case .alias = found.node.kind { throw .notPermitted }
    guard let value = found.node.value else { throw .isDirectory }
    if let unsaved = value.withLock({ $0.unsaved }) { _ = try admit(found.node, unsaved, by: caller) }
    if !removeUnsaved(found.node) {
      let ordinal = value.withLock { $0.ordinal }
      keepText(of: found.node)
      defer { dropKeptText(of: found.node) }
      do {
        try registry.deleteValue(of: key, named: found.name, ordinal: ordinal, by: caller) { identity in
          markDeleted(identity)
        }
      } catch { throw Errno(error) }
      removed.note(found.name, of: key, type: rememberedType(found.node), by: caller, at: now())
      dropTimes(of: key, isKnown: true)
    }
    if !isExact(spelled, found.name) { dropNames() }
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
    // `CurrentControlSet` is given and taken by `Select\Current`.
    for node in [found.node, target?.node] { if case .alias? = node?.kind { throw .notPermitted } }

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
      if !isDone || !isExact(newSpelled, wanted.name) { dropNames() }
    } else {
      stale = try renameValue(found, of: key, to: newSpelled, over: target, of: newKey, by: caller)
    }
    dropTimes(of: key, isKnown: true)
    if newKey !== key { dropTimes(of: newKey, isKnown: true) }
    if !isExact(spelled, found.name) { dropNames() }
    return stale
  }

  private func renameValue(
    _ source: Found, of key: KeyControlBlock, to newSpelled: [UInt8], over target: Found?, of newKey: KeyControlBlock,
    by caller: Caller
  ) throws(Errno) -> UInt64? {
    guard !source.node.isRawView else { throw .invalid }
    if let target, target.node.value == nil { throw .isDirectory }
    let wanted = try newName(newSpelled, isKey: false, in: newKey)
    guard wanted.suffix != .raw else { throw .invalid }
    if let unsaved = source.node.value?.withLock({ $0.unsaved }),
      try renameUnsaved(source, unsaved, to: wanted, over: target, of: newKey, by: caller)
    { return nil }
    // Of twins only the first can be moved by its name.
    guard source.node.value?.withLock({ $0.ordinal }) == 1 else { throw .unclean }
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
        target?.node.value?.withLock { $0.knownType } ?? removed.type(of: wanted.name, in: newKey, by: caller, at: now())
      } else { nil }
    if let type, type != value.type {
      let old = value
      value = try readable(target?.name ?? wanted.name, of: newKey, by: caller) { () throws(Errno) in
        try retyped(old, of: source.node, as: type)
      }
    }
    let oldType = rememberedType(source.node)
    // A name that is there already keeps the spelling that the hive has.
    let newName = target.map { target in target.node === source.node ? wanted.name : target.name } ?? wanted.name
    if target == nil { suffixed.note(wanted.name, of: newKey, hasSuffix: wanted.suffix == .value) }
    var hasReaders = false
    var isDone = false
    if let target, target.node !== source.node { keepText(of: target.node) }
    defer { if let target { dropKeptText(of: target.node) } }
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
    if let target { _ = removeUnsaved(target.node) }
    removed.note(source.name, of: key, type: oldType, by: caller, at: now())
    if !isDone || !isExact(newSpelled, newName) { dropNames() }
    return hasReaders ? source.node.id : nil
  }

  // MARK: Small things

  private func find(_ spelled: [UInt8], in key: KeyControlBlock) throws(Errno) -> Found {
    guard let wanted = try? decode(spelled, in: key) else { throw .noEntry }
    return try resolve(wanted, spelled: spelled, in: key)
  }

  func refuseControl(_ spelled: [UInt8], in parent: UInt64) throws(Errno) {
    if parent == InodeTable.root, ControlFile(inRoot: spelled) != nil { throw .notPermitted }
    try refuseControl(inodes.node(parent))
  }

  /// Nothing is made, renamed or removed below the control directory.
  func refuseControl(_ parent: Node?) throws(Errno) {
    switch parent?.kind {
    case .control, .alias: throw .notPermitted
    case .key, .value, nil: break
    }
  }

  /// A value that is going to be removed stays what it is for those who have it open.
  private func keepText(of node: Node) {
    guard let (parent, name, ordinal, isOpen) = node.value?.withLock({
      ($0.parent, $0.name, $0.ordinal, $0.readers + $0.writers > 0)
    }), isOpen, let found = try? registry.queryValue(of: parent, named: name, ordinal: ordinal) else { return }
    let value = RegistryValue(type: found.information.type, data: found.data)
    let text = if case .value(isRaw: true) = node.kind { value.data } else { ValueCodec.text(of: value) }
    node.value?.withLock { $0.lastText = text }
  }

  /// It was not removed after all.
  private func dropKeptText(of node: Node) {
    node.value?.withLock { if !$0.isDeleted { $0.lastText = nil } }
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

  /// The type that a value hands on to the next of its name; nil for plain text that nobody gave a type.
  private func rememberedType(_ node: Node) -> ValueType? {
    node.value?.withLock { $0.isUntyped && $0.type == .sz ? nil : $0.type }
  }
}
