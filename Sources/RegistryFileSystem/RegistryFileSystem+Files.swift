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
    let (parent, name, isNameless, unsaved) = value.withLock { ($0.parent, $0.name, $0.isNameless, $0.unsaved) }
    guard !isNameless else { throw .noEntry }
    if let unsaved { return (try open(node, unsaved, flags: flags, as: type, by: caller), false) }
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

  /// open(2) with O_CREAT. A value that is not there is made in memory, seen at once and set when a handle is closed.
  package func create(
    _ name: UnsafePointer<CChar>, in parent: UInt64, flags: Int32, by caller: Caller
  ) throws(Errno) -> (entry: Entry, file: OpenFile) {
    let spelled = Self.bytes(name)
    let (key, wanted) = try placeForValue(spelled, in: parent)
    guard let found = try existingValue(wanted, spelled: spelled, in: key) else {
      let made = try makeUnsaved(wanted, spelled: spelled, in: key, hasHandle: true, by: caller)
      let file = OpenFile(
        node: made.node, unsaved: made.value, isWritable: true, appends: flags & O_APPEND != 0, opener: caller, state: made.state)
      tellOpened(wanted.name, of: key, by: caller)
      return (made.entry, file)
    }
    do throws(Errno) {
      guard flags & O_EXCL == 0 else { throw .exists }
      // The value may be there under another type: then it gets this one.
      let type: ValueType? = if case .type(let type) = wanted.suffix { type } else { nil }
      let entry = try entry(for: found, spelled: spelled)
      return (entry, try open(found.node.id, flags: flags, as: type, by: caller).file)
    } catch {
      inodes.forget(found.node.id, count: 1)
      throw error
    }
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
    if let view = file.view { return try write(view, of: file, bytes, offset: offset, by: caller) }
    guard file.isWritable, let value = file.node.value else { throw .badDescriptor }
    let (parent, name, ownType, unsaved) = value.withLock { ($0.parent, $0.name, $0.type, $0.unsaved) }
    let type = file.state.withLock { $0.type } ?? ownType
    do throws(Errno) {
      if let unsaved, try write(file, unsaved, bytes, offset: offset, by: caller) { return }
      do throws(NTStatus) { _ = try registry.admitSetValue(of: parent, named: name, by: caller) } catch {
        throw Errno(error)
      }
      try load(file)
      try change(file) { text throws(Errno) in
        let start = file.appends ? text.count : offset
        guard start >= 0, start <= largestText, bytes.count <= largestText - start else { throw .fileTooLarge }
        TextChange.write(bytes, at: start, in: &text)
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
    guard size >= 0, size <= largestText else { throw .fileTooLarge }
    let (parent, name, unsaved) = value.withLock { ($0.parent, $0.name, $0.unsaved) }
    if let unsaved, try resize(file, unsaved, to: size, by: caller) { return }
    do { _ = try registry.admitSetValue(of: parent, named: name, by: caller) } catch { throw Errno(error) }
    try load(file)
    try change(file) { text throws(Errno) in TextChange.resize(&text, to: size) }
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
    if try flushUnsaved(file, by: caller) { return nil }
    if hasWritten { return try set(file, by: caller) }
    try admitAgain(file, by: caller)
    return nil
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
    if file.view != nil { return releaseView() }
    guard let value = file.node.value else { return }
    guard file.isWritable else {
      if !releaseUnsaved(file) { value.withLock { $0.readers -= 1 } }
      return
    }
    if !releaseUnsaved(file) {
      let isDue = file.state.withLock { $0.failure == nil && ($0.isBare || $0.hasWritten) }
      if isDue { _ = try? set(file, by: nil) }
      value.withLock { $0.writers -= 1 }
    }
    let parent = value.withLock { $0.parent }
    dropTimes(of: parent)
  }

  // MARK: One handle's text

  /// Fills the handle's text, or fills it anew when the value has changed since and nothing was written here.
  private func load(_ file: OpenFile) throws(Errno) {
    guard let value = file.node.value else { throw .badDescriptor }
    let (parent, name, ordinal, generation, isGone) = value.withLock {
      ($0.parent, $0.name, $0.ordinal, $0.generation, $0.isDeleted)
    }
    let isNeeded = file.state.withLock { state in
      state.text == nil || (!file.isWritable && !isGone && state.generation != generation)
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
    guard !isGone else { throw .noEntry }
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
    try file.state.withLock { state throws(Errno) in
      if let failure = state.failure { throw failure }
      // Taken out, so that it is changed in place.
      var text = state.text ?? []
      state.text = nil
      defer { state.text = text }
      try body(&text)
      state.hasWritten = true
    }
  }

  func spoil(_ file: OpenFile, _ failure: Errno) {
    // Thrown away outside the lock: its callbacks are told.
    _ = file.state.withLock { state in
      state.failure = failure
      state.hasWritten = false
      state.isBare = false
      return state.admission.take()
    }
  }

  /// Sets the value to what this handle has in hand; that of a value that is not in the hive yet is `save`'s. `caller` nil: at
  /// release, by the leave given at open.
  func set(_ file: OpenFile, by caller: Caller?) throws(Errno) -> UInt64? {
    guard let value = file.node.value else { throw .badDescriptor }
    let (parent, name, ownType, isDeleted) = value.withLock { ($0.parent, $0.name, $0.type, $0.isDeleted) }
    // Unlinked while it was open: as on any file system, what is written goes nowhere.
    guard !isDeleted else { return nil }
    // No text: it was written while the value was not in the hive, and another handle has saved it.
    let (text, typeAsked) = file.state.withLock { ($0.text, $0.type) }
    if let text {
      let type = typeAsked ?? ownType
      let new = RegistryValue(type: type, data: try ValueCodec.data(from: text, type: type))
      var admission = file.state.withLock { $0.admission.take() }
      do throws(NTStatus) {
        try setValue(of: parent, named: name, to: new, by: caller, admitted: &admission) { identity in
          value.withLock { state in
            state.identity = identity
            state.type = type
            state.generation += 1
          }
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
    }
    dropTimes(of: parent)
    return value.withLock { $0.readers > 0 } ? file.node.id : nil
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
