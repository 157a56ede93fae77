package import Executive
package import HiveStorage
internal import Synchronization

/// A key as it is at one moment.
package struct KeyInformation: Sendable {
  /// The name as the hive stores it.
  package var name: UnicodeName
  package var lastWriteTime: FileTime
  package var subkeyCount: Int
  package var valueCount: Int
  /// A symbolic link to another key.
  package var isLink: Bool
  /// Unique among the keys and values of the hive; of a deleted one it may be given to another.
  package var identity: UInt64
}

/// A value as it is at one moment, without its data.
package struct ValueInformation: Sendable {
  package var name: UnicodeName
  package var type: ValueType
  /// Length of the data, bytes.
  package var size: Int
  /// The value's number in the hive, as for a key.
  package var identity: UInt64
  /// As they lie in the hive.
  package var flags: UInt16
}

/// What a hive holds and can hold.
package struct HiveSpace: Sendable, Hashable {
  /// Bytes of headers and of cells in use.
  package var used = 0
  /// Bytes free for new cells, with those by which the hive may grow: 2 GiB in all, or what the disk has.
  package var free = 0
  /// Keys and values.
  package var objects = 0

  package init(used: Int = 0, free: Int = 0, objects: Int = 0) {
    self.used = used
    self.free = free
    self.objects = objects
  }
}

