internal import ConfigurationManager
internal import Executive
internal import Synchronization

/// What a `Node` that nobody uses would say, and neither the hive nor its slot in the `InodeTable` does: 10 bytes. A value's name is read
/// from the hive when a request comes for it; a key's control block is made anew.
struct RestingNode {
  /// A value's type; a key's parent, by its slot.
  private var word: UInt32
  /// Bytes of a value's text; a key's `listingEpoch`.
  private var size: UInt32
  private let ordinal: UInt8
  private var flags: Flags

  private struct Flags: OptionSet {
    let rawValue: UInt8
    static let raw = Flags(rawValue: 1)
    static let untyped = Flags(rawValue: 2)
    static let deleted = Flags(rawValue: 4)
    /// The kernel's pages have the generation that the value has.
    static let pages = Flags(rawValue: 16)
    /// `size` is known.
    static let size = Flags(rawValue: 32)
    // Of keys; values have other uses for these bits.
    static let link = Flags(rawValue: 64)
    /// A key's `isTold`.
    static let told = Flags(rawValue: 128)
    // Of values.
    static let exact = Flags(rawValue: 64)
    static let noLineEnd = Flags(rawValue: 128)
  }

  /// Of what has its node, or none: only a key's parent.
  init(parent: UInt32 = 0) {
    word = parent
    size = 0
    ordinal = 0
    flags = []
  }

  // MARK: Values

  /// A value that somebody has just asked about. Nil for what does not fit.
  init?(told type: ValueType, ordinal: Int, isRaw: Bool, size: Int) {
    guard let ordinal = UInt8(exactly: ordinal), let size = UInt32(exactly: size) else { return nil }
    word = type.rawValue
    self.size = size
    self.ordinal = ordinal
    flags = isRaw ? [.raw, .size] : .size
  }

  /// Its text has this size. False for one that is gone, and where the size does not fit.
  mutating func tell(size: Int) -> Bool {
    guard !flags.contains(.deleted), let size = UInt32(exactly: size) else { return false }
    flags.insert(.size)
    self.size = size
    return true
  }

  /// Nil for one that is open or not set yet, and for what does not fit.
  init?(value state: borrowing Node.ValueState, isRaw: Bool) {
    guard state.isResting, let ordinal = UInt8(exactly: state.ordinal) else { return nil }
    word = state.type.rawValue
    self.ordinal = ordinal
    var flags: Flags = isRaw ? .raw : []
    if state.isUntyped { flags.insert(.untyped) }
    if state.isDeleted { flags.insert(.deleted) }
    if state.isExact { flags.insert(.exact) }
    if state.lacksLineEnd { flags.insert(.noLineEnd) }
    if state.cachedGeneration == state.generation { flags.insert(.pages) }
    if let known = state.size, known.generation == state.generation, let bytes = UInt32(exactly: known.bytes) {
      flags.insert(.size)
      size = bytes
    } else {
      size = 0
    }
    self.flags = flags
  }

  var isRaw: Bool { flags.contains(.raw) }

  /// The node's state again, without its name. Generations begin anew: only open files compare them.
  func state(parent: KeyControlBlock, identity: UInt64) -> Node.ValueState {
    var state = Node.ValueState(
      parent: parent, name: nil, ordinal: Int(ordinal), identity: identity, type: ValueType(rawValue: word))
    state.isUntyped = flags.contains(.untyped)
    state.isDeleted = flags.contains(.deleted)
    state.isExact = flags.contains(.exact)
    state.lacksLineEnd = flags.contains(.noLineEnd)
    if flags.contains(.pages) { state.cachedGeneration = state.generation }
    if flags.contains(.size) { state.size = (state.generation, Int(size)) }
    return state
  }

  /// The value is gone, or another's text is there: nothing that is known of it holds.
  mutating func delete() {
    flags.insert(.deleted)
    flags.subtract([.pages, .size])
  }

  /// The value was set through its other view.
  mutating func change(to type: ValueType, isExact: Bool) {
    word = type.rawValue
    flags.subtract([.pages, .size, .exact, .noLineEnd])
    if isExact { flags.insert(.exact) }
  }

  // MARK: Keys

  /// Nil for what is no key.
  init?(key node: Node, parent: UInt32) {
    guard case .key(_, let isLink) = node.kind else { return nil }
    word = parent
    size = node.listingEpoch.load(ordering: .sequentiallyConsistent)
    ordinal = 0
    flags = isLink ? .link : []
    if node.isTold.load(ordering: .sequentiallyConsistent) { flags.insert(.told) }
  }

  var parent: UInt32 { word }
  var isLink: Bool { flags.contains(.link) }
  var isTold: Bool { flags.contains(.told) }
  var listingEpoch: UInt32 { size }
}
