package import ConfigurationManager
internal import Executive
internal import Glibc
internal import Synchronization

extension RegistryFileSystem {
  static let writeOnly = O_WRONLY

  /// open(2). Opening for writing is judged here, with the data still unknown; O_TRUNC is only remembered.
  package func open(
    _ nodeID: UInt64, flags: Int32, by caller: Caller
  ) throws(Errno) -> (file: OpenFile, keepsCache: Bool) {
    try open(nodeID, flags: flags, as: nil, by: caller)
  }

  /// `type` is what the value will have when this handle sets it; nil: the one it has. `view` is the handle's; nil: the node's.
  private func open(
    _ nodeID: UInt64, flags: Int32, as type: ValueType?, view: ValueView? = nil, by caller: Caller
  ) throws(Errno) -> (file: OpenFile, keepsCache: Bool) {
    guard let node = inodes.node(nodeID) else { throw .noEntry }
    if case .control(let file) = node.kind { return (try open(file, node, by: caller), false) }
    guard let value = node.value else { throw .isDirectory }
    // O_TRUNC alone is a change too.
    let isWritable = flags & O_ACCMODE != O_RDONLY || flags & O_TRUNC != 0
    var state = OpenFile.State()
    state.type = type
    var keepsCache = false
    var isJudged = false
    let (parent, name, ordinal, isNameless) = value.withLock { ($0.parent, $0.name, $0.ordinal, $0.isNameless) }
    guard !isNameless else { throw .noEntry }
    if isWritable {
      guard !registry.isReadOnly else { throw .readOnly }
      // Of twins only the first can be set by its name.
      guard ordinal == 1 else { throw .unclean }
      let admission: Admission
      do { admission = try registry.admitSetValue(of: parent, named: name, by: caller) } catch { throw Errno(error) }
      if flags & O_TRUNC != 0 {
        state.text = []
        state.isBare = true
        state.admission = consume admission
      }
      value.withLock { content in
        content.writers += 1
        // What attributes say from now on is about what this handle will set.
        if flags & O_TRUNC != 0 { (content.unsavedSize, content.unsavedData) = (0, nil) }
      }
    } else {
      if registry.callbacks.isQueryWatched(of: name) {
        isJudged = true
        do { try registry.queryValue(of: parent, named: name, by: caller) { () throws(NTStatus) in } } catch {
          throw Errno(error)
        }
      }
      keepsCache = value.withLock { content in
        content.readers += 1
        defer { content.cachedGeneration = content.generation }
        return content.cachedGeneration == content.generation && !isJudged
      }
    }
    let file = OpenFile(
      node: node, view: view ?? self.view(of: node), isWritable: isWritable, appends: flags & O_APPEND != 0,
      isJudged: isJudged, opener: caller, state: state)
    tellOpened(name, of: parent, by: caller)
    return (file, keepsCache)
  }

  private func open(_ file: ControlFile, _ node: Node, by caller: Caller) throws(Errno) -> OpenFile {
    guard file != .directory else { throw .isDirectory }
    let session = ControlSession()
    switch file {
    case .status: session.preset(handler.status())
    case .stats: session.preset(handler.stats())
    case .directory, .command: break
    }
    return OpenFile(
      node: node, view: .bytes, isWritable: file == .command, appends: false, opener: caller, state: OpenFile.State(),
      control: session)
  }

