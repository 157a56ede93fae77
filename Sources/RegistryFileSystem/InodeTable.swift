internal import ConfigurationManager
internal import Executive
internal import Synchronization

/// The nodes that the kernel holds, by number, and which object of the registry each stands for.
///
/// 1. One node per key in use and per value and view in use: two spellings of a name give the same node.
/// 2. A node stays until the kernel has forgotten every look-up of it.
/// 3. `byValue` changes only under the registry's lock, at the moment when the hive changes.
final class InodeTable: Sendable {
  static let root: UInt64 = 1
  static let firstFree: UInt64 = 16

  private struct Slot {
    var node: Node?
    var lookups: UInt64 = 0
    var generation: UInt64 = 0
  }

  private struct ValueKey: Hashable {
    var identity: UInt64
    var isRaw: Bool
  }

  private struct State {
    var slots: [Slot]
    var free: [UInt64] = []
    var byKey: [UInt64: UInt64] = [:]
    var byValue: [ValueKey: UInt64] = [:]
    /// Values that are created and not set yet, by the id of their key.
    var pending: [UInt64: [Node]] = [:]
  }

  private let registry: Registry
  private let state: Mutex<State>

  init(registry: Registry) {
    self.registry = registry
    var slots = Array(repeating: Slot(), count: Int(Self.firstFree))
    slots[Int(Self.root)] = Slot(
      node: Node(id: Self.root, generation: 0, kind: .key(registry.root, isLink: false)), lookups: 1, generation: 0)
    for file in ControlFile.allCases {
      slots[Int(file.nodeID)] = Slot(
        node: Node(id: file.nodeID, generation: 0, kind: .control(file)), lookups: 1, generation: 0)
    }
    var state = State(slots: slots)
    state.byKey[registry.root.id] = Self.root
    self.state = Mutex(state)
  }

  /// Nil for a number that the kernel should not have.
  func node(_ id: UInt64) -> Node? {
    state.withLock { $0.slots.indices.contains(Int(clamping: id)) ? $0.slots[Int(id)].node : nil }
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
      state.byKey[key.id] = node.id
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
      let place = ValueKey(identity: value.identity, isRaw: isRaw)
      if let id = state.byValue[place], let node = state.slots[Int(id)].node {
        state.slots[Int(id)].lookups += 1
        return node
      }
      registry.retain(parent)
      let content = Node.ValueState(
        parent: parent, name: value.name, ordinal: ordinal, identity: value.identity, type: value.type)
      let node = Self.add(&state) { Node(id: $0, generation: $1, kind: .value(isRaw: isRaw), value: content) }
      state.byValue[place] = node.id
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

  /// Names and ids of the values below `key` that are created and not set yet.
  func pendingValues(of key: KeyControlBlock) -> [(name: UnicodeName, id: UInt64)] {
    state.withLock { state in
      (state.pending[key.id] ?? []).compactMap { node in Self.name(of: node).map { ($0, node.id) } }
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
      state.byValue[ValueKey(identity: identity, isRaw: isRaw)] = node.id
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
      for slot in state.slots {
        guard let node = slot.node, let content = node.value else { continue }
        let (parent, identity) = content.withLock { ($0.parent, $0.identity) }
        guard parent === key || parent.isDeleted, identity != 0 else { continue }
        for isRaw in [false, true] {
          let place = ValueKey(identity: identity, isRaw: isRaw)
          if state.byValue[place] == node.id { state.byValue[place] = nil }
        }
        content.withLock { state in
          state.isDeleted = true
          state.generation += 1
        }
      }
    }
  }

  /// A value was deleted or written over; its nodes, one per view, stand for nothing any more. Under the registry's lock.
  func unbind(_ identity: UInt64) -> [Node] {
    state.withLock { state in
      [false, true].compactMap { isRaw in
        state.byValue.removeValue(forKey: ValueKey(identity: identity, isRaw: isRaw)).flatMap {
          state.slots[Int($0)].node
        }
      }
    }
  }

  /// `node` stands for the value with this number from now on. Under the registry's lock.
  func bind(_ node: Node, to identity: UInt64) {
    guard case .value(let isRaw) = node.kind else { return }
    state.withLock { $0.byValue[ValueKey(identity: identity, isRaw: isRaw)] = node.id }
  }

  /// The kernel gave up `count` look-ups.
  func forget(_ id: UInt64, count: UInt64) {
    guard id >= Self.firstFree else { return }
    let gone = state.withLock { state -> Node? in
      guard state.slots.indices.contains(Int(clamping: id)), let node = state.slots[Int(id)].node else { return nil }
      state.slots[Int(id)].lookups -= min(count, state.slots[Int(id)].lookups)
      guard state.slots[Int(id)].lookups == 0 else { return nil }
      switch node.kind {
      case .key(let key, _): state.byKey[key.id] = nil
      case .value(let isRaw):
        guard let content = node.value?.withLock({ ($0.identity, $0.pendingFile != nil) }) else { break }
        // Still to be set: its release comes later than the kernel's forget only in theory, but then it must be found.
        if content.1 { return nil }
        let place = ValueKey(identity: content.0, isRaw: isRaw)
        if state.byValue[place] == id { state.byValue[place] = nil }
      case .control: return nil
      }
      state.slots[Int(id)].node = nil
      state.slots[Int(id)].generation += 1
      state.free.append(id)
      return node
    }
    guard let gone else { return }
    switch gone.kind {
    case .key(let key, _): registry.close(key)
    case .value: if let parent = gone.value?.withLock({ $0.parent }) { registry.close(parent) }
    case .control: break
    }
  }

  private static func name(of node: Node) -> UnicodeName? { node.value?.withLock { $0.name } }

  private static func add(_ state: inout State, _ make: (_ id: UInt64, _ generation: UInt64) -> Node) -> Node {
    let id: UInt64
    if let free = state.free.popLast() {
      id = free
    } else {
      id = UInt64(state.slots.count)
      state.slots.append(Slot())
    }
    let node = make(id, state.slots[Int(id)].generation)
    state.slots[Int(id)].node = node
    state.slots[Int(id)].lookups = 1
    return node
  }
}
