internal import ConfigurationManager
internal import Executive
internal import Glibc
internal import Synchronization

// The views of the control directory: a file of every key, made when it is opened or used when it is closed. What such a file holds
// lies in a file without a name, not in memory.

extension RegistryFileSystem {
  /// Handles of views at a time: each has a file of its own on the disk.
  static let mostViewFiles = 16
  /// No hive is longer: its bins have 2 GiB at most.
  private static let longestHive = 1 << 31 + 4096

  /// Throws ENOENT.
  func lookUp(_ spelled: [UInt8], inView view: Int, of key: KeyControlBlock) throws(Errno) -> Entry {
    let suffix = Array(ControlView.all[view].suffix.utf8)
    let stem = spelled.dropLast(suffix.count)
    let isFile = spelled.suffix(suffix.count).elementsEqual(suffix)
    if isFile, !stem.isEmpty, let child = try self.key(Array(stem), below: key) {
      return try entry(for: inodes.remember(.file(view: view, ViewSize()), of: child))
    }
    // A key that is called like a file is entered where no other key has that file.
    if let child = try self.key(spelled, below: key) {
      return try entry(for: inodes.remember(.directory(view: view), of: child))
    }
    guard isFile, stem.isEmpty, key === registry.root else { throw .noEntry }
    registry.retain(key)
    return try entry(for: inodes.remember(.file(view: view, ViewSize()), of: key))
  }

  /// The entry of a view's own directory in the control directory; nil for a name that no view has.
  func lookUpView(named spelled: [UInt8]) throws(Errno) -> Entry? {
    guard let view = ControlView.all.firstIndex(where: { spelled.elementsEqual($0.name.utf8) }) else { return nil }
    registry.retain(registry.root)
    return try entry(for: inodes.remember(.directory(view: view), of: registry.root))
  }

  /// Never kept by the kernel: the key may be renamed.
  private func entry(for node: Node) throws(Errno) -> Entry {
    do throws(Errno) {
      return Entry(
        nodeID: node.id, generation: node.generation, attributes: try attributes(of: node), isExactSpelling: false)
    } catch {
      inodes.forget(node.id, count: 1)
      throw error
    }
  }

  /// The subkey of that file name, held once more; where `CurrentControlSet` leads for that. Nil for none.
  private func key(_ spelled: [UInt8], below parent: KeyControlBlock) throws(Errno) -> KeyControlBlock? {
    guard let wanted = try? NameCodec.decode(spelled) else { return nil }
    let found: Found
    do throws(Errno) { found = try resolve(wanted, spelled: spelled, in: parent) } catch {
      guard error == .noEntry else { throw error }
      return nil
    }
    defer { inodes.forget(found.node.id, count: 1) }
    switch found.node.kind {
    case .key(let child, _):
      registry.retain(child)
      return child
    case .alias(.currentControlSet, _):
      var name: [UInt8] = []
      guard let target = try? registry.queryControlSet(of: parent) else { return nil }
      NameCodec.encode(target, into: &name)
      return try key(name, below: parent)
    case .alias, .value, .control: return nil
    }
  }

  func openView(
    _ view: ControlView, _ size: ViewSize, of key: KeyControlBlock, _ node: Node, flags: Int32, by caller: Caller
  ) throws(Errno) -> OpenFile {
    let isWritable = flags & O_ACCMODE != O_RDONLY
    guard isWritable == (view.direction == .written) else { throw .accessDenied }
    guard openViews.add(1, ordering: .relaxed).newValue <= Self.mostViewFiles else {
      openViews.subtract(1, ordering: .relaxed)
      throw Errno(rawValue: ENFILE)
    }
    do throws(NTStatus) {
      let file = try UnnamedFile(name: "%ctl/" + view.name)
      switch view.direction {
      case .written:
        guard !registry.isReadOnly else { throw .mediaWriteProtected }
        try view.judge(self, key, caller)
      case .read:
        try view.work(self, key, file, caller)
        size.note(try file.size)
      }
      return OpenFile(
        node: node, view: .bytes, isWritable: isWritable, appends: flags & O_APPEND != 0, opener: caller, state: OpenFile.State(),
        session: ViewSession(view: view, key: key, file: file))
    } catch {
      openViews.subtract(1, ordering: .relaxed)
      throw Errno(error)
    }
  }

  /// By the process that reads, whoever has opened it.
  func read(
    _ session: ViewSession, offset: Int, size: Int, by caller: Caller
  ) throws(Errno) -> [UInt8] {
    guard session.view.direction == .read else { throw .badDescriptor }
    do throws(NTStatus) {
      try session.view.judge(self, session.key, caller)
      return try session.file.read(at: offset, count: size)
    } catch { throw Errno(error) }
  }

  /// As for the command file, only its opener's user writes: a program that runs as somebody else may have inherited the handle.
  func write(
    _ session: ViewSession, of file: OpenFile, _ bytes: UnsafeRawBufferPointer, offset: Int, by caller: Caller
  ) throws(Errno) {
    try checkOwner(of: file, caller)
    do throws(NTStatus) {
      let start = file.appends ? try session.file.size : offset
      guard start >= 0, start <= Self.longestHive - bytes.count else { throw .registryQuotaLimit }
      try session.file.write(bytes, at: start)
    } catch {
      guard error == .registryQuotaLimit else { throw Errno(error) }
      throw .fileTooLarge
    }
    file.state.withLock { $0.hasWritten = true }
  }

  func resize(_ session: ViewSession, of file: OpenFile, to size: Int, by caller: Caller) throws(Errno) {
    guard session.view.direction == .written else { throw .badDescriptor }
    try checkOwner(of: file, caller)
    guard (0...Self.longestHive).contains(size) else { throw .fileTooLarge }
    do throws(NTStatus) { try session.file.resize(to: size) } catch { throw Errno(error) }
  }

  /// close(2) of a view's file: what was written since the last time is used, by leave of who closes.
  func flush(_ session: ViewSession, of file: OpenFile, by caller: Caller) throws(Errno) {
    let isDue = file.state.withLock { state in
      defer { state.hasWritten = false }
      return state.hasWritten
    }
    guard isDue else { return }
    try checkOwner(of: file, caller)
    do throws(NTStatus) { try session.view.work(self, session.key, session.file, caller) } catch {
      // It is what was written that is no hive, not the hive that is damaged.
      throw error == .registryCorrupt ? .invalid : Errno(error)
    }
  }

  func releaseView() { openViews.subtract(1, ordering: .relaxed) }

  private func checkOwner(of file: OpenFile, _ caller: Caller) throws(Errno) {
    guard caller.userID == file.opener.userID, caller.groupID == file.opener.groupID else { throw .accessDenied }
  }

  /// RestoreKey with what it means to those who have the key's values open; `work` restores.
  func restore(
    _ key: KeyControlBlock, isForced: Bool = false, by caller: Caller,
    _ work: () throws(NTStatus) -> Void
  ) throws(NTStatus) {
    guard isForced || !hasWriters(below: key) else { throw .sharingViolation }
    try work()
    dropTimes(of: key)
    dropNames()
  }
}
