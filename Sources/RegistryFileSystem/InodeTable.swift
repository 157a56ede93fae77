internal import ConfigurationManager
internal import Executive
internal import Synchronization

/// The nodes that the kernel holds, by number, and which object of the registry each stands for.
///
/// 1. One node per key in use and per value and view in use: two spellings of a name give the same node.
/// 2. A node stays until the kernel has forgotten every look-up of it.
/// 3. `byValue` changes only under the registry's lock, at the moment when the hive changes.
/// 4. A value's slot has either a node or a `RestingValue`: a node rests when its turn in `recent` has come and nobody else holds it.
final class InodeTable: Sendable {
  static let root: UInt64 = 1
  static let firstFree: UInt64 = 16

  /// Values that have a node though nobody has them open; more where many are open.
  private static let recentLimit = 1024

  // One for each entry that the kernel holds: 48 bytes, and 12 in `byKey` or `byValue`, before what their growth leaves free.
  private struct Slot {
    var resting: RestingValue?
    var generation: UInt32 = 0
    var node: Node?
    var lookups: UInt64 = 0
  }

  private struct State {
    var slots: [Slot]
    var free: [UInt32] = []
    var byKey: [UInt64: UInt32] = [:]
    /// By `place`.
    var byValue: [UInt64: UInt32] = [:]
    /// Values that are created and not set yet, by the id of their key.
    var pending: [UInt64: [Node]] = [:]
    /// A ring of the values that have a node, and the place in it that is next.
    var recent: [UInt32] = []
    var next = 0
  }

  /// A value's number, a multiple of 8, with the view in its lowest bit.
  private static func place(_ identity: UInt64, isRaw: Bool) -> UInt64 { isRaw ? identity | 1 : identity }

  private let registry: Registry
  private let state: Mutex<State>

  init(registry: Registry) {
    self.registry = registry
    var slots = Array(repeating: Slot(), count: Int(Self.firstFree))
    slots[Int(Self.root)] = Slot(
      node: Node(id: Self.root, generation: 0, kind: .key(registry.root, isLink: false)), lookups: 1)
    for file in ControlFile.allCases {
      slots[Int(file.nodeID)] = Slot(
        node: Node(id: file.nodeID, generation: 0, kind: .control(file)), lookups: 1)
    }
    var state = State(slots: slots)
    state.byKey[registry.root.id] = UInt32(Self.root)
    self.state = Mutex(state)
  }

  /// Nil for a number that the kernel should not have.
  func node(_ id: UInt64) -> Node? {
    guard let node = state.withLock({ Self.wake(&$0, id) }) else { return nil }
    if let value = node.value { name(value) }
    return node
  }

  /// Gives a value that has rested its name again. One that is gone stays without.
  private func name(_ value: ValueContent) {
    guard let parent = value.withLock({ $0.isNameless && !$0.isDeleted ? $0.parent : nil }) else { return }
    // Under the registry's lock: no change comes between the number and the name.
    try? registry.queryValueName(of: parent, numbered: { value.withLock { $0.isDeleted ? nil : $0.identity } }) { name in
      value.withLock { $0.storedName = $0.storedName ?? name }
    }
  }

  /// The kernel was told to forget the attributes of these values.
  func forgetAttributes(of ids: [UInt32]) {
    state.withLock { state in
      for id in ids where state.slots.indices.contains(Int(id)) {
        state.slots[Int(id)].resting?.forgetAttributes()
        state.slots[Int(id)].node?.value?.withLock { $0.isAttributeCached = false }
      }
    }
  }

  /// The node of a key, if the kernel holds one.
  func node(of key: KeyControlBlock) -> Node? {
    state.withLock { state in state.byKey[key.id].flatMap { state.slots[Int($0)].node } }
  }

  /// The node of a key that the caller holds; the table takes over (or gives back) that hold. One look-up more.
  func remember(_ key: KeyControlBlock, isLink: Bool = false) -> Node {
    let (node, isKnown) = state.withLock { state -> (Node, Bool) in
      if let id = state.byKey[key.id], let node = state.slots[Int(id)].node {
        state.slots[Int(id)].lookups += 1
        return (node, true)
      }
      let node = Self.add(&state) { Node(id: $0, generation: $1, kind: .key(key, isLink: isLink)) }
      state.byKey[key.id] = UInt32(node.id)
      return (node, false)
    }
    if isKnown { registry.close(key) }
    return node
  }