  /// open(2) with O_CREAT of a name that is not there: the value is seen at once and set when its first handle is closed.
  package func create(
    _ name: UnsafePointer<CChar>, in parent: UInt64, flags: Int32, by caller: Caller
  ) throws(Errno) -> (entry: Entry, file: OpenFile) {
    let spelled = Self.bytes(name)
    guard !registry.isReadOnly else { throw .readOnly }
    if parent == InodeTable.root, ControlFile(inRoot: spelled) != nil { throw .notPermitted }
    if let node = inodes.node(parent), case .control = node.kind { throw .notPermitted }
    let key = try key(of: parent)
    let wanted = try newName(spelled, isKey: false)
    let type = wanted.suffix.type
    let view = wanted.suffix == .raw ? ValueView.bytes : presentation.view
    // The value may be there under another type: then it gets this one.
    let existing: Found?
    do throws(Errno) {
      existing = try resolve(EntryName(name: wanted.name, suffix: .value), spelled: spelled, in: key)
    } catch {
      guard error == .noEntry else { throw error }
      existing = nil
    }
    if let found = existing {
      guard flags & O_EXCL == 0 else {
        inodes.forget(found.node.id, count: 1)
        throw .exists
      }
      do throws(Errno) {
        let entry = try entry(for: found, spelled: spelled)
        return (entry, try open(found.node.id, flags: flags, as: type, view: view, by: caller).file)
      } catch {
        inodes.forget(found.node.id, count: 1)
        throw error
      }
    }
    let admission: Admission
    do { admission = try registry.admitSetValue(of: key, named: wanted.name, by: caller) } catch { throw Errno(error) }
    // Of bytes nobody can say that they are a text.
    let made = type ?? (view == .bytes ? .binary : .sz)
    var content = Node.ValueState(parent: key, name: wanted.name, identity: 0, type: made)
    content.isUntyped = type == nil
    content.writers = 1
    content.unsavedSize = 0
    let node = inodes.rememberPending(content, isRaw: false)
    var state = OpenFile.State()
    state.text = []
    state.isBare = true
    state.admission = consume admission
    let file = OpenFile(
      node: node, view: view, isWritable: true, appends: flags & O_APPEND != 0, opener: caller, state: state)
    node.value?.withLock { $0.pendingFile = file }
    // The kernel forgets the directory's times with the answer; what is set later tells again what was told since.
    dropTimes(of: key, isKnown: true)
    tellOpened(wanted.name, of: key, by: caller)
    let found = Found(node: node, name: wanted.name)
    return (try entry(for: found, spelled: spelled), file)
  }

  /// mknod(2) of a plain file: made and closed at once.
  package func makeFile(
    _ name: UnsafePointer<CChar>, in parent: UInt64, by caller: Caller
  ) throws(Errno) -> Entry {
    var (entry, file) = try create(name, in: parent, flags: O_EXCL, by: caller)
    defer { release(file) }
    do throws(Errno) {
      _ = try set(file, by: caller)
      entry.attributes = try attributes(of: file.node)
    } catch {
      inodes.forget(entry.nodeID, count: 1)
      throw error
    }
    return entry
  }

  /// Bytes of the text from `offset` on, at most `size`.
  package func read(_ file: OpenFile, offset: Int, size: Int, by caller: Caller) throws(Errno) -> [UInt8] {
    if let control = file.control { return control.read(size) }
    if let (parent, name) = file.node.value?.withLock({ ($0.parent, $0.name) }), registry.callbacks.isQueryWatched(of: name) {
      // By the process that reads, whoever has opened it.
      do { try registry.queryValue(of: parent, named: name, by: caller) { () throws(NTStatus) in } } catch {
        throw Errno(error)
      }
    }
    try load(file)
    return file.state.withLock { state in
      guard let text = state.text, offset >= 0, offset < text.count else { return [] }
      return Array(text[offset..<min(text.count, offset + max(0, size))])
    }
  }

