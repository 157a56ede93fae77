package import ConfigurationManager
internal import Executive
internal import Glibc
internal import Synchronization

/// Values that are made and not in the hive yet, from the making to the saving.
///
/// What is made under a scratch name is judged when it becomes real and touches nothing before; any other is judged when it is
/// made, opened and written, as a value that is there.
extension RegistryFileSystem {
  // MARK: Making

  /// mknod(2) of a regular file: a value without a handle. It is saved when it was opened for writing and closed, and promoted when
  /// nobody does that.
  package func makeNode(
    _ name: UnsafePointer<CChar>, in parent: UInt64, mode: UInt32, by caller: Caller
  ) throws(Errno) -> Entry {
    guard mode & S_IFMT == S_IFREG || mode & S_IFMT == 0 else { throw .notPermitted }
    let spelled = Self.bytes(name)
    let (key, wanted) = try placeForValue(spelled, in: parent)
    if let found = try existingValue(wanted, spelled: spelled, in: key) {
      inodes.forget(found.node.id, count: 1)
      throw .exists
    }
    let made = try makeUnsaved(wanted, spelled: spelled, in: key, hasHandle: false, by: caller)
    promotionWanted.signal()
    tellOpened(wanted.name, of: key, by: caller)
    return made.entry
  }

  /// A value that was just made, and the state of the handle that it was made with.
  struct Made: ~Copyable {
    let entry: Entry
    let node: Node
    let value: UnsavedValue
    let state: OpenFile.State
  }

  /// The key and the name of a value to be made.
  func placeForValue(_ spelled: [UInt8], in parent: UInt64) throws(Errno) -> (key: KeyControlBlock, name: EntryName) {
    guard !registry.isReadOnly else { throw .readOnly }
    try refuseControl(spelled, in: parent)
    let key = try key(of: parent)
    return (key, try newName(spelled, isKey: false, in: key))
  }

  /// The value of that name, whatever its type; its node has one look-up more.
  func existingValue(_ wanted: EntryName, spelled: [UInt8], in key: KeyControlBlock) throws(Errno) -> Found? {
    do throws(Errno) {
      return try resolve(EntryName(name: wanted.name, suffix: .value), spelled: spelled, in: key)
    } catch {
      guard error == .noEntry else { throw error }
      return nil
    }
  }

  func makeUnsaved(
    _ wanted: EntryName, spelled: [UInt8], in key: KeyControlBlock, hasHandle: Bool, by caller: Caller
  ) throws(Errno) -> Made {
    let isScratch = isScratch(wanted, in: key)
    var state = OpenFile.State()
    state.isBare = true
    if isScratch {
      guard key.isChangeable else { throw .invalid }
    } else {
      do { state.admission = try registry.admitSetValue(of: key, named: wanted.name, by: caller) } catch { throw Errno(error) }
    }
    let type = wanted.suffix.type
    let view = wanted.suffix == .raw ? ValueView.bytes : presentation.view
    let likelyType = isScratch || type != nil ? nil : removed.type(of: wanted.name, in: key, by: caller, at: now())
    let value = UnsavedValue(
      maker: Maker(caller, isRemembered: isScratch || !hasHandle), type: type, likelyType: likelyType, isScratch: isScratch, idleSince: hasHandle ? nil : now(),
      view: view, memory: scratchMemory)
    var content = Node.ValueState(parent: key, name: wanted.name, identity: 0, type: .sz)
    content.unsaved = value
    content.writers = hasHandle ? 1 : 0
    suffixed.note(wanted.name, of: key, hasSuffix: wanted.suffix == .value)
    let node = inodes.rememberUnsaved(content)
    // The kernel forgets the directory's times with the answer; what is set later tells again what was told since.
    dropTimes(of: key, isKnown: true)
    do throws(Errno) {
      let entry = try entry(for: Found(node: node, name: wanted.name), spelled: spelled)
      return Made(entry: entry, node: node, value: value, state: state)
    } catch {
      abandon(node, value)
      inodes.forget(node.id, count: 1)
      throw error
    }
  }