/// One hive at its place in the registry, or several below `\REGISTRY`. Every change goes through the callback stack: pre, the change
/// under the exclusive lock of its hive, post. Queries take the shared lock; callbacks run with no lock held.
///
/// Lock order: the namespace's hive, another hive, then whatever the closures given to a method take, then `keys`.
///
/// 1. A `KeyControlBlock` stands for one key for as long as anybody holds it.
/// 2. A change is made only to the key that was judged: had it moved meanwhile, it is judged again under its new name.
/// 3. A change that fails leaves the hive as it was.
package final class Registry: Sendable {
  private struct KeyTable {
    /// By `LoadedHive.identity`.
    var byIdentity: [UInt64: KeyControlBlock] = [:]
    var nextID: UInt64 = 2

    /// A deleted key's cell may be another key's by now.
    mutating func remove(_ key: KeyControlBlock) {
      let identity = key.hive.identity(key.cell)
      if byIdentity[identity] === key { byIdentity[identity] = nil }
    }
  }

  /// The namespace first, where there is one.
  let hives: Mutex<[LoadedHive]>
  private let keys = Mutex(KeyTable())
  package let callbacks: CallbackStack
  package let root: KeyControlBlock
  package let isReadOnly: Bool
  package let durability: Durability
  /// One up with every change; tells the flusher that there is something to do.
  let changes = Atomic<UInt64>(0)
  /// A log is large.
  let flushWanted = KernelEvent()
  /// The number of the hive that is loaded next.
  let nextHive = Atomic<UInt32>(1)
  /// One key at a time is saved. Taken before the hive's lock.
  let saving = Mutex(())
  let onStop = Mutex<(@Sendable (String, HiveError) -> Void)?>(nil)
  private struct Watcher { weak var object: (any KeyWatcher)? }
  private let watcher = Mutex(Watcher())

  /// Puts `hive` at `completeName`, as in `\REGISTRY\MACHINE\SYSTEM`.
  package convenience init(
    hive: consuming sending Hive, completeName: UnicodeName, callbacks: CallbackStack, isReadOnly: Bool,
    durability: Durability = .fsync
  ) {
    let cell = hive.rootKey
    self.init(LoadedHive(hive, number: 0), cell, completeName, callbacks, isReadOnly, durability)
  }

  /// A registry without hives: `\REGISTRY`, whose keys `HKLM` and `HKU` are the places for them (`loadKey`, `attach`).
  package convenience init(
    callbacks: CallbackStack, isReadOnly: Bool, durability: Durability = .fsync
  ) throws(HiveError) {
    let device = MemoryDevice(name: "registry", [])
    try Hive.format(device: device, minorVersion: 5, rootName: "REGISTRY")
    var hive = try Hive(device: device, access: .readWrite)
    for place in HivePlace.Root.allCases {
      _ = try hive.createKey(under: hive.rootKey, named: place.directory.units.span, className: nil, time: .now())
    }
    let cell = hive.rootKey
    self.init(
      LoadedHive(hive, number: 0, isNamespace: true), cell, #"\REGISTRY"#, callbacks, isReadOnly, durability)
  }

  private init(
    _ hive: LoadedHive, _ rootCell: CellIndex, _ completeName: UnicodeName, _ callbacks: CallbackStack,
    _ isReadOnly: Bool, _ durability: Durability
  ) {
    root = KeyControlBlock(id: 1, parent: nil, hive: hive, cell: rootCell, placeName: completeName)
    hives = Mutex([hive])
    self.callbacks = callbacks
    self.isReadOnly = isReadOnly
    self.durability = durability
    keys.withLock { $0.byIdentity[hive.identity(rootCell)] = root }
  }

  // MARK: Keys in use

  /// One more holder; the caller holds the hive's lock. `name` is the key's own.
  func reference(_ cell: CellIndex, parent: KeyControlBlock, name: UnicodeName) -> KeyControlBlock {
    keys.withLock { table in
      let identity = parent.hive.identity(cell)
      if let key = table.byIdentity[identity] {
        key.references += 1
        return key
      }
      // In the namespace the keys have the names that people use, `HKLM` for `MACHINE`.
      let place = parent === root && parent.hive.isNamespace ? HivePlace.Root(directory: name) : nil
      let placeName = parent.hive.isNamespace ? parent.placeName?.appending(place?.name ?? name) : nil
      return Self.add(&table, below: parent, hive: parent.hive, cell: cell, placeName: placeName)
    }
  }

  /// The root of a hive at its place; one holder.
  func referenceRoot(of hive: LoadedHive, _ cell: CellIndex, below parent: KeyControlBlock, name: UnicodeName) -> KeyControlBlock {
    keys.withLock { table in
      Self.add(&table, below: parent, hive: hive, cell: cell, placeName: parent.placeName?.appending(name))
    }
  }

  private static func add(
    _ table: inout KeyTable, below parent: KeyControlBlock, hive: LoadedHive, cell: CellIndex, placeName: UnicodeName?
  ) -> KeyControlBlock {
    parent.references += 1
    let key = KeyControlBlock(id: table.nextID, parent: parent, hive: hive, cell: cell, placeName: placeName)
    table.nextID += 1
    table.byIdentity[hive.identity(cell)] = key
    return key
  }

  /// A number for a key object: from the same row as those of keys.
  func takeID() -> UInt64 {
    keys.withLock { table in
      defer { table.nextID += 1 }
      return table.nextID
    }
  }

  /// One more holder of a key that the caller holds already.
  package func retain(_ key: KeyControlBlock) {
    keys.withLock { _ in key.references += 1 }
  }

  /// One holder less; the last one lets the key go, and its parent with it.
  package func close(_ key: KeyControlBlock) {
    keys.withLock { table in
      var current: KeyControlBlock? = key
      while let key = current {
        key.references -= 1
        guard key.references == 0 else { return }
        table.remove(key)
        current = key.parent
      }
    }
  }

  /// The key's complete name now. Throws `keyDeleted`.
  package func completeName(of key: KeyControlBlock) throws(NTStatus) -> UnicodeName {
    try read(key) { hive throws(HiveError) in try key.completeName(hive) }
  }

  /// Who is told of keys that are deleted or get another number; one at most, and not kept alive by this.
  package func watchKeys(_ object: any KeyWatcher) { watcher.withLock { $0.object = object } }

  /// Lets `body` have the number of a key and runs it under the shared lock: the number is the key's meanwhile. Throws `keyDeleted`.
  package func withIdentity<Result>(of key: KeyControlBlock, _ body: (UInt64) -> Result) throws(NTStatus) -> Result {
    try read(key) { _ in body(key.identity) }
  }

  /// Lets `body` have the key that has the number `identity` gives; nil: none. Both run under the shared lock of the hive `number`,
  /// the high half of the identity. The receiver holds the key. Throws `objectNameNotFound` for a hive that is loaded no more.
  package func withKey(
    ofHive number: UInt32, numbered identity: () -> UInt64?, _ body: (KeyControlBlock) -> Void
  ) throws(NTStatus) {
    guard let loaded = hives.withLock({ $0.first { $0.number == number } }) else { throw .objectNameNotFound }
    try loaded.lock.withShared { hive throws(NTStatus) in
      guard let identity = identity() else { return }
      do throws(HiveError) {
        body(try reference(CellIndex(rawValue: UInt32(truncatingIfNeeded: identity)), of: loaded, hive))
      } catch { throw NTStatus(error) }
    }
  }

  /// One more holder of a key of which only the cell is known: its parents are found by the fields of the hive. The caller holds the
  /// hive's lock; the hive is not the namespace.
  private func reference(
    _ cell: CellIndex, of loaded: LoadedHive, _ hive: borrowing Hive
  ) throws(HiveError) -> KeyControlBlock {
    var way: [CellIndex] = []
    var next = cell
    var key: KeyControlBlock?
    while true {
      key = keys.withLock { table in
        let known = table.byIdentity[loaded.identity(next)]
        known?.references += 1
        return known
      }
      if key != nil { break }
      // A damaged hive's parents may lead in a circle.
      guard way.count < 1 << 16 else {
        throw .damaged(structure: "key node", offset: cell.fileOffset, problem: "its parents lead in a circle")
      }
      way.append(next)
      next = try hive.keyNode(at: next).parent
    }
    guard var key else { throw .keyNotFound }
    for cell in way.reversed() {
      let child = reference(cell, parent: key, name: UnicodeName(units: []))
      close(key)
      key = child
    }
    return key
  }

  func keyWithID(_ id: UInt64) -> KeyControlBlock? {
    id == 1 ? root : keys.withLock { $0.byIdentity.values.first { $0.id == id } }
  }

  /// A deleted key is out of the table at once: its cell is free.
  func forget(_ key: KeyControlBlock) {
    key.isDeleted = true
    keys.withLock { $0.remove(key) }
    watcher.withLock { $0.object }?.keyDeleted(key.identity)
  }

  /// The same for the keys in use below `key`, of the same hive, and for `key` itself where `isIncluded`.
  func forgetAll(below key: KeyControlBlock, isIncluded: Bool) {
    keys.withLock { table in
      for other in Array(table.byIdentity.values)
      where other.hive === key.hive && (other.descends(from: key) || isIncluded && other === key) {
        other.isDeleted = true
        table.remove(other)
      }
    }
    watcher.withLock { $0.object }?.keysDeleted(below: key, isIncluded: isIncluded)
  }

  /// After a rename: the hive may have given the key another cell.
  func moved(_ key: KeyControlBlock, to cell: CellIndex) {
    let old = key.identity
    keys.withLock { table in
      table.remove(key)
      key.cell = cell
      table.byIdentity[key.hive.identity(cell)] = key
    }
    if key.identity != old { watcher.withLock { $0.object }?.keyMoved(from: old, to: key.identity) }
  }
}

/// Converts the hive's errors into the registry's; the doubtful lines say why.
extension NTStatus {
  package init(_ error: HiveError) {
    switch error {
    case .damaged, .notAHive, .dirty: self = .registryCorrupt
    case .limit: self = .registryQuotaLimit
    case .invalid: self = .invalidParameter
    // A full disk is the only failure of the device that a user can do something about, so it keeps its own code.
    case .device: self = error.isPassing ? .diskFull : .registryIOFailed
    // Who meets it first is told of a failure; later changes find the hive stopped.
    case .changedOutside: self = .registryIOFailed
    // To who changes it, the hive is read-only from now on.
    case .stopped: self = .mediaWriteProtected
    case .keyNotFound: self = .objectNameNotFound
    case .nameCollision: self = .objectNameCollision
    case .cannotDelete: self = .cannotDelete
    case .readOnly: self = .mediaWriteProtected
    // The file is somebody else's: nothing that a retry of this operation would change.
    case .locked: self = .accessDenied
    }
  }
}
