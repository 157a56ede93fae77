package import Executive
package import HiveStorage
internal import Glibc
internal import Synchronization

extension Registry {
  /// Puts a hive at its place while the registry is being built: nobody is asked. Throws `objectNameCollision` where the place is
  /// taken, `invalidParameter` in a registry of one hive.
  /// Throws `sharingViolation` for a file that is attached already.
  package func attach(_ hive: consuming sending Hive, from file: String, at place: HivePlace) throws(NTStatus) {
    guard root.hive.isNamespace else { throw .invalidParameter }
    try refuseLoaded(file)
    var parent: KeyControlBlock?
    try lookUp(place.root.directory, in: root, among: .keys) { if case .key(let key, _) = $0 { parent = key } }
    guard let parent else { throw .objectNameNotFound }
    defer { close(parent) }
    let rootCell = hive.rootKey
    // Never that of one that was unloaded: the kernel may still hold values of it, by their numbers.
    let number = nextHive.add(1, ordering: .relaxed).oldValue
    let loaded = LoadedHive(hive, number: number)
    try root.hive.lock.withExclusive { namespace throws(NTStatus) in
      do throws(HiveError) {
        guard try namespace.findSubkey(of: parent.cell, named: place.name.units.span) == nil else {
          throw .nameCollision
        }
        let cell = try namespace.createKey(
          under: parent.cell, named: place.name.units.span, className: nil, time: .now())
        root.hive.setExit(referenceRoot(of: loaded, rootCell, below: parent, name: place.name), at: cell)
      } catch { throw NTStatus(error) }
    }
    hives.withLock { $0.append(loaded) }
    watch(loaded)
  }

  /// Loads the hive in `file` while mounted (NtLoadKey). Throws what opening it throws as well.
  package func loadKey(at place: HivePlace, file: String, by caller: Caller) throws(NTStatus) {
    guard root.hive.isNamespace else { throw .invalidParameter }
    guard !isReadOnly else { throw .mediaWriteProtected }
    try refuseLoaded(file)
    var admission = try callbacks.admit(
      .loadKey(completeName: place.completeName, sourceFile: file, flags: 0), by: caller, registry: self)
    var status = NTStatus.success
    if !admission.isBypassed {
      do throws(NTStatus) {
        let hive: Hive
        do throws(HiveError) { hive = try Self.openWhole(file) } catch { throw NTStatus(error) }
        try attach(hive, from: file, at: place)
      } catch { status = error }
    }
    let outcome = admission.complete(status)
    guard outcome.isSuccess else { throw outcome }
  }

  /// A hive for writing. A damaged one is refused: what is written might make the loss complete.
  private static func openWhole(_ file: String) throws(HiveError) -> Hive {
    let hive = try Hive(HiveFile(path: file, access: .readWrite))
    try hive.checkStructure()
    return hive
  }

  /// To open the file of a loaded hive once more and close it would end the lock on it, which is the process's.
  func refuseLoaded(_ path: String) throws(NTStatus) {
    guard !hives.withLock({ $0.contains { $0.lies(on: path) } }) else { throw .sharingViolation }
  }

  /// Unloads a hive: brings it to the disk and lets its file go (NtUnloadKey). Keys of it that are still in use are deleted keys from
  /// then on. Throws `invalidParameter` for what is no root of a loaded hive; a hive that cannot be written stays loaded.
  package func unloadKey(_ key: KeyControlBlock, by caller: Caller) throws(NTStatus) {
    guard root.hive.isNamespace, let parent = key.parent, parent.hive.isNamespace, !key.hive.isNamespace else {
      throw .invalidParameter
    }
    let name = try completeName(of: key)
    var admission = try callbacks.admit(
      .unloadKey(key: KeyReference(id: key.id, completeName: name)), by: caller, registry: self)
    var status = NTStatus.success
    if !admission.isBypassed {
      do throws(NTStatus) { try detach(key, below: parent) } catch { status = error }
    }
    let outcome = admission.complete(status)
    guard outcome.isSuccess else { throw outcome }
  }

  private func detach(_ key: KeyControlBlock, below parent: KeyControlBlock) throws(NTStatus) {
    do throws(HiveError) {
      try key.hive.withoutReconcile { () throws(HiveError) in
        try root.hive.lock.withExclusive { namespace throws(HiveError) in
          try key.hive.lock.withExclusive { hive throws(HiveError) in
            guard !key.isDeleted else { throw .keyNotFound }
            if hive.access == .readWrite { try hive.commit() }
            hive.close()
            forgetAll(below: key, isIncluded: true)
          }
          var place: CellIndex?
          try namespace.forEachSubkey(of: parent.cell, from: 0) { _, cell throws(HiveError) in
            if root.hive.exit(at: cell) === key { place = cell }
            return place == nil
          }
          if let place {
            root.hive.setExit(nil, at: place)
            try namespace.deleteKey(place, time: .now())
          }
        }
      }
    } catch { throw NTStatus(error) }
    hives.withLock { $0.removeAll { $0 === key.hive } }
    close(key)
  }