  /// Judged by the process that writes; refused as soon as the text can be no text of the value's type. A write that fails spoils the
  /// handle: nothing of it is set.
  package func write(
    _ file: OpenFile, _ bytes: UnsafeRawBufferPointer, offset: Int, by caller: Caller
  ) throws(Errno) {
    if let control = file.control {
      // A program that runs as somebody else (setuid) may be made to write to a handle that it inherited: its words are not his.
      guard caller.userID == file.opener.userID, caller.groupID == file.opener.groupID else { throw .accessDenied }
      try control.write(bytes) { execute($0, by: caller) }
      return
    }
    guard file.isWritable, let value = file.node.value else { throw .badDescriptor }
    let (parent, name, ownType, unsavedType, isOpenType) = value.withLock {
      ($0.parent, $0.name, $0.type, $0.unsavedType, $0.isUntyped && $0.pendingFile != nil)
    }
    // What will say the type comes later: `cp -a` writes first.
    let type = isOpenType ? .binary : unsavedType ?? file.state.withLock { $0.type } ?? ownType
    do throws(Errno) {
      do throws(NTStatus) { _ = try registry.admitSetValue(of: parent, named: name, by: caller) } catch {
        throw Errno(error)
      }
      try load(file)
      let longest = try longestText(of: parent, type, file.view)
      let shown = try exactValue(of: file, type: type)?.text
      try change(file) { text throws(Errno) in
        let start = file.appends ? text.count : offset
        guard start >= 0, start <= longest, bytes.count <= longest - start, start - text.count <= Self.largestGap else {
          throw .fileTooLarge
        }
        if start > text.count { text.append(contentsOf: repeatElement(0, count: start - text.count)) }
        let overlap = min(bytes.count, text.count - start)
        text.replaceSubrange(start..<start + overlap, with: bytes)
        do throws(Errno) { try ValueCodec.check(beginning: text, type: type, as: file.view) } catch {
          guard let shown, shown.starts(with: text) else { throw error }
        }
      }
    } catch {
      spoil(file, error)
      throw error
    }
  }

  /// ftruncate(2).
  func resize(_ file: OpenFile, to size: Int, by caller: Caller) throws(Errno) {
    guard file.isWritable, let value = file.node.value else { throw .badDescriptor }
    let (parent, name, type) = value.withLock { ($0.parent, $0.name, $0.unsavedType ?? $0.type) }
    do { _ = try registry.admitSetValue(of: parent, named: name, by: caller) } catch { throw Errno(error) }
    let longest = try longestText(of: parent, type, file.view)
    guard size >= 0, size <= longest else { throw .fileTooLarge }
    try load(file)
    try change(file) { text throws(Errno) in
      guard size - text.count <= Self.largestGap else { throw .fileTooLarge }
      if size < text.count {
        text.removeSubrange(size...)
      } else {
        text.append(contentsOf: repeatElement(0, count: size - text.count))
      }
    }
  }

  /// close(2) and dup2(2): sets the value once if this handle has written. The node returned has pages to be dropped.
  package func flush(_ file: OpenFile, by caller: Caller) throws(Errno) -> UInt64? {
    guard file.isWritable, file.control == nil else { return nil }
    let (failure, hasWritten) = file.state.withLock { ($0.failure, $0.hasWritten) }
    if let failure { throw failure }
    if hasWritten { return try set(file, by: caller) }
    try admitAgain(file, by: caller)
    return nil
  }

  /// Only the release is left to set what was emptied or made, and it names no caller: where the rules have changed since the open,
  /// who closes the handle is judged by the new ones.
  private func admitAgain(_ file: OpenFile, by caller: Caller) throws(Errno) {
    let isOutdated = file.state.withLock { state in
      switch state.admission {
      case .some(let admission): registry.callbacks.isOutdated(admission)
      case nil: false
      }
    }
    guard isOutdated, let (parent, name) = file.node.value?.withLock({ ($0.parent, $0.name) }) else { return }
    var admission: Admission?
    do throws(NTStatus) { admission = try registry.admitSetValue(of: parent, named: name, by: caller) } catch {
      let errno = Errno(error)
      spoil(file, errno)
      throw errno
    }
    // Thrown away outside the lock: its callbacks are told.
    _ = file.state.withLock { state in
      let old = state.admission.take()
      state.admission = admission.take()
      return old
    }
  }

  /// The last reference is gone. A handle that created or emptied the value and wrote nothing sets it now, by the leave it got at
  /// open: this request names no caller.
  package func release(_ file: OpenFile) {
    guard let value = file.node.value else { return }
    guard file.isWritable else {
      value.withLock { $0.readers -= 1 }
      return
    }
    let isDue = file.state.withLock { $0.failure == nil && ($0.isBare || $0.hasWritten) }
    if isDue { _ = try? set(file, by: nil) }
    let isLost = value.withLock { state in
      state.writers -= 1
      if state.writers == 0 { state.unsavedSize = nil }
      return state.pendingFile === file
    }
    if isLost {
      abandon(file.node)
      cache?.dropNames()
    }
    let parent = value.withLock { $0.parent }
    dropTimes(of: parent)
  }

