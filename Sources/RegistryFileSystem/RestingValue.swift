internal import ConfigurationManager
internal import Executive

/// A value that the kernel holds and nobody has open: what a `Node` of it would say and the hive does not, 27 bytes. Its name is read
/// from the hive when a request comes for it.
struct RestingValue {
  let parent: KeyControlBlock
  let identity: UInt64
  private var type: ValueType
  /// Bytes of the text.
  private let size: UInt32
  private let ordinal: UInt16
  private var flags: Flags

  private struct Flags: OptionSet {
    let rawValue: UInt8
    static let raw = Flags(rawValue: 1)
    static let untyped = Flags(rawValue: 2)
    static let deleted = Flags(rawValue: 4)
    /// `isAttributeCached`.
    static let attributes = Flags(rawValue: 8)
    /// The kernel's pages have the generation that the value has.
    static let pages = Flags(rawValue: 16)
    /// `size` is known.
    static let size = Flags(rawValue: 32)
    static let exact = Flags(rawValue: 64)
    static let noLineEnd = Flags(rawValue: 128)
  }

  /// Nil for what is no value, for one that is open or not set yet, and for what does not fit.
  init?(_ node: Node) {
    guard case .value(let isRaw) = node.kind, let state = node.value?.withLock({ $0 }), state.isResting,
      let ordinal = UInt16(exactly: state.ordinal)
    else { return nil }
    parent = state.parent
    identity = state.identity
    type = state.type
    self.ordinal = ordinal
    var flags: Flags = isRaw ? .raw : []
    if state.isUntyped { flags.insert(.untyped) }
    if state.isDeleted { flags.insert(.deleted) }
    if state.isExact { flags.insert(.exact) }
    if state.lacksLineEnd { flags.insert(.noLineEnd) }
    if state.isAttributeCached { flags.insert(.attributes) }
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
  var state: Node.ValueState {
    var state = Node.ValueState(parent: parent, name: nil, ordinal: Int(ordinal), identity: identity, type: type)
    state.isUntyped = flags.contains(.untyped)
    state.isDeleted = flags.contains(.deleted)
    state.isExact = flags.contains(.exact)
    state.lacksLineEnd = flags.contains(.noLineEnd)
    state.isAttributeCached = flags.contains(.attributes)
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
    self.type = type
    flags.subtract([.pages, .size, .exact, .noLineEnd])
    if isExact { flags.insert(.exact) }
  }

  mutating func forgetAttributes() { flags.remove(.attributes) }
}
