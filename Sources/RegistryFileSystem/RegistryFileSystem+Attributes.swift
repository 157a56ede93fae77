package import ConfigurationManager
package import Executive
internal import Synchronization

extension RegistryFileSystem {
  /// What stat(2) shows of a node.
  package func attributes(of nodeID: UInt64) throws(Errno) -> Attributes {
    guard let node = inodes.node(nodeID) else { throw .noEntry }
    return try attributes(of: node)
  }

  /// chmod, chown and a value's times are accepted without effect; a key's time is set; a size is a change of the value.
  /// `stalePages` is a node whose cached pages must be dropped before the reply.
  package func setAttributes(
    of nodeID: UInt64, file: OpenFile?, size: Int?, modified: FileTime?, by caller: Caller
  ) throws(Errno) -> (attributes: Attributes, stalePages: UInt64?) {
    guard let node = inodes.node(nodeID) else { throw .noEntry }
    var stale: UInt64?
    if let size {
      guard node.value != nil else {
        // The command file is opened with O_TRUNC by every shell.
        switch node.kind {
        case .control: return (try attributes(of: node), nil)
        case .alias(.file, _):
          if let file, let session = file.session { try resize(session, of: file, to: size, by: caller) }
          return (try attributes(of: node), nil)
        case .key, .value, .alias: break
        }
        throw .isDirectory
      }
      if let file {
        try resize(file, to: size, by: caller)
      } else {
        let file = try open(nodeID, flags: Self.writeOnly, by: caller).file
        defer { release(file) }
        try resize(file, to: size, by: caller)
        stale = try flush(file, by: caller)
      }
    }
    if let modified, case .key(let key, _) = node.kind {
      // What was closed before counts as done before: the time would be another again.
      waitForReleases(in: node)
      do { try registry.setLastWriteTime(of: key, to: modified, by: caller) } catch { throw Errno(error) }
      // It may be the time that the key had before other changes.
      dropListing(of: key)
      dropTimes(of: key, isKnown: true)
    } else if registry.isReadOnly, modified != nil {
      throw .readOnly
    }
    return (try attributes(of: node), stale)
  }

  func attributes(of node: Node, key information: KeyInformation? = nil) throws(Errno) -> Attributes {
    switch node.kind {
    case .control(let file): return attributes(of: file)
    case .key(let key, let isLink):
      // Noted before they are read: a change in between drops them then.
      node.isTold.store(true, ordering: .sequentiallyConsistent)
      let now: KeyInformation
      if let information {
        now = information
      } else {
        do { now = try registry.query(key) } catch { throw Errno(error) }
      }
      if isLink {
        let target = (try? linkText(of: key)) ?? []
        return Attributes(
          kind: .link, inode: Self.inode(now.identity), permissions: 0o777, links: 1, size: target.count,
          modified: now.lastWriteTime, isCacheable: true)
      }
      return Attributes(
        kind: .directory, inode: Self.inode(now.identity), permissions: presentation.directoryPermissions,
        links: UInt32(clamping: 2 + now.subkeyCount), size: 0, modified: now.lastWriteTime, isCacheable: true)
    case .alias(let alias, let key): return try attributes(of: alias, of: key, node)
    case .value(let isRaw): return try attributes(ofValue: node, isRaw: isRaw)
    }
  }

  /// The answer about a value that is only asked about, and of which nothing is under way; nil where it needs a node. Under the registry's
  /// lock: a change in between drops what is told.
  func answer(
    _ question: borrowing ValueQuestion, _ value: ValueInformation, _ time: FileTime, ordinal: Int, isRaw: Bool, isExactSpelling: Bool
  ) -> Entry? {
    guard let size = question.textSize(of: value),
      let told = inodes.tell(value, ordinal: ordinal, of: question.key, in: question.directory.id, isRaw: isRaw, size: size)
    else { return nil }
    return Entry(
      nodeID: told.id, generation: told.generation,
      attributes: Attributes(
        kind: .file, inode: Self.inode(ofValue: value.identity, isRaw: isRaw), permissions: presentation.filePermissions, links: 1,
        size: size, modified: time, isCacheable: true),
      isExactSpelling: isExactSpelling)
  }

  private func attributes(ofValue node: Node, isRaw: Bool) throws(Errno) -> Attributes {
    guard let state = node.value?.withLock({ state in
      (
        state.parent, state.identity, state.isDeleted, state.unsaved, state.writers, state.generation,
        // Of one that is gone the last one known: with none, the kernel would not ask for what an open handle still has to tell.
        state.isDeleted
          ? state.unsavedSize ?? state.lastText?.count ?? state.size?.bytes : state.size.flatMap { $0.generation == state.generation ? $0.bytes : nil }
      )
    }) else { throw .noEntry }
    let (parent, identity, isDeleted, unsaved, writers, generation, knownSize) = state
    var attributes = Attributes(
      kind: .file, inode: unsaved != nil ? 1 << 40 + node.id : Self.inode(ofValue: identity, isRaw: isRaw),
      permissions: presentation.filePermissions, links: isDeleted ? 0 : 1, size: unsaved?.size ?? 0,
      modified: FileTime(rawValue: 0), isCacheable: false)
    if isDeleted {
      attributes.size = knownSize ?? attributes.size
      return attributes
    }
    if unsaved != nil {
      do { attributes.modified = try registry.query(parent).lastWriteTime } catch { throw Errno(error) }
      return attributes
    }
    // Noted before they are read: a change in between drops them then.
    if writers == 0 { noteCached(node, parent) }
    do throws(NTStatus) {
      if let known = knownSize {
        attributes.modified = try registry.query(parent).lastWriteTime
        attributes.size = known
      } else {
        // By its number: to find a name in a list of values is to go through the list.
        let view = view(of: node)
        var text: TextSize?
        attributes.modified = try registry.queryValue(
          of: parent, numbered: { node.value?.withLock { $0.isDeleted || $0.identity == 0 ? nil : $0.identity } },
          type: { text = TextSize($0, as: view) }, piece: { text?.add($0) })
        attributes.size = text?.bytes ?? 0
        let size = attributes.size
        node.value?.withLock { $0.size = (generation, size) }
      }
    } catch { throw Errno(error) }
    attributes.isCacheable = writers == 0
    return attributes
  }