  // MARK: One handle's text

  /// Bytes between a text's end and what is written behind it, which nobody has written: they would cost memory for nothing.
  private static let largestGap = 16 << 20

  private func longestText(of key: KeyControlBlock, _ type: ValueType, _ view: ValueView) throws(Errno) -> Int {
    min(largestText, ValueCodec.longestText(forData: try longestData(of: key), type: type, as: view))
  }

  /// Bytes of data that a value of the key can have.
  func longestData(of key: KeyControlBlock) throws(Errno) -> Int {
    do { return try registry.longestData(of: key) } catch { throw Errno(error) }
  }

  /// How the node's file shows its value.
  func view(of node: Node) -> ValueView { node.isRawView ? .bytes : presentation.view }

  /// Fills the handle's text, or fills it anew when the value has changed since and nothing was written here.
  private func load(_ file: OpenFile) throws(Errno) {
    guard let value = file.node.value else { throw .badDescriptor }
    let (parent, name, ordinal, generation, isGone, pendingFile, type) = value.withLock {
      ($0.parent, $0.name, $0.ordinal, $0.generation, $0.isDeleted, $0.pendingFile, $0.type)
    }
    let isNeeded = file.state.withLock { state in
      state.text == nil
        || !state.hasWritten && !state.isBare && !isGone && pendingFile == nil && state.generation != generation
    }
    guard isNeeded else { return }
    guard !isGone else { throw .noEntry }
    if let pendingFile, pendingFile !== file {
      // In the hands of the handle that created it, and nowhere else yet.
      var text = pendingFile.state.withLock { $0.text ?? [] }
      if pendingFile.view != file.view, !text.isEmpty {
        let data = try ValueCodec.data(from: text, type: type, as: pendingFile.view)
        text = ValueCodec.text(of: RegistryValue(type: type, data: data), as: file.view)
      }
      file.state.withLock { $0.text = text }
      return
    }
    let text: [UInt8]
    do {
      let (information, data, _) = try registry.queryValue(of: parent, named: name, ordinal: ordinal)
      text = ValueCodec.text(of: RegistryValue(type: information.type, data: data), as: file.view)
    } catch { throw Errno(error) }
    file.state.withLock { state in
      state.text = text
      state.generation = generation
    }
  }

  private func change(_ file: OpenFile, _ body: (inout [UInt8]) throws(Errno) -> Void) throws(Errno) {
    let size = try file.state.withLock { state throws(Errno) in
      if let failure = state.failure { throw failure }
      // Taken out, so that it is changed in place.
      var text = state.text ?? []
      state.text = nil
      defer { state.text = text }
      try body(&text)
      state.hasWritten = true
      return text.count
    }
    // Text that is written after bytes were given for it takes their place.
    file.node.value?.withLock { ($0.unsavedSize, $0.unsavedData) = (size, nil) }
  }

  private func spoil(_ file: OpenFile, _ failure: Errno) {
    // Thrown away outside the lock: its callbacks are told.
    _ = file.state.withLock { state in
      state.failure = failure
      state.hasWritten = false
      state.isBare = false
      return state.admission.take()
    }
    file.node.value?.withLock { $0.unsavedSize = nil }
  }

