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
  func open(
    _ nodeID: UInt64, flags: Int32, as type: ValueType?, view: ValueView? = nil, by caller: Caller
  ) throws(Errno) -> (file: OpenFile, keepsCache: Bool) {
    guard let node = inodes.node(nodeID) else { throw .noEntry }
    switch node.kind {
    case .control(let file):
      guard file == .command || flags & O_ACCMODE == O_RDONLY else { throw .accessDenied }
      return (try open(file, node, by: caller), false)
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
    let (parent, name, ordinal, isNameless, isDeleted, unsaved) = value.withLock {
      ($0.parent, $0.name, $0.ordinal, $0.isNameless, $0.isDeleted, $0.unsaved)
    }
    guard !isNameless else { throw .noEntry }
    // What is written to it would go nowhere. The kernel looks the name up again at this error, and makes what is not there.
    guard !isWritable || !isDeleted else { throw .stale }
    if let unsaved { return (try open(node, unsaved, flags: flags, as: type, view: view, by: caller), false) }
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
    if file == .events { return try openEvents(node, by: caller) }
    // Whoever may change nothing has no use for a long line, and no right to that much memory.
    let mayChange = (try? checkPermission(caller)) != nil
    let session = ControlSession(longestLine: mayChange ? longestCommand : Self.longestQuestion)
    switch file {
    case .status: session.preset(handler.status())
    case .stats: session.preset(handler.stats())
    case .rules: session.preset(handler.ruleListing())
    case .directory, .command, .events: break
    }
    return OpenFile(
      node: node, view: .bytes, isWritable: file == .command, appends: false, opener: caller, state: OpenFile.State(),
      control: session)
  }

  /// Events tell of values and processes: they are for root and the user who mounted, as the control socket is.
  private func openEvents(_ node: Node, by caller: Caller) throws(Errno) -> OpenFile {
    guard caller.userID == 0 || caller.userID == geteuid() else { throw .accessDenied }
    guard let stream = handler.openEvents(onArrival: { [eventArrival] in eventArrival.signal() }) else {
      throw Errno(rawValue: ENFILE)
    }
    return OpenFile(
      node: node, view: .bytes, isWritable: false, appends: false, opener: caller, state: OpenFile.State(),
      events: EventSession(stream))
  }

  /// open(2) with O_CREAT. A value that is not there is made in memory, seen at once and set when a handle is closed.
  package func create(
    _ name: UnsafePointer<CChar>, in parent: UInt64, flags: Int32, by caller: Caller
  ) throws(Errno) -> (entry: Entry, file: OpenFile) {
    let spelled = Self.bytes(name)
    let (key, wanted) = try placeForValue(spelled, in: parent)
    let view = wanted.suffix == .raw ? ValueView.bytes : presentation.view
    guard let found = try existingValue(wanted, spelled: spelled, in: key) else {
      let made = try makeUnsaved(wanted, spelled: spelled, in: key, hasHandle: true, by: caller)
      let file = OpenFile(
        node: made.node, view: view, unsaved: made.value, isWritable: true, appends: flags & O_APPEND != 0, opener: caller,
        state: made.state)
      tellOpened(wanted.name, of: key, by: caller)
      return (made.entry, file)
    }
    do throws(Errno) {
      guard flags & O_EXCL == 0 else { throw .exists }
      // The value may be there under another type: then it gets this one.
      let entry = try entry(for: found, spelled: spelled)
      return (entry, try open(found.node.id, flags: flags, as: wanted.suffix.type, view: view, by: caller).file)
    } catch {
      inodes.forget(found.node.id, count: 1)
      throw error
    }
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
    if let session = file.session { return try read(session, offset: offset, size: size, by: caller) }
    if let (parent, name) = file.node.value?.withLock({ ($0.parent, $0.name) }), registry.callbacks.isQueryWatched(of: name) {
      // By the process that reads, whoever has opened it.
      do { try registry.queryValue(of: parent, named: name, by: caller) { () throws(NTStatus) in } } catch {
        throw Errno(error)
      }
    }
    if let unsaved = file.node.value?.withLock({ $0.unsaved }) { return unsaved.text(from: offset, size: size) }
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
    if let session = file.session { return try write(session, of: file, bytes, offset: offset, by: caller) }
    guard file.isWritable, let value = file.node.value else { throw .badDescriptor }
    let (parent, name, ownType, unsavedType, unsaved) = value.withLock {
      ($0.parent, $0.name, $0.type, $0.unsavedType, $0.unsaved)
    }
    let type = unsavedType ?? file.state.withLock { $0.type } ?? ownType
    do throws(Errno) {
      if let unsaved, try write(file, unsaved, bytes, offset: offset, by: caller) { return }
      do throws(NTStatus) { _ = try registry.admitSetValue(of: parent, named: name, by: caller) } catch {
        throw Errno(error)
      }
      try load(file)
      let longest = try longestText(of: parent, type, file.view)
      let shown = try exactValue(of: file, type: type)?.text
      try change(file) { text throws(Errno) in
        let start = file.appends ? text.count : offset
        guard start >= 0, start <= longest, bytes.count <= longest - start, start - text.count <= TextChange.largestGap else {
          throw .fileTooLarge
        }
        TextChange.write(bytes, at: start, in: &text)
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
    let (parent, name, type, unsaved) = value.withLock { ($0.parent, $0.name, $0.unsavedType ?? $0.type, $0.unsaved) }
    if let unsaved, try resize(file, unsaved, to: size, by: caller) { return }
    do { _ = try registry.admitSetValue(of: parent, named: name, by: caller) } catch { throw Errno(error) }
    let longest = try longestText(of: parent, type, file.view)
    guard size >= 0, size <= longest else { throw .fileTooLarge }
    try load(file)
    try change(file) { text throws(Errno) in
      guard size - text.count <= TextChange.largestGap else { throw .fileTooLarge }
      TextChange.resize(&text, to: size)
    }
  }

  /// close(2) and dup2(2): sets the value once if this handle has written. The node returned has pages to be dropped.
  package func flush(_ file: OpenFile, by caller: Caller) throws(Errno) -> UInt64? {
    guard file.isWritable, file.control == nil else { return nil }
    if let session = file.session {
      try flush(session, of: file, by: caller)
      return nil
    }
    let (failure, hasWritten) = file.state.withLock { ($0.failure, $0.hasWritten) }
    if let failure { throw failure }
    if try flushUnsaved(file, by: caller) { return nil }
    if hasWritten { return try set(file, by: caller) }
    try admitAgain(file, by: caller)
    noteClosing(file)
    return nil
  }

  /// A descriptor of a handle that made or emptied a value was closed. If it was the last one, the release sets the value.
  private func noteClosing(_ file: OpenFile) {
    guard let parent = file.node.value?.withLock({ $0.parent }), let directory = inodes.node(of: parent) else { return }
    file.state.withLock { state in
      guard state.isBare, state.closingIn == nil else { return }
      state.closingIn = directory
      directory.closingHandles.add(1, ordering: .sequentiallyConsistent)
    }
  }

  /// How long one waits for such a release, microseconds: the descriptor may have been one of two.
  private static let releasePatience: UInt32 = 500_000

  /// The kernel sends a release before close(2) comes back, and does not wait for its answer: what the same process asks next could be
  /// done before it.
  func waitForReleases(in directory: Node) {
    var waited: UInt32 = 0
    while directory.closingHandles.load(ordering: .sequentiallyConsistent) > 0, waited < Self.releasePatience {
      usleep(100)
      waited += 100
    }
  }

  /// Only the release is left to set what was emptied or made, and it names no caller: where the rules have changed since the open,
  /// who closes the handle is judged by the new ones.
  func admitAgain(_ file: OpenFile, by caller: Caller) throws(Errno) {
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
    if file.session != nil { return releaseView() }
    file.events?.close()
    defer {
      file.state.withLock { $0.closingIn.take() }?.closingHandles.subtract(1, ordering: .sequentiallyConsistent)
    }
    guard let value = file.node.value else { return }
    guard file.isWritable else {
      if !releaseUnsaved(file) { value.withLock { $0.readers -= 1 } }
      return
    }
    if !releaseUnsaved(file) {
      let isDue = file.state.withLock { $0.failure == nil && ($0.isBare || $0.hasWritten) }
      if isDue { _ = try? set(file, by: nil) }
      value.withLock { state in
        state.writers -= 1
        if state.writers == 0 { state.unsavedSize = nil }
      }
    }
    let parent = value.withLock { $0.parent }
    dropTimes(of: parent)
  }

  // MARK: One handle's text

  /// Bytes of text that a value which is not in the hive yet can have; `type` nil: nobody knows it.
  func longestText(of node: Node, _ type: ValueType?, _ view: ValueView) throws(Errno) -> Int {
    guard let parent = node.value?.withLock({ $0.parent }) else { throw .badDescriptor }
    return try longestText(of: parent, type ?? .binary, view)
  }

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
    let (parent, generation, isGone) = value.withLock { ($0.parent, $0.generation, $0.isDeleted) }
    let isNeeded = file.state.withLock { state in
      state.text == nil || !state.hasWritten && !state.isBare && !isGone && state.generation != generation
    }
    guard isNeeded else { return }
    if let unsaved = file.unsaved, file.isWritable || isGone {
      // Saved or removed meanwhile: the handle goes on where it was.
      return file.state.withLock { $0.text = unsaved.text }
    }
    if isGone {
      guard let last = value.withLock({ $0.lastText }) else { throw .noEntry }
      return file.state.withLock { $0.text = last }
    }
    var found = RegistryValue(type: .none, data: [])
    do throws(NTStatus) {
      // By its number: to find a name in a list of values is to go through the list.
      _ = try registry.queryValue(
        of: parent, numbered: { value.withLock { $0.isDeleted || $0.identity == 0 ? nil : $0.identity } },
        type: { found.type = $0 }, piece: { found.data.append(contentsOf: $0) })
    } catch { throw Errno(error) }
    let text = ValueCodec.text(of: found, as: file.view)
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

  func spoil(_ file: OpenFile, _ failure: Errno) {
    // Thrown away outside the lock: its callbacks are told.
    _ = file.state.withLock { state in
      state.failure = failure
      state.hasWritten = false
      state.isBare = false
      return state.admission.take()
    }
    file.node.value?.withLock { $0.unsavedSize = nil }
  }

  /// Sets the value to what this handle has in hand; that of a value that is not in the hive yet is `save`'s. `caller` nil: at
  /// release, by the leave given at open.
  func set(_ file: OpenFile, by caller: Caller?) throws(Errno) -> UInt64? {
    guard let value = file.node.value else { throw .badDescriptor }
    let (parent, name, ownType, isDeleted, unsavedType) = value.withLock {
      ($0.parent, $0.name, $0.type, $0.isDeleted, $0.unsavedType)
    }
    // Unlinked while it was open: as on any file system, what is written goes nowhere.
    guard !isDeleted else { return nil }
    // No text: it was written while the value was not in the hive, and another handle has saved it.
    let (text, typeAsked) = file.state.withLock { ($0.text, $0.type) }
    var generation: UInt64?
    if let text {
      let type = unsavedType ?? typeAsked ?? ownType
      let exactData = try exactData(of: file, text, type: type)
      let data = if let exactData { exactData } else { try ValueCodec.data(from: text, type: type, as: file.view) }
      guard data.count <= (try longestData(of: parent)) else { throw .fileTooLarge }
      let isExact = exactData != nil || file.view == .bytes
      var admission = file.state.withLock { $0.admission.take() }
      do throws(NTStatus) {
        try setValue(
          of: parent, named: name, to: RegistryValue(type: type, data: data), by: caller, admitted: &admission
        ) { identity in
          generation = noteSet(file.node, identity: identity, type: type, isExact: isExact)
        }
      } catch {
        let errno = Errno(error)
        spoil(file, errno)
        throw errno
      }
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
  func noteSet(_ node: Node, identity: UInt64, type: ValueType, isExact: Bool) -> UInt64? {
    let generation = node.value?.withLock { state in
      state.identity = identity
      state.type = type
      state.isExact = isExact
      state.lacksLineEnd = false
      state.unsavedSize = nil
      state.generation += 1
      return state.generation
    }
    inodes.noteChange(ofValue: identity, to: type, isExact: isExact, exceptRaw: node.isRawView)
    return generation
  }

  /// The node whose pages in the kernel a change through `node` has made stale: its own, or that of the value's text.
  func staleNode(_ node: Node) -> UInt64? {
    guard let (readers, identity) = node.value?.withLock({ ($0.readers, $0.identity) }) else { return nil }
    if node.isRawView { return inodes.readNode(ofValue: identity) }
    return readers > 0 ? node.id : nil
  }

  /// SetValueKey in the name of `caller`, or, when there is none any more, by the leave given before; without one, in nobody's.
  func setValue(
    of key: KeyControlBlock, named name: UnicodeName, to value: RegistryValue, by caller: Caller?,
    admitted: inout Admission?, onChange: (UInt64) -> Void
  ) throws(NTStatus) {
    if let caller {
      admitted = nil
      try registry.setValue(of: key, named: name, to: value, by: caller, onChange: onChange)
    } else if let admission = admitted.take() {
      try registry.setValue(of: key, named: name, to: value, admitted: admission, onChange: onChange)
    } else {
      try registry.setValue(of: key, named: name, to: value, by: .unknown, onChange: onChange)
    }
  }
}