  /// Whether what is made under that name is a program's temporary file. A type suffix says that it is not.
  func isScratch(_ wanted: EntryName, in key: KeyControlBlock) -> Bool {
    guard usesScratchNames, wanted.suffix == .none || wanted.suffix == .value else { return false }
    return ScratchName.matches(wanted.name) { name in
      if removed.contains(name, of: key, at: now()) { return true }
      if (try? registry.exists(name, in: key, among: .values)) == true { return true }
      return inodes.unsavedValues(of: key).contains { $0.name.equalsIgnoringCase(name) }
    }
  }

  /// What the bytes name; a bare `%` stands for itself in a scratch name that a program has made of a name with a suffix.
  func decode(_ spelled: [UInt8], in key: KeyControlBlock) throws(Errno) -> EntryName {
    do throws(Errno) { return try NameCodec.decode(spelled) } catch {
      guard error == .invalid, let name = try? NameCodec.decodeLiterally(spelled), isScratch(name, in: key) else { throw error }
      return name
    }
  }

  // MARK: Handles

  /// open(2) of a value that is not in the hive yet.
  func open(
    _ node: Node, _ unsaved: UnsavedValue, flags: Int32, as type: ValueType?, view: ValueView?, by caller: Caller
  ) throws(Errno) -> OpenFile {
    // All its handles share one text.
    guard view == nil || view == unsaved.view else { throw .busy }
    let isWritable = flags & O_ACCMODE != O_RDONLY || flags & O_TRUNC != 0
    var state = OpenFile.State()
    state.type = type
    if isWritable {
      state.isBare = true
      state.admission = try admit(node, unsaved, by: caller)
    }
    let isOpen: Void? = try unsaved.inTurn { () throws(Errno) in
      if flags & O_TRUNC != 0 { try unsaved.resize(to: 0) }
      unsaved.setIdle(since: nil)
      node.value?.withLock { content in
        if isWritable { content.writers += 1 } else { content.readers += 1 }
      }
    }
    // Saved or removed since it was looked up.
    guard isOpen != nil else { return try open(node.id, flags: flags, as: type, view: view, by: caller).file }
    let file = OpenFile(
      node: node, view: unsaved.view, unsaved: unsaved, isWritable: isWritable, appends: flags & O_APPEND != 0, opener: caller, state: state)
    if let (parent, name) = node.value?.withLock({ ($0.parent, $0.name) }) { tellOpened(name, of: parent, by: caller) }
    return file
  }

  /// Nil for a scratch name: nobody is asked before it becomes real.
  func admit(_ node: Node, _ unsaved: UnsavedValue, by caller: Caller) throws(Errno) -> Admission? {
    guard !unsaved.isScratch, let (parent, name) = node.value?.withLock({ ($0.parent, $0.name) }) else { return nil }
    do { return try registry.admitSetValue(of: parent, named: name, by: caller) } catch { throw Errno(error) }
  }

  /// False, here and below, when the value is not unsaved any more: it is what it has become that is meant then.
  func write(
    _ file: OpenFile, _ unsaved: UnsavedValue, _ bytes: UnsafeRawBufferPointer, offset: Int, by caller: Caller
  ) throws(Errno) -> Bool {
    _ = try admit(file.node, unsaved, by: caller)
    let type = file.state.withLock { $0.type } ?? unsaved.checkedType
    let limit = try longestText(of: file.node, type, unsaved.view)
    let isDone: Void? = try unsaved.inTurn { () throws(Errno) in
      if let failure = file.state.withLock({ $0.failure }) { throw failure }
      try unsaved.write(bytes, at: file.appends ? nil : offset, limit: limit, type: type)
      file.state.withLock { $0.hasWritten = true }
    }
    return isDone != nil
  }

  func resize(_ file: OpenFile, _ unsaved: UnsavedValue, to size: Int, by caller: Caller) throws(Errno) -> Bool {
    _ = try admit(file.node, unsaved, by: caller)
    guard size <= (try longestText(of: file.node, file.state.withLock { $0.type } ?? unsaved.checkedType, unsaved.view)) else {
      throw .fileTooLarge
    }
    let isDone: Void? = try unsaved.inTurn { () throws(Errno) in
      if let failure = file.state.withLock({ $0.failure }) { throw failure }
      try unsaved.resize(to: size)
      file.state.withLock { $0.hasWritten = true }
    }
    return isDone != nil
  }