  /// The one place where a file's text becomes a value. `caller` nil: at release, by the leave given at open.
  func set(_ file: OpenFile, by caller: Caller?) throws(Errno) -> UInt64? {
    guard let value = file.node.value else { throw .badDescriptor }
    let (parent, name, ownType, isDeleted, isPending, unsavedType, isOpenType) = value.withLock {
      (
        $0.parent, $0.name, $0.type, $0.isDeleted, $0.pendingFile === file, $0.unsavedType,
        $0.isUntyped && $0.pendingFile != nil
      )
    }
    // Unlinked while it was open: as on any file system, what is written goes nowhere.
    guard !isDeleted else { return nil }
    let (text, typeAsked) = file.state.withLock { ($0.text ?? [], $0.type) }
    var type = unsavedType ?? typeAsked ?? ownType
    // Nobody has said what it is, and it is no text.
    if isOpenType, type == .sz, !UTF8Text.isValid(text) { type = .binary }
    let exactData = try exactData(of: file, text, type: type)
    // `touch NEW%dword` makes a number without data; emptied, a number that is there stands.
    let data =
      if let exactData { exactData } else if isPending && text.isEmpty { [] as [UInt8] } else {
        try ValueCodec.data(from: text, type: type, as: file.view)
      }
    guard data.count <= (try longestData(of: parent)) else { throw .fileTooLarge }
    let new = RegistryValue(type: type, data: data)
    let isExact = exactData != nil || file.view == .bytes
    let lacksLineEnd = isOpenType && type == .sz && !text.isEmpty && text.last != 0x0A
    var generation: UInt64?
    let note: (UInt64) -> Void = { [self] identity in
      generation = noteSet(
        file.node, identity: identity, type: new.type, isExact: isExact, lacksLineEnd: lacksLineEnd)
    }
    var admission = file.state.withLock { $0.admission.take() }
    do throws(NTStatus) {
      if let caller {
        admission = nil
        try registry.setValue(of: parent, named: name, to: new, by: caller, onChange: note)
      } else if let admitted = admission.take() {
        try registry.setValue(of: parent, named: name, to: new, admitted: admitted, onChange: note)
      } else {
        try registry.setValue(of: parent, named: name, to: new, by: .unknown, onChange: note)
      }
    } catch {
      let errno = Errno(error)
      spoil(file, errno)
      throw errno
    }
    file.state.withLock { state in
      state.hasWritten = false
      state.isBare = false
      // The handle goes on with the text as it was written.
      state.generation = generation ?? state.generation
    }
    dropTimes(of: parent)
    return staleNode(file.node)
  }

  /// The bytes that `user.reg.data` gave after the handle's text was written; also those that it gave before, where the text is
  /// what they show. Nil where the text counts.
  private func exactData(of file: OpenFile, _ text: [UInt8], type: ValueType) throws(Errno) -> [UInt8]? {
    if let unsaved = file.node.value?.withLock({ $0.unsavedData }) { return unsaved }
    guard let value = try exactValue(of: file, type: type), value.text == text else { return nil }
    return value.data
  }

  /// A value in the hive whose bytes were given as such, and what they show: tar gives attributes first, and then writes that. Nil for
  /// any other value.
  private func exactValue(of file: OpenFile, type: ValueType) throws(Errno) -> (data: [UInt8], text: [UInt8])? {
    guard file.view != .bytes, let (parent, name, isExact) = file.node.value?.withLock({ ($0.parent, $0.name, $0.isExact) }),
      isExact
    else { return nil }
    do throws(NTStatus) {
      let data = try registry.queryValue(of: parent, named: name).data
      return (data, ValueCodec.text(of: RegistryValue(type: type, data: data), as: file.view))
    } catch { throw Errno(error) }
  }

  /// The node's value is in the hive as this; under the registry's lock. Gives its generation.
  @discardableResult
  func noteSet(
    _ node: Node, identity: UInt64, type: ValueType, isExact: Bool, lacksLineEnd: Bool = false
  ) -> UInt64? {
    let noted = node.value?.withLock { state in
      let wasPending = state.pendingFile != nil
      state.pendingFile = nil
      state.identity = identity
      state.type = type
      state.isExact = isExact
      state.lacksLineEnd = lacksLineEnd
      state.unsavedSize = nil
      state.generation += 1
      return (generation: state.generation, wasPending: wasPending)
    }
    if noted?.wasPending == true { inodes.settle(node, identity: identity) }
    inodes.noteChange(ofValue: identity, to: type, isExact: isExact, exceptRaw: node.isRawView)
    return noted?.generation
  }

  /// The node whose pages in the kernel a change through `node` has made stale: its own, or that of the value's text.
  func staleNode(_ node: Node) -> UInt64? {
    guard let (readers, identity) = node.value?.withLock({ ($0.readers, $0.identity) }) else { return nil }
    if node.isRawView { return inodes.readNode(ofValue: identity) }
    return readers > 0 ? node.id : nil
  }
}
