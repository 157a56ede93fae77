internal import ConfigurationManager
internal import Executive
internal import Synchronization

/// What the kernel knows by a number: a key's directory, a value's file, or a file of the control directory.
final class Node: Sendable {
  enum Kind: Sendable {
    /// A link is not entered: it is read, and the kernel goes where it leads.
    case key(KeyControlBlock, isLink: Bool)
    /// `isRaw`: the `%raw` view, its own file with the value's bytes.
    case value(isRaw: Bool)
    case control(ControlFile)
    case alias(Alias, of: KeyControlBlock)
  }

  /// What changes of a value's file. Guarded by the node's mutex, which is the last in the lock order.
  struct ValueState {
    var parent: KeyControlBlock
    /// Nil only between waking and `InodeTable.node`, and for a value that was deleted while it rested.
    var storedName: UnicodeName?
    var ordinal: Int
    /// The value's number in the hive; 0 while it is not there yet.
    var identity: UInt64
    var type: ValueType
    /// Made in this mount without a type: renamed onto a value it takes that one's.
    var isUntyped = false
    var isDeleted = false
    /// Made and not in the hive yet; its type and text are there.
    var unsaved: UnsavedValue?
    /// Handles open for writing: no attribute may be cached meanwhile.
    var writers = 0
    var readers = 0
    /// One up with every change of the text.
    var generation: UInt64 = 1
    /// The generation that the kernel's pages were filled with.
    var cachedGeneration: UInt64 = 0
    /// Bytes of the text, and the generation that they were counted in.
    var size: (generation: UInt64, bytes: Int)?
    /// What it was when it was removed while somebody had it open: they read on.
    var lastText: [UInt8]?
    /// Set while a handle has written or emptied a value of the hive, and has not set it yet. The value shows the size of what it has: other
    /// handles read that.
    var unsavedSize: Int? {
      didSet { if unsavedSize == nil { (unsavedType, unsavedData) = (nil, nil) } }
    }
    /// The type, and the exact bytes in the place of the text, that attributes gave meanwhile for what will be set.
    var unsavedType: ValueType?
    var unsavedData: [UInt8]?
    /// The bytes were given as such, by `user.reg.data` or `%raw`: another type leaves them as they are.
    var isExact = false
    /// Made as a text without a line end, which its file shows all the same: read anew as another type it has none.
    var lacksLineEnd = false

    init(parent: KeyControlBlock, name: UnicodeName?, ordinal: Int = 1, identity: UInt64, type: ValueType) {
      self.parent = parent
      storedName = name
      self.ordinal = ordinal
      self.identity = identity
      self.type = type
    }

    /// Nil for one that is not saved and has none yet.
    var knownType: ValueType? { unsaved.map { $0.type ?? $0.likelyType } ?? type }

    var name: UnicodeName {
      get { storedName ?? UnicodeName(units: []) }
      set { storedName = newValue }
    }

    /// Deleted while nobody had it open: there is nothing left to ask about it.
    var isNameless: Bool { storedName == nil }

    /// Nothing is under way with it.
    var isResting: Bool { readers == 0 && writers == 0 && unsaved == nil }
  }

  let id: UInt64
  /// Tells apart the nodes that had the same id one after the other.
  let generation: UInt64
  let kind: Kind
  /// Nil for all but values.
  let value: ValueContent?
  var isRawView: Bool { if case .value(isRaw: true) = kind { true } else { false } }
  /// For a key: its attributes were told since the kernel was last told to forget them, or forgot them by itself.
  let isTold = Atomic(false)
  /// For a key: at which `RegistryFileSystem.listingEpoch` the kernel may have begun to keep what it lists; 0: never.
  let listingEpoch = Atomic<UInt32>(0)
  /// For a key: how many handles of its values are closed and set something at their release.
  let closingHandles = Atomic<UInt32>(0)
  /// For a key: held while the kernel is told to forget. Who has changed something meanwhile, and finds that nothing is left to tell,
  /// must not go on before it is told.
  let telling = Mutex(())

  init(id: UInt64, generation: UInt64, kind: Kind, value: ValueState? = nil) {
    self.id = id
    self.generation = generation
    self.kind = kind
    self.value = value.map { ValueContent($0) }
  }
}

/// The changing part of a value's node behind its lock.
final class ValueContent: Sendable {
  private let state: Mutex<Node.ValueState>

  init(_ state: Node.ValueState) { self.state = Mutex(state) }

  func withLock<Result>(_ body: (inout Node.ValueState) -> Result) -> Result {
    state.withLock { state in body(&state) }
  }
}