  private func attributes(of alias: Alias, of key: KeyControlBlock, _ node: Node) throws(Errno) -> Attributes {
    // Above what values that are not set yet, and what is lost, have.
    var attributes = Attributes(
      kind: .file, inode: 3 << 40 + node.id, permissions: 0o777, links: 1, size: 0, modified: .now(), isCacheable: false)
    switch alias {
    case .currentControlSet:
      attributes.kind = .link
      attributes.size = try currentControlSet(in: key).count
      do throws(NTStatus) {
        let hive = try registry.query(key)
        attributes.inode = Self.inode(ofControlSetIn: hive.identity)
        attributes.modified = hive.lastWriteTime
      } catch { throw Errno(error) }
    case .directory:
      attributes.kind = .directory
      attributes.links = 2
      attributes.permissions = presentation.directoryPermissions & 0o555
    case .file(let view, let size):
      let isWritten = ControlView.all[view].direction == .written
      // To restore a key is to make and remove files.
      attributes.permissions = isWritten ? presentation.directoryPermissions & 0o222 : presentation.filePermissions & 0o444
      attributes.size = size.value
    }
    return attributes
  }

  func attributes(of file: ControlFile) -> Attributes {
    Attributes(
      kind: file == .directory ? .directory : .file, inode: file.nodeID,
      permissions: file.permissions, links: file == .directory ? 2 : 1,
      size: 0, modified: .now(), isCacheable: false)
  }

  /// Numbers below 16 are the control directory's.
  static func inode(_ identity: UInt64) -> UInt64 {
    // The hive's number above everything else that makes numbers.
    (identity >> 32) << 42 | (identity & 0xFFFF_FFFF) / 8 + 16
  }

  /// Of a value's file: its text and its bytes are two.
  private static func inode(ofValue identity: UInt64, isRaw: Bool) -> UInt64 { inode(identity) + (isRaw ? 1 << 39 : 0) }

  /// Of the `CurrentControlSet` of the hive whose root has this number.
  static func inode(ofControlSetIn root: UInt64) -> UInt64 { (root >> 32) << 42 | 3 << 40 }

  // MARK: Exact invalidation

  /// Names have changed in a way that the kernel cannot see: each is looked up, and each directory read again.
  func dropNames() {
    listingEpoch.add(1, ordering: .sequentiallyConsistent)
    cache?.dropNames()
  }

  /// What the key lists may have changed without a later time.
  func dropListing(of key: KeyControlBlock) {
    inodes.node(of: key)?.listingEpoch.store(0, ordering: .sequentiallyConsistent)
  }

  /// How far the kernel may keep what is read through a directory that is opened now. It forgets what it has when the key's time is
  /// another, or after a change of its own; for all else there is the epoch, taken before the first name is read.
  func listingCache(of node: Node, _ key: KeyControlBlock) -> ListingCache {
    guard
      // What a hive's root lists follows `Select\Current`, places list what is loaded, and a type is another without a change of the key.
      key.isFoundByNumber, !presentation.listsTypes,
      // Each name is somebody's to refuse, to each caller.
      !registry.callbacks.isWatched(.preEnumerateKey, .postEnumerateKey),
      !registry.callbacks.isWatched(.preEnumerateValueKey, .postEnumerateValueKey)
    else { return .none }
    let epoch = listingEpoch.load(ordering: .sequentiallyConsistent)
    return node.listingEpoch.exchange(epoch, ordering: .sequentiallyConsistent) == epoch ? .kept : .new
  }

  /// The kernel is about to keep this value's attributes; its time is its key's and must be dropped with it.
  private func noteCached(_ node: Node, _ parent: KeyControlBlock) {
    guard !inodes.isTold(node.id), let directory = inodes.node(of: parent) else { return }
    inodes.noteTold(node.id, in: directory.id)
  }

  /// The time of `key` has changed in a way that the kernel cannot see: its attributes are asked for again, and those of its values.
  /// After making, removing or renaming in the key (`isKnown`) the kernel forgets the key's own times by itself.
  func dropTimes(of key: KeyControlBlock, isKnown: Bool = false) {
    guard let cache, let directory = inodes.node(of: key) else { return }
    directory.telling.withLock { _ in
      if directory.isTold.exchange(false, ordering: .sequentiallyConsistent), !isKnown {
        cache.dropAttributes(of: directory.id)
      }
      for id in inodes.takeTold(in: directory.id) { cache.dropAttributes(of: id) }
    }
  }
}
