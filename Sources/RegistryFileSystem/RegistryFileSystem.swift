package import ConfigurationManager
package import Executive
internal import Glibc
internal import Synchronization

/// The registry as a file system, without FUSE: keys are directories, values are files. SEMANTICS.md is its contract.
///
/// Paths to a change: every one ends in a method of `Registry` that dispatches it; nothing here touches a hive.
package final class RegistryFileSystem: Sendable {
  let registry: Registry
  let presentation: Presentation
  let inodes: InodeTable
  let habits = LookUpHabits()
  /// Something waits for a reader of events.
  package let eventArrival = KernelEvent()
  let handler: any ControlHandler
  private let openWatcher: (any OpenWatcher)?
  private let cacheBox = Mutex<(any KernelCache)?>(nil)
  /// One up when names have changed that the kernel does not know of; never 0.
  let listingEpoch = Atomic<UInt32>(1)
  /// Handles of views.
  let openViews = Atomic(0)
  /// The longest text a value can have, bytes; beyond it a write is refused at once.
  let largestText: Int
  let removed = RemovedValues()
  let suffixed = SuffixedValues()
  let scratchMemory: ScratchMemory
  let usesScratchNames: Bool
  /// Signalled when a value waits to be promoted.
  let promotionWanted = KernelEvent()
  /// Monotonic, nanoseconds.
  let now: @Sendable () -> UInt64
  let whenLost: @Sendable (LostValue) -> Void

  /// `usesScratchNames`: what programs make under names of temporary files stays in memory; `whenLost` is told of each of these whose
  /// promotion was refused or failed. `now` is a monotonic clock of nanoseconds.
  package init(
    registry: Registry, presentation: Presentation, largestText: Int, handler: any ControlHandler,
    openWatcher: (any OpenWatcher)? = nil, usesScratchNames: Bool = true, scratchMemory: ScratchMemory = ScratchMemory(),
    whenLost: @escaping @Sendable (LostValue) -> Void = { _ in }, now: @escaping @Sendable () -> UInt64 = MonotonicClock.nanoseconds
  ) {
    self.openWatcher = openWatcher
    self.usesScratchNames = usesScratchNames
    self.scratchMemory = scratchMemory
    self.whenLost = whenLost
    self.now = now
    self.registry = registry
    self.presentation = presentation
    self.largestText = largestText
    self.handler = handler
    inodes = InodeTable(registry: registry)
  }

  /// Who is told of changes that the kernel cannot see; set once the session is there.
  package func attach(_ cache: any KernelCache) { cacheBox.withLock { $0 = cache } }

  var cache: (any KernelCache)? { cacheBox.withLock { $0 } }

  /// A value was opened, or made: who waits for such names is told.
  func tellOpened(_ name: UnicodeName, of key: KeyControlBlock, by caller: Caller) {
    guard let openWatcher, openWatcher.isWatched(name), let keyName = try? registry.completeName(of: key) else { return }
    openWatcher.opened(name, of: keyName, by: caller)
  }

  // MARK: Names

  /// Finds `name` in a directory for a process that asks about it. One look-up more on the node of the answer.
  package func lookUp(
    _ name: UnsafePointer<CChar>, in parent: UInt64, by caller: Caller
  ) throws(Errno) -> Entry {
    let entry = try lookUp(name, in: parent)
    habits.note(entry.attributes.kind, by: caller.threadID)
    return entry
  }

  /// Finds `name` in a directory. One look-up more on the node of the answer.
  package func lookUp(_ name: UnsafePointer<CChar>, in parent: UInt64) throws(Errno) -> Entry {
    let spelled = Self.bytes(name)
    // Newer kernels pass longer names on than statfs tells of.
    guard spelled.count <= NameCodec.maximumBytes else { throw .nameTooLong }
    guard let node = inodes.node(parent) else { throw .noEntry }
    switch node.kind {
    case .control(.directory):
      if let file = ControlFile(inDirectory: spelled) { return entry(for: file) }
      guard let view = try lookUpView(named: spelled) else { throw .noEntry }
      return view
    case .alias(.directory(let view), let key): return try lookUp(spelled, inView: view, of: key)
    case .key, .value, .control, .alias: break
    }
    if parent == InodeTable.root, let file = ControlFile(inRoot: spelled) { return entry(for: file) }
    guard case .key(let key, isLink: false) = node.kind else { throw .notDirectory }
    // What is no name at all is simply not there.
    guard let wanted = try? decode(spelled, in: key) else { throw .noEntry }
    var question = ValueQuestion(in: node, of: key, view: wanted.suffix == .raw ? .bytes : presentation.view)
    let sight = try resolve(
      wanted, spelled: spelled, in: key, isRead: ValueQuestion.isShort, piece: { question.add($1, of: $0) },
      value: { value, time, ordinal, isRaw in
        if let entry = answer(question, value, time, ordinal: ordinal, isRaw: isRaw, isExactSpelling: isExact(spelled, value.name)) {
          return Sight.entry(entry)
        }
        return .found(Found(node: inodes.remember(value, ordinal: ordinal, of: key, isRaw: isRaw), name: value.name))
      }, found: { .found($0) })
    let found: Found
    switch sight {
    case .entry(let entry): return entry
    case .found(let object): found = object
    }
    do { return try entry(for: found, spelled: spelled) } catch {
      // Gone between finding it and asking for its attributes.
      inodes.forget(found.node.id, count: 1)
      throw error
    }
  }

  /// The kernel gave up `count` look-ups of a node.
  package func forget(_ nodeID: UInt64, count: UInt64) { inodes.forget(nodeID, count: count) }

  /// What a file name stands for; its node holds one look-up more.
  struct Found {
    var node: Node
    /// The registry's own spelling.
    var name: UnicodeName
    /// Set for a key.
    var information: KeyInformation?
  }

  /// What a look-up comes to: the answer itself for a value that needs no node.
  private enum Sight {
    case entry(Entry)
    case found(Found)
  }

  /// Finds what a decoded name stands for. Throws ENOENT.
  func resolve(_ wanted: EntryName, spelled: [UInt8], in key: KeyControlBlock) throws(Errno) -> Found {
    try resolve(
      wanted, spelled: spelled, in: key, isRead: { _ in false }, piece: { _, _ in },
      value: { value, _, ordinal, isRaw in
        Found(node: inodes.remember(value, ordinal: ordinal, of: key, isRaw: isRaw), name: value.name)
      }, found: { $0 })
  }

  /// The same, with what `value` makes of a value of the hive, under the registry's lock, after `piece` has got its data if it `isRead`.
  private func resolve<Result>(
    _ wanted: EntryName, spelled: [UInt8], in key: KeyControlBlock, isRead: (ValueInformation) -> Bool,
    piece: (ValueType, UnsafeRawBufferPointer) -> Void,
    value make: (ValueInformation, _ lastWriteTime: FileTime, _ ordinal: Int, _ isRaw: Bool) -> Result, found: (Found) -> Result
  ) throws(Errno) -> Result {
    var wanted = wanted
    if case .lost(let offset) = wanted.suffix { throw try isLost(offset, in: key) ? .unclean : .noEntry }
    if wanted.isShortened { wanted.name = try lengthen(wanted, spelled: spelled, in: key) }
    if wanted.suffix == .none, try hasCurrentControlSet(named: wanted.name, in: key) {
      registry.retain(key)
      return found(Found(node: inodes.remember(.currentControlSet, of: key), name: Self.currentControlSetName))
    }
    var ordinal = 1
    var space = NameSpace.keysThenValues
    switch wanted.suffix {
    case .none, .lost: if wanted.name.isEmpty { space = .values }
    case .twin(let number, let isHiddenValue):
      ordinal = number
      if isHiddenValue { space = .values }
    case .value, .raw, .type: space = .values
    }
    let isRaw = wanted.suffix == .raw
    let isKeyOnly = wanted.suffix == .none && suffixed.contains(wanted.name, of: key)
    if isKeyOnly { space = .keys }
    do throws(NTStatus) {
      // Under the registry's lock: no change comes between finding the object and noting its node.
      let result = try registry.lookUp(wanted.name, in: key, among: space, ordinal: ordinal, isRead: isRead, piece: piece) {
        object -> Result? in
        switch object {
        case .key(let child, let information):
          return found(
            Found(node: inodes.remember(child, isLink: information.isLink), name: information.name, information: information))
        case .value(let value, let time):
          if case .type(let type) = wanted.suffix, value.type != type { return nil }
          return make(value, time, ordinal, isRaw)
        }
      }
      guard let result else { throw NTStatus.objectNameNotFound }
      return result
    } catch {
      guard error == .objectNameNotFound, ordinal == 1, !isKeyOnly, let node = inodes.lookUpUnsaved(wanted.name, in: key),
        let state = node.value?.withLock({ ($0.name, $0.knownType, $0.unsaved?.view) })
      else { throw Errno(error) }
      // A value that is not there yet has one node: with bytes as its text both views are the same.
      let isOther =
        isRaw ? state.2 != .bytes && !(state.1.map { ValueCodec.showsBytes($0, as: presentation.view) } ?? false)
          : wanted.suffix.type.map { $0 != state.1 } ?? false
      if isOther {
        inodes.forget(node.id, count: 1)
        throw .noEntry
      }
      return found(Found(node: node, name: state.0))
    }
  }

  private func isLost(_ offset: Int, in key: KeyControlBlock) throws(Errno) -> Bool {
    do throws(NTStatus) {
      if try registry.enumerateKeys(of: key, { _, _, _ in }).contains(offset) { return true }
      return try registry.enumerateValues(of: key) { _ in }.contains(offset)
    } catch { throw Errno(error) }
  }

  /// The name that was shortened to these bytes: that of the child which encodes to them. Throws ENOENT.
  private func lengthen(
    _ wanted: EntryName, spelled: [UInt8], in key: KeyControlBlock
  ) throws(Errno) -> UnicodeName {
    var match: UnicodeName?
    func consider(_ name: UnicodeName) {
      guard match == nil, name.units.count >= NameCodec.fewestUnitsShortened else { return }
      var bytes: [UInt8] = []
      NameCodec.encode(name, suffix: wanted.suffix, into: &bytes)
      if bytes == spelled { match = name }
    }
    do throws(NTStatus) {
      _ = try registry.enumerateKeys(of: key) { name, _, _ in consider(name) }
      _ = try registry.enumerateValues(of: key) { consider($0.name) }
    } catch { throw Errno(error) }
    guard let match else { throw .noEntry }
    return match
  }

  /// The answer for what was found; the entry may stay in the kernel's cache only under the registry's own spelling.
  func entry(for found: Found, spelled: [UInt8]) throws(Errno) -> Entry {
    // A change of a value elsewhere makes an alias, or ends it.
    let isAlias = if case .alias = found.node.kind { true } else { false }
    return Entry(
      nodeID: found.node.id, generation: found.node.generation,
      attributes: try attributes(of: found.node, key: found.information),
      isExactSpelling: !isAlias && isExact(spelled, found.name))
  }

  private func entry(for file: ControlFile) -> Entry {
    Entry(nodeID: file.nodeID, generation: 0, attributes: attributes(of: file), isExactSpelling: true)
  }

  /// Whether the bytes are the registry name's own file name. One with a suffix never is: whether that is listed depends on its
  /// neighbours.
  func isExact(_ spelled: [UInt8], _ name: UnicodeName) -> Bool {
    var bytes: [UInt8] = []
    NameCodec.encode(name, into: &bytes)
    return bytes == spelled
  }

  // MARK: Small things

  func key(of nodeID: UInt64) throws(Errno) -> KeyControlBlock {
    guard let node = inodes.node(nodeID) else { throw .noEntry }
    guard case .key(let key, isLink: false) = node.kind else { throw .notDirectory }
    return key
  }

  static func bytes(_ name: UnsafePointer<CChar>) -> [UInt8] {
    // SAFETY: the name ends with a NUL; up to there it can be read.
    Array(UnsafeRawBufferPointer(start: name, count: strlen(name)))
  }

  /// A name for something new: no suffix but a type (for values), within the format's limits.
  func newName(_ spelled: [UInt8], isKey: Bool, in key: KeyControlBlock? = nil) throws(Errno) -> EntryName {
    let name = if let key { try decode(spelled, in: key) } else { try NameCodec.decode(spelled) }
    switch name.suffix {
    case .none: break
    case .type, .value, .raw: if isKey { throw .invalid }
    case .twin, .lost: throw .invalid
    }
    guard !name.isShortened else { throw .invalid }
    if isKey {
      guard !name.name.isEmpty, !name.name.units.contains(0x5C) else { throw .invalid }
    }
    guard name.name.units.count <= (isKey ? 255 : 16383) else { throw .nameTooLong }
    return name
  }

  /// The registry name that a path below the mount's root stands for; nil when a component is no name.
  func registryName(ofPath path: some Sequence<UInt8>) -> UnicodeName? {
    var components: [UnicodeName] = []
    for component in Array(path).split(separator: 0x2F) {
      guard let decoded = try? NameCodec.decode(component) else { return nil }
      components.append(decoded.name)
    }
    return registry.completeName(ofPath: components)
  }

  /// What the node's hive holds and can hold; nothing of one that is damaged where that is counted.
  package func space(of nodeID: UInt64) -> HiveSpace {
    (try? registry.querySpace(of: hiveKey(of: nodeID))) ?? HiveSpace()
  }

  /// fsync(2): FlushKey, every change of the node's hive so far survives power loss, unless the mount puts that off.
  package func sync(_ nodeID: UInt64, by caller: Caller) throws(Errno) {
    do { try registry.flushKey(hiveKey(of: nodeID), by: caller) } catch { throw Errno(error) }
  }

  /// A key of the hive that the node lies in.
  private func hiveKey(of nodeID: UInt64) -> KeyControlBlock {
    guard let node = inodes.node(nodeID) else { return registry.root }
    switch node.kind {
    case .key(let key, _), .alias(_, let key): return key
    case .value, .control: break
    }
    return node.value?.withLock { $0.parent } ?? registry.root
  }
}