  /// Replaces the content of a key and everything below it by that of the hive in `file` (NtRestoreKey), as one change. Keys below it
  /// that are in use are deleted keys from then on; `onChange` runs under the lock, after the change. `flags` are 0 or
  /// `forceRestore`, which change nothing here.
  package func restoreKey(
    _ key: KeyControlBlock, from file: String, flags: UInt32 = 0, by caller: Caller, onChange: () -> Void = {}
  ) throws(NTStatus) {
    guard flags & ~Self.forceRestore == 0 else { throw .invalidParameter }
    try restoreKey(key, from: try openSource(file), named: file, flags: flags, by: caller, onChange: onChange)
  }

  /// The same from bytes. Throws `registryCorrupt` for what is no hive.
  package func restoreKey(
    _ key: KeyControlBlock, from file: UnnamedFile, by caller: Caller, onChange: () -> Void = {}
  ) throws(NTStatus) {
    try restoreKey(key, from: try Self.openSource(file), named: file.name, flags: 0, by: caller, onChange: onChange)
  }

  private static func openSource(_ file: UnnamedFile) throws(NTStatus) -> Hive {
    do throws(HiveError) {
      let hive = try Hive(device: file.device, access: .readOnly)
      // It may have been cut while it was written: what is not whole is not taken.
      try hive.checkStructure()
      return hive
    } catch { throw NTStatus(error) }
  }

  /// Whether `caller` may restore the key, before what from is known.
  package func admitRestoreKey(_ key: KeyControlBlock, by caller: Caller) throws(NTStatus) {
    _ = try admit(key, by: caller) { .restoreKey(key: $0, sourceFile: "", flags: 0) }
  }

  private func restoreKey(
    _ key: KeyControlBlock, from source: borrowing Hive, named file: String, flags: UInt32, by caller: Caller, onChange: () -> Void
  ) throws(NTStatus) {
    try dispatch(key, by: caller, through: nil, { .restoreKey(key: $0, sourceFile: file, flags: flags) }) {
      hive throws(HiveError) in
      try hive.restoreKey(key.cell, from: source, key: source.rootKey, time: .now())
      forgetAll(below: key, isIncluded: false)
      onChange()
      return nil
    }
  }

  /// REG_FORCE_RESTORE.
  package static let forceRestore: UInt32 = 8

  /// Replaces the whole hive that a key lies in by the one in `newFile`; what it was is saved to `oldFile`, which must not be there
  /// (NtReplaceKey). `onChange` gets the hive's root, under the lock. Judged at the hive's root. Windows does it at the next start; here it is done at once and brought to the disk.
  package func replaceKey(
    _ key: KeyControlBlock, by newFile: String, savingTo oldFile: String, by caller: Caller,
    onChange: (_ root: KeyControlBlock) -> Void = { _ in }
  ) throws(NTStatus) {
    let root = rootKey(of: key)
    let source = try openSource(newFile)
    try dispatch(root, by: caller, through: nil, { .replaceKey(key: $0, newFile: newFile, oldFile: oldFile) }) {
      hive throws(HiveError) in
      let time = FileTime.now()
      try Self.makeFile(oldFile) { device throws(HiveError) in try hive.saveKey(root.cell, to: device, time: time) }
      do throws(HiveError) { try hive.restoreKey(root.cell, from: source, key: source.rootKey, time: time) } catch {
        unlink(oldFile)
        throw error
      }
      forgetAll(below: root, isIncluded: false)
      onChange(root)
      return nil
    }
    do throws(HiveError) { try root.hive.reconcile() } catch { throw NTStatus(error) }
  }

  /// Writes a key and everything below it to a new hive file, mode 0600 (NtSaveKey). Throws `objectNameCollision` where there is a
  /// file.
  package func saveKey(
    _ key: KeyControlBlock, to file: String, format: SaveFormat = .latest, by caller: Caller
  ) throws(NTStatus) {
    try askSaveKey(key, to: file, format: format, by: caller) { hive throws(HiveError) in
      try Self.makeFile(file) { device throws(HiveError) in try hive.saveKey(key.cell, to: device, time: .now()) }
    }
  }