  /// Saves what was written, if the value has an ordinary name. Nothing is left to do then but for the value's readers, who have no
  /// pages of it.
  func flushUnsaved(_ file: OpenFile, by caller: Caller) throws(Errno) -> Bool {
    guard let unsaved = file.node.value?.withLock({ $0.unsaved }) else { return false }
    let isDone = try unsaved.inTurn { () throws(Errno) in
      if unsaved.isScratch { return true }
      guard file.state.withLock({ $0.hasWritten }) else { return false }
      try save(file.node, unsaved, from: file, by: caller)
      return true
    }
    return isDone ?? false
  }

  /// The last writer's handle saves the value if nobody has. A handle on which a write failed saves nothing, and leaves nothing.
  func releaseUnsaved(_ file: OpenFile) -> Bool {
    guard let value = file.node.value, let unsaved = value.withLock({ $0.unsaved }) else { return false }
    let isDone: Void? = unsaved.inTurn {
      let (readers, writers) = value.withLock { content in
        if file.isWritable { content.writers -= 1 } else { content.readers -= 1 }
        return (content.readers, content.writers)
      }
      if file.isWritable, writers == 0 {
        let hasFailed = file.state.withLock { $0.failure != nil }
        if hasFailed || !unsaved.isScratch && (try? save(file.node, unsaved, from: file, by: nil)) == nil {
          abandon(file.node, unsaved)
          dropNames()
        }
      }
      if readers + writers == 0, !unsaved.isSettled {
        unsaved.setIdle(since: now())
        promotionWanted.signal()
      }
    }
    return isDone != nil
  }

  // MARK: Saving

  /// Sets the value that was only in memory: one SetValueKey. In its turn. `caller` nil: by the leave given to the handle.
  private func save(_ node: Node, _ unsaved: UnsavedValue, from file: OpenFile, by caller: Caller?) throws(Errno) {
    guard let (parent, name) = node.value?.withLock({ ($0.parent, $0.name) }) else { throw .badDescriptor }
    let asked = file.state.withLock { $0.type }
    let new = try unsaved.value(as: asked)
    guard new.data.count <= (try longestData(of: parent)) else { throw .fileTooLarge }
    var admission = file.state.withLock { $0.admission.take() }
    do throws(NTStatus) {
      try setValue(of: parent, named: name, to: new, by: caller, admitted: &admission) { identity in
        settle(node, unsaved, as: identity, isUntyped: asked == nil && unsaved.type == nil, type: new.type)
      }
    } catch {
      let errno = Errno(error)
      spoil(file, errno)
      throw errno
    }
    abandon(node, unsaved)
    file.state.withLock { state in
      state.hasWritten = false
      state.isBare = false
    }
    dropTimes(of: parent)
  }

  /// The value is in the hive under that number; under the registry's lock.
  func settle(
    _ node: Node, _ unsaved: UnsavedValue, as identity: UInt64, isUntyped: Bool, type: ValueType,
    _ change: (inout Node.ValueState) -> Void = { _ in }
  ) {
    unsaved.settle()
    inodes.settle(node, identity: identity) { content in
      content.identity = identity
      content.type = type
      content.isUntyped = isUntyped
      content.isExact = unsaved.isExact
      content.lacksLineEnd = isUntyped && type == .sz && unsaved.lacksLineEnd
      content.generation += 1
      change(&content)
    }
  }

  /// The value will never be in the hive, unless it has just come there: a callback may call that a failure afterwards, or have done the
  /// work itself and made no such value. In its turn.
  func abandon(_ node: Node, _ unsaved: UnsavedValue) {
    guard !unsaved.isSettled else { return }
    unsaved.settle()
    inodes.settle(node, identity: nil) { content in
      content.isDeleted = true
      content.generation += 1
    }
  }

  /// Nothing of it is in the registry: it only goes. False as above.
  func removeUnsaved(_ node: Node) -> Bool {
    guard let unsaved = node.value?.withLock({ $0.unsaved }) else { return false }
    return unsaved.inTurn { abandon(node, unsaved) } != nil
  }

