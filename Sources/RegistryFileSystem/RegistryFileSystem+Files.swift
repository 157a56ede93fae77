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

  /// `type` is what the value will have when this handle sets it; nil: the one it has.
  private func open(
    _ nodeID: UInt64, flags: Int32, as type: ValueType?, by caller: Caller
  ) throws(Errno) -> (file: OpenFile, keepsCache: Bool) {
    guard let node = inodes.node(nodeID) else { throw .noEntry }
    switch node.kind {
    case .control(let file): return (try open(file, node, by: caller), false)
    case .alias(.file(let view, let size), let key):
      return (try openView(ControlView.all[view], size, of: key, node, flags: flags, by: caller), false)
    case .key, .value, .alias: break
    }
    guard let value = node.value else { throw .isDirectory }
    // O_TRUNC alone is a change too.
    let isWritable = flags & O_ACCMODE != O_RDONLY || flags & O_TRUNC != 0
    var state = OpenFile.State()
    state.type = type
    var keepsCache = false
    var isJudged = false
    let (parent, name, isNameless) = value.withLock { ($0.parent, $0.name, $0.isNameless) }
    guard !isNameless else { throw .noEntry }
    if isWritable {
      guard !registry.isReadOnly else { throw .readOnly }
      guard case .value(let isRaw) = node.kind, !isRaw else { throw .notPermitted }
      let admission: Admission
      do { admission = try registry.admitSetValue(of: parent, named: name, by: caller) } catch { throw Errno(error) }
      if flags & O_TRUNC != 0 {
        state.text = []
        state.isBare = true
        state.admission = consume admission
      }
      value.withLock { $0.writers += 1 }
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
      node: node, isWritable: isWritable, appends: flags & O_APPEND != 0, isJudged: isJudged, opener: caller,
      state: state)
    tellOpened(name, of: parent, by: caller)
    return (file, keepsCache)
  }

  private func open(_ file: ControlFile, _ node: Node, by caller: Caller) throws(Errno) -> OpenFile {
    guard file != .directory else { throw .isDirectory }
    let session = ControlSession(longestLine: longestCommand)
    switch file {
    case .status: session.preset(handler.status())
    case .stats: session.preset(handler.stats())
    case .rules: session.preset(handler.ruleListing())
    case .directory, .command: break
    }
    return OpenFile(
      node: node, isWritable: file == .command, appends: false, opener: caller, state: OpenFile.State(),
      control: session)
  }

  /// open(2) with O_CREAT of a name that is not there: the value is seen at once and set when its first handle is closed.
  package func create(
    _ name: UnsafePointer<CChar>, in parent: UInt64, flags: Int32, by caller: Caller
  ) throws(Errno) -> (entry: Entry, file: OpenFile) {
    let spelled = Self.bytes(name)
    guard !registry.isReadOnly else { throw .readOnly }
    if parent == InodeTable.root, ControlFile(inRoot: spelled) != nil { throw .notPermitted }
    try refuseControl(inodes.node(parent))
    let key = try key(of: parent)
    let wanted = try newName(spelled, isKey: false)
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
        let type: ValueType? = if case .type(let type) = wanted.suffix { type } else { nil }
        let entry = try entry(for: found, spelled: spelled)
        return (entry, try open(found.node.id, flags: flags, as: type, by: caller).file)
      } catch {
        inodes.forget(found.node.id, count: 1)
        throw error
      }
    }
    let admission: Admission
    do { admission = try registry.admitSetValue(of: key, named: wanted.name, by: caller) } catch { throw Errno(error) }
    let type: ValueType? = if case .type(let type) = wanted.suffix { type } else { nil }
    var content = Node.ValueState(parent: key, name: wanted.name, identity: 0, type: type ?? .sz)
    content.isUntyped = type == nil
    content.writers = 1
    content.unsavedSize = 0
    let node = inodes.rememberPending(content, isRaw: false)
    var state = OpenFile.State()
    state.text = []
    state.isBare = true
    state.admission = consume admission
    let file = OpenFile(
      node: node, isWritable: true, appends: flags & O_APPEND != 0, opener: caller, state: state)
    node.value?.withLock { $0.pendingFile = file }
    // The kernel forgets the directory's times with the answer; what is set later tells again what was told since.
    dropTimes(of: key, isKnown: true)
    tellOpened(wanted.name, of: key, by: caller)
    let found = Found(node: node, name: wanted.name)
    return (try entry(for: found, spelled: spelled), file)
  }

  /// Bytes of the text from `offset` on, at most `size`.
  package func read(_ file: OpenFile, offset: Int, size: Int, by caller: Caller) throws(Errno) -> [UInt8] {
    if let control = file.control { return control.read(size) }
    if let view = file.view { return try read(view, offset: offset, size: size, by: caller) }
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
    if let view = file.view { return try write(view, of: file, bytes, offset: offset, by: caller) }
    guard file.isWritable, let value = file.node.value else { throw .badDescriptor }
    let (parent, name, ownType) = value.withLock { ($0.parent, $0.name, $0.type) }
    let type = file.state.withLock { $0.type } ?? ownType
    do throws(Errno) {
      do throws(NTStatus) { _ = try registry.admitSetValue(of: parent, named: name, by: caller) } catch {
        throw Errno(error)
      }
      try load(file)
      try change(file) { text throws(Errno) in
        let start = file.appends ? text.count : offset
        guard start >= 0, start <= largestText, bytes.count <= largestText - start else { throw .fileTooLarge }
        if start > text.count { text.append(contentsOf: repeatElement(0, count: start - text.count)) }
        let overlap = min(bytes.count, text.count - start)
        text.replaceSubrange(start..<start + overlap, with: bytes)
        try ValueCodec.check(beginning: text, type: type)
      }
    } catch {
      spoil(file, error)
      throw error
    }
  }

  /// ftruncate(2).
  func resize(_ file: OpenFile, to size: Int, by caller: Caller) throws(Errno) {
    guard file.isWritable, let value = file.node.value else { throw .badDescriptor }
    let (parent, name) = value.withLock { ($0.parent, $0.name) }
    do { _ = try registry.admitSetValue(of: parent, named: name, by: caller) } catch { throw Errno(error) }
    guard size >= 0, size <= largestText else { throw .fileTooLarge }
    try load(file)
    try change(file) { text throws(Errno) in
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
    if let view = file.view {
      try flush(view, of: file, by: caller)
      return nil
    }
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
    if file.view != nil { return releaseView() }
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

  /// Fills the handle's text, or fills it anew when the value has changed since and nothing was written here.
  private func load(_ file: OpenFile) throws(Errno) {
    guard let value = file.node.value else { throw .badDescriptor }
    let (parent, name, ordinal, generation, isGone, pendingFile) = value.withLock {
      ($0.parent, $0.name, $0.ordinal, $0.generation, $0.isDeleted, $0.pendingFile)
    }
    let isNeeded = file.state.withLock { state in
      state.text == nil || (!file.isWritable && !isGone && state.generation != generation)
    }
    guard isNeeded else { return }
    if isGone {
      guard let last = value.withLock({ $0.lastText }) else { throw .noEntry }
      return file.state.withLock { $0.text = last }
    }
    if let pendingFile, pendingFile !== file {
      // In the hands of the handle that created it, and nowhere else yet.
      let text = pendingFile.state.withLock { $0.text ?? [] }
      file.state.withLock { $0.text = text }
      return
    }
    let text: [UInt8]
    do {
      let (information, data, _) = try registry.queryValue(of: parent, named: name, ordinal: ordinal)
      if case .value(isRaw: true) = file.node.kind {
        text = data
      } else {
        text = ValueCodec.text(of: RegistryValue(type: information.type, data: data))
      }
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
    file.node.value?.withLock { $0.unsavedSize = size }
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
    let (parent, name, ownType, isDeleted, isPending) = value.withLock {
      ($0.parent, $0.name, $0.type, $0.isDeleted, $0.pendingFile === file)
    }
    // Unlinked while it was open: as on any file system, what is written goes nowhere.
    guard !isDeleted else { return nil }
    let (text, typeAsked) = file.state.withLock { ($0.text ?? [], $0.type) }
    let type = typeAsked ?? ownType
    // `touch NEW%dword` makes a number without data; emptied, a number that is there stands.
    let data = isPending && text.isEmpty ? [] : try ValueCodec.data(from: text, type: type)
    let new = RegistryValue(type: type, data: data)
    let note: (UInt64) -> Void = { [self] identity in
      let wasPending = value.withLock { state in
        defer {
          state.pendingFile = nil
          state.identity = identity
          state.type = type
          state.unsavedSize = nil
          state.generation += 1
        }
        return state.pendingFile != nil
      }
      if wasPending { inodes.settle(file.node, identity: identity) }
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
    }
    dropTimes(of: parent)
    return value.withLock { $0.readers > 0 } ? file.node.id : nil
  }
}