  /// The same to a file without a name.
  package func saveKey(_ key: KeyControlBlock, to file: UnnamedFile, by caller: Caller) throws(NTStatus) {
    try askSaveKey(key, to: file.name, format: .latest, by: caller) { hive throws(HiveError) in
      try hive.saveKey(key.cell, to: file.device, time: .now())
    }
  }

  /// Whether `caller` may read what was saved of the key.
  package func askSaveKey(_ key: KeyControlBlock, by caller: Caller) throws(NTStatus) {
    try ask(
      .preSaveKey, .postSaveKey, of: key, by: caller, through: nil, { .saveKey(key: $0, file: "", format: .latest) }
    ) { () throws(NTStatus) in }
  }

  private func askSaveKey(
    _ key: KeyControlBlock, to file: String, format: SaveFormat, by caller: Caller,
    _ body: (borrowing Hive) throws(HiveError) -> Void
  ) throws(NTStatus) {
    guard !key.hive.isNamespace else { throw .invalidParameter }
    try ask(.preSaveKey, .postSaveKey, of: key, by: caller, through: nil, { .saveKey(key: $0, file: file, format: format) }) {
      () throws(NTStatus) in
      // The copy is made in memory.
      try saving.withLock { (_) throws(NTStatus) in try read(key, body) }
    }
  }

  /// For the end, when a commit has failed: each hive with changes that are not on the disk is written to a new file beside it,
  /// `NAME.unsaved` or with a number behind it. The files.
  package func saveUncommitted() -> [String] {
    hives.withLock { $0 }.compactMap { loaded in
      guard !loaded.isNamespace, !isReadOnly else { return nil }
      return loaded.lock.withShared { hive -> String? in
        guard hive.hasUncommittedChanges else { return nil }
        for number in 0..<100 {
          let path = hive.deviceName + ".unsaved" + (number > 0 ? "\(number)" : "")
          do throws(HiveError) {
            try Self.makeFile(path) { device throws(HiveError) in
              try hive.saveKey(hive.rootKey, to: device, time: .now())
            }
            return path
          } catch {
            if error != .nameCollision { return nil }
          }
        }
        return nil
      }
    }
  }

  /// Makes the file at `path`, mode 0600: whole and durable, or not there. Who is killed meanwhile leaves `PATH.part-…` behind. Throws
  /// `nameCollision` where there is a file.
  private static func makeFile(
    _ path: String, _ body: (FileDevice) throws(HiveError) -> Void
  ) throws(HiveError) {
    var status = stat()
    guard lstat(path, &status) != 0 else { throw .nameCollision }
    let partial = path + ".part-" + String(UInt64.random(in: 0 ... .max), radix: 16)
    let device = try FileDevice(path: partial, mode: .new)
    defer { unlink(partial) }
    try body(device)
    // Unlike rename(2), link(2) never takes the place of what somebody else has made there since.
    if link(partial, path) != 0 {
      guard errno != EEXIST else { throw .nameCollision }
      // File systems without hard links: the name is taken first.
      _ = try FileDevice(path: path, mode: .new)
      guard rename(partial, path) == 0 else {
        let failure = errno
        unlink(path)
        throw .device(operation: "rename", name: partial, errno: failure)
      }
    }
    do throws(HiveError) { try HiveFile.syncName(of: path) } catch {
      unlink(path)
      throw error
    }
  }

  private func openSource(_ file: String) throws(NTStatus) -> Hive {
    try refuseLoaded(file)
    do throws(HiveError) { return try Hive(HiveFile(path: file, access: .readOnly)) } catch { throw NTStatus(error) }
  }

  /// The root of the hive that a key lies in.
  private func rootKey(of key: KeyControlBlock) -> KeyControlBlock {
    var root = key
    while let parent = root.parent, parent.hive === key.hive { root = parent }
    return root
  }

  /// Makes every change of the key's hive so far survive power loss, unless `durability` puts that off (NtFlushKey); of all hives for a
  /// key of the namespace. With `toPrimary` they are brought to the primary file, too, whatever `durability` is.
  package func flushKey(_ key: KeyControlBlock, toPrimary: Bool = false, by caller: Caller) throws(NTStatus) {
    try ask(.preFlushKey, .postFlushKey, of: key, by: caller, through: nil, { .flushKey(key: $0) }) {
      () throws(NTStatus) in
      do throws(HiveError) { try flush(key.hive, toPrimary: toPrimary) } catch { throw NTStatus(error) }
    }
  }
}