  /// rename(2) of a value that is not in the hive yet: in memory, to another scratch name; else one SetValueKey of the target, of which
  /// it takes the type if it has none.
  func renameUnsaved(
    _ source: Found, _ unsaved: UnsavedValue, to wanted: EntryName, over target: Found?, of newKey: KeyControlBlock,
    by caller: Caller
  ) throws(Errno) -> Bool {
    guard let oldKey = source.node.value?.withLock({ $0.parent }) else { return false }
    guard oldKey.isOfHive(newKey) else { throw .crossDevice }
    let target = target.flatMap { $0.node === source.node ? nil : $0 }
    // It is on its way into its key: who may not set it there may not carry it off either.
    _ = try admit(source.node, unsaved, by: caller)
    let isDone: Void? = try unsaved.inTurn { () throws(Errno) in
      if target.map({ $0.node.value?.withLock { $0.unsaved } != nil }) ?? true, isScratch(wanted, in: newKey) {
        try unsaved.becomeScratch()
        suffixed.note(wanted.name, of: newKey, hasSuffix: wanted.suffix == .value)
        if let target { _ = removeUnsaved(target.node) }
        return inodes.moveUnsaved(source.node, to: newKey, named: wanted.name)
      }
      let asked = wanted.suffix.type
      let replaced =
        target?.node.value?.withLock { $0.knownType } ?? removed.type(of: wanted.name, in: newKey, by: caller, at: now())
      // A name that is there already keeps the spelling that the hive has.
      let newName = target?.name ?? wanted.name
      let new = try readable(newName, of: newKey, by: caller) { () throws(Errno) in
        try unsaved.value(as: asked, replacing: replaced)
      }
      let isUntyped = asked == nil && unsaved.type == nil && replaced == nil
      if target == nil { suffixed.note(wanted.name, of: newKey, hasSuffix: wanted.suffix == .value) }
      do throws(NTStatus) {
        try registry.setValue(of: newKey, named: newName, to: new, by: caller) { identity in
          markDeleted(identity)
          registry.retain(newKey)
          settle(source.node, unsaved, as: identity, isUntyped: isUntyped, type: new.type) { content in
            content.parent = newKey
            content.name = newName
          }
          registry.close(oldKey)
        }
      } catch { throw Errno(error) }
      abandon(source.node, unsaved)
      // It was in nobody's hive either.
      if let target { _ = removeUnsaved(target.node) }
    }
    return isDone != nil
  }

  /// What `body` makes of the text; where that fails, who may not set the value is told that, whatever the text.
  func readable<Result>(
    _ name: UnicodeName, of key: KeyControlBlock, by caller: Caller, _ body: () throws(Errno) -> Result
  ) throws(Errno) -> Result {
    do throws(Errno) { return try body() } catch {
      do { _ = try registry.admitSetValue(of: key, named: name, by: caller) } catch { throw Errno(error) }
      throw error
    }
  }

  // MARK: Extended attributes

  /// Nil for one that is not there.
  func content(of attribute: ExtendedAttribute, of node: Node, _ unsaved: UnsavedValue) throws(Errno) -> [UInt8]? {
    guard let (parent, name) = node.value?.withLock({ ($0.parent, $0.name) }) else { throw .noEntry }
    switch attribute {
    case .type: return (unsaved.type ?? unsaved.likelyType).map { Array($0.name.utf8) }
    case .data: return unsaved.data
    case .name: return Self.utf8(name)
    case .lastWrite:
      do { return Array("\(try registry.query(parent).lastWriteTime.rawValue)".utf8) } catch { throw Errno(error) }
    case .className, .flags, .sddl, .acl: return nil
    }
  }

  /// `bytes` nil: takes it away. False as above.
  func set(
    _ attribute: ExtendedAttribute, to bytes: [UInt8]?, of node: Node, _ unsaved: UnsavedValue, by caller: Caller
  ) throws(Errno) -> Bool {
    _ = try admit(node, unsaved, by: caller)
    if let bytes, let parent = node.value?.withLock({ $0.parent }), attribute == .data, bytes.count > (try longestData(of: parent)) {
      throw .fileTooLarge
    }
    let isDone: Void? = try unsaved.inTurn { () throws(Errno) in
      switch (attribute, bytes) {
      case (.type, let bytes?):
        guard let type = ValueType(name: String(decoding: bytes, as: UTF8.self)) else { throw .invalid }
        unsaved.setType(type)
      case (.data, let bytes): try unsaved.setData(bytes)
      default: throw .notSupported
      }
    }
    return isDone != nil
  }
}