  /// The node of a value found under the registry's lock. One look-up more.
  func remember(
    _ value: ValueInformation, ordinal: Int, of parent: KeyControlBlock, isRaw: Bool
  ) -> Node {
    state.withLock { state in
      let place = Self.place(value.identity, isRaw: isRaw)
      if let id = state.byValue[place], let node = Self.wake(&state, UInt64(id)) {
        state.slots[Int(id)].lookups += 1
        node.value?.withLock { $0.storedName = $0.storedName ?? value.name }
        return node
      }
      registry.retain(parent)
      let content = Node.ValueState(
        parent: parent, name: value.name, ordinal: ordinal, identity: value.identity, type: value.type)
      let node = Self.add(&state) { Node(id: $0, generation: $1, kind: .value(isRaw: isRaw), value: content) }
      state.byValue[place] = UInt32(node.id)
      return node
    }
  }

  /// A new value that is not in the hive yet. One look-up.
  func rememberPending(_ content: Node.ValueState, isRaw: Bool) -> Node {
    registry.retain(content.parent)
    return state.withLock { state in
      let node = Self.add(&state) { Node(id: $0, generation: $1, kind: .value(isRaw: isRaw), value: content) }
      state.pending[content.parent.id, default: []].append(node)
      return node
    }
  }

  /// The value of this name that is created and not set yet. One look-up more.
  func lookUpPending(_ name: UnicodeName, in key: KeyControlBlock) -> Node? {
    state.withLock { state in
      guard let node = state.pending[key.id]?.first(where: { Self.name(of: $0)?.equalsIgnoringCase(name) == true })
      else { return nil }
      state.slots[Int(node.id)].lookups += 1
      return node
    }
  }

  /// Names, types and ids of the values below `key` that are created and not set yet.
  func pendingValues(of key: KeyControlBlock) -> [(name: UnicodeName, type: ValueType, id: UInt64)] {
    state.withLock { state in
      (state.pending[key.id] ?? []).compactMap { node in node.value?.withLock { ($0.name, $0.type, node.id) } }
    }
  }

  /// The pending value is in the hive now, under this number; or is no more (nil).
  func settle(_ node: Node, identity: UInt64?) {
    state.withLock { state in
      guard let parent = node.value?.withLock({ $0.parent }) else { return }
      state.pending[parent.id]?.removeAll { $0 === node }
      if state.pending[parent.id]?.isEmpty == true { state.pending[parent.id] = nil }
      guard let identity else { return }
      let isRaw = if case .value(let isRaw) = node.kind { isRaw } else { false }
      state.byValue[Self.place(identity, isRaw: isRaw)] = UInt32(node.id)
    }
  }

  /// Whether a value of the hive whose root is `key` is open for writing, or not set yet.
  func hasWriters(below key: KeyControlBlock) -> Bool {
    state.withLock { state in
      state.slots.contains { slot in
        slot.node?.value?.withLock { ($0.writers > 0 || $0.pendingFile != nil) && $0.parent.isOfHive(key) } ?? false
      }
    }
  }

  /// The content of `key` and below was replaced: its values stand for nothing any more. Under the registry's lock.
  func unbindAll(below key: KeyControlBlock) {
    state.withLock { state in
      for index in state.slots.indices {
        if let value = state.slots[index].resting, value.parent === key || value.parent.isDeleted {
          let place = Self.place(value.identity, isRaw: value.isRaw)
          if state.byValue[place] == UInt32(index) { state.byValue[place] = nil }
          state.slots[index].resting?.delete()
        }
        guard let node = state.slots[index].node, let content = node.value else { continue }
        let (parent, identity) = content.withLock { ($0.parent, $0.identity) }
        guard parent === key || parent.isDeleted, identity != 0 else { continue }
        for isRaw in [false, true] {
          let place = Self.place(identity, isRaw: isRaw)
          if state.byValue[place] == UInt32(node.id) { state.byValue[place] = nil }
        }
        content.withLock { state in
          state.isDeleted = true
          state.generation += 1
        }
      }
    }
  }

  /// The value with this number was set through one of its views: the other one, where the kernel holds it, has another text and size.
  /// Under the registry's lock.
  func noteChange(ofValue identity: UInt64, to type: ValueType, isExact: Bool, exceptRaw isRaw: Bool) {
    state.withLock { state in
      guard let id = state.byValue[Self.place(identity, isRaw: !isRaw)] else { return }
      state.slots[Int(id)].resting?.change(to: type, isExact: isExact)
      state.slots[Int(id)].node?.value?.withLock { content in
        content.type = type
        content.isExact = isExact
        content.lacksLineEnd = false
        content.generation += 1
      }
    }
  }

  /// The node of a value's text that somebody reads: the kernel may have pages of it.
  func readNode(ofValue identity: UInt64) -> UInt64? {
    state.withLock { state in
      guard let id = state.byValue[Self.place(identity, isRaw: false)],
        let content = state.slots[Int(id)].node?.value, content.withLock({ $0.readers > 0 })
      else { return nil }
      return UInt64(id)
    }
  }

  /// A value was deleted or written over; its nodes, one per view, stand for nothing any more. Under the registry's lock.
  func unbind(_ identity: UInt64) -> [Node] {
    state.withLock { state in
      [false, true].compactMap { isRaw in
        state.byValue.removeValue(forKey: Self.place(identity, isRaw: isRaw)).flatMap {
          Self.wake(&state, UInt64($0))
        }
      }
    }
  }

  /// `node` stands for the value with this number from now on. Under the registry's lock.
  func bind(_ node: Node, to identity: UInt64) {
    guard case .value(let isRaw) = node.kind else { return }
    state.withLock { $0.byValue[Self.place(identity, isRaw: isRaw)] = UInt32(node.id) }
  }

  /// The kernel gave up `count` look-ups.
  func forget(_ id: UInt64, count: UInt64) {
    guard id >= Self.firstFree else { return }
    // Freed outside the lock: the node, and the key that it held.
    let gone = state.withLock { state -> (node: Node?, key: KeyControlBlock?)? in
      guard state.slots.indices.contains(Int(clamping: id)) else { return nil }
      state.slots[Int(id)].lookups -= min(count, state.slots[Int(id)].lookups)
      guard state.slots[Int(id)].lookups == 0 else { return nil }
      if let value = state.slots[Int(id)].resting {
        let place = Self.place(value.identity, isRaw: value.isRaw)
        if state.byValue[place] == UInt32(id) { state.byValue[place] = nil }
        Self.free(&state, id)
        return (nil, value.parent)
      }
      guard let node = state.slots[Int(id)].node else { return nil }
      let held: KeyControlBlock?
      switch node.kind {
      case .key(let key, _):
        state.byKey[key.id] = nil
        held = key
      case .value(let isRaw):
        guard let content = node.value?.withLock({ ($0.identity, $0.pendingFile != nil, $0.parent) }) else { return nil }
        // Still to be set: its release comes later than the kernel's forget only in theory, but then it must be found.
        if content.1 { return nil }
        let place = Self.place(content.0, isRaw: isRaw)
        if state.byValue[place] == UInt32(id) { state.byValue[place] = nil }
        held = content.2
      case .control: return nil
      }
      Self.free(&state, id)
      return (node, held)
    }
    if let key = gone?.key { registry.close(key) }
  }

  private static func free(_ state: inout State, _ id: UInt64) {
    state.slots[Int(id)].node = nil
    state.slots[Int(id)].resting = nil
    state.slots[Int(id)].generation &+= 1
    state.free.append(UInt32(id))
  }

  /// The node of a slot, made where its value rests; such a one has no name.
  private static func wake(_ state: inout State, _ id: UInt64) -> Node? {
    let index = Int(clamping: id)
    guard state.slots.indices.contains(index) else { return nil }
    if let node = state.slots[index].node { return node }
    guard let value = state.slots[index].resting else { return nil }
    let node = Node(
      id: id, generation: UInt64(state.slots[index].generation), kind: .value(isRaw: value.isRaw), value: value.state)
    state.slots[index].resting = nil
    state.slots[index].node = node
    noteRecent(&state, id)
    return node
  }

  /// A value has got a node: the one whose turn it is rests. Who is in use is passed over.
  private static func noteRecent(_ state: inout State, _ id: UInt64) {
    guard state.recent.count >= recentLimit else { return state.recent.append(UInt32(id)) }
    for _ in 0..<4 {
      let place = state.next
      state.next = (place + 1) % state.recent.count
      if rest(&state, Int(state.recent[place])) {
        state.recent[place] = UInt32(id)
        return
      }
    }
    state.recent.append(UInt32(id))
  }

  /// Whether the slot has no value's node any more.
  private static func rest(_ state: inout State, _ index: Int) -> Bool {
    guard state.slots[index].node?.value != nil else { return true }
    // Only the table hands nodes out: one that nobody else holds now, nobody can get hold of meanwhile.
    guard isKnownUniquelyReferenced(&state.slots[index].node),
      let value = state.slots[index].node.flatMap({ RestingValue($0) })
    else { return false }
    state.slots[index].node = nil
    state.slots[index].resting = value
    return true
  }

  private static func name(of node: Node) -> UnicodeName? { node.value?.withLock { $0.name } }

  private static func add(_ state: inout State, _ make: (_ id: UInt64, _ generation: UInt64) -> Node) -> Node {
    let id: UInt64
    if let free = state.free.popLast() {
      id = UInt64(free)
    } else {
      id = UInt64(state.slots.count)
      // Doubling would leave half of it empty.
      if state.slots.capacity == state.slots.count { state.slots.reserveCapacity(state.slots.count * 5 / 4 + 1024) }
      state.slots.append(Slot())
    }
    let node = make(id, UInt64(state.slots[Int(id)].generation))
    state.slots[Int(id)].node = node
    state.slots[Int(id)].lookups = 1
    if node.value != nil { noteRecent(&state, id) }
    return node
  }
}
