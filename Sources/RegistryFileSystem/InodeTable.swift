internal import ConfigurationManager
internal import Executive
internal import Synchronization

/// The nodes that the kernel holds, by number, and which object of the registry each stands for.
///
/// 1. One node per key in use and per value and view in use: two spellings of a name give the same node.
/// 2. A node stays until the kernel has forgotten every look-up of it.
/// 3. `byPlace` changes only under the registry's lock, at the moment when the hive changes, and when the kernel forgets.
/// 4. A slot has either a node or a `RestingNode`: a node rests when its turn in `recent` has come and nobody else holds it. The node of
///    a key holds its control block; a key that rests holds none, and its place is its number as long as there is such a key.
final class InodeTable: KeyWatcher {
  static let root: UInt64 = 1
  static let firstFree: UInt64 = 16

  /// Keys and values that have a node though nobody uses them; more where many are in use.
  private static let recentLimit = 1024

  private enum Occupant {
    case none
    case node(Node)
    case restingValue(of: KeyControlBlock)
    case restingKey
  }

  // One for each entry that the kernel holds: 40 bytes, and 5 to 11 in `byPlace`, before what their growth leaves free.
  private struct Slot {
    /// By `place`; 0 for what is not in the hive, yet or any more.
    var place: UInt64 = 0
    var occupant = Occupant.none
    var resting = RestingNode()
    var generation: UInt16 = 0
    /// At its highest number it stays there, and the slot with it.
    var lookups: UInt32 = 0
    /// The slots of a key's values whose attributes the kernel may hold, in a ring without an end: the key's slot is `before` the first. 0: none.
    var next: UInt32 = 0
    var before: UInt32 = 0

    var node: Node? { if case .node(let node) = occupant { node } else { nil } }

    mutating func lookedUp() { lookups = lookups == .max ? .max : lookups + 1 }
  }

  private struct State {
    var slots: [Slot]
    var free: [UInt32] = []
    private var byPlace = PlaceIndex()
    /// Values that are not in the hive yet, by the id of their key.
    var unsaved: [UInt64: [Node]] = [:]
    /// A ring of the keys and values that have a node, and the place in it that is next.
    var recent: [UInt32] = []
    var next = 0

    init(slots: [Slot]) { self.slots = slots }

    func slot(at place: UInt64) -> Int? {
      byPlace.find(place) { slots[Int($0)].place }.map { Int($0) }
    }

    /// The slot loses the place that it had, and the place the slot that it had.
    mutating func put(_ index: Int, at place: UInt64) {
      clear(index)
      if let old = slot(at: place) { clear(old) }
      slots[index].place = place
      byPlace.insert(UInt32(index)) { slots[Int($0)].place }
    }

    /// The slot stands for nothing in the hive any more.
    mutating func clear(_ index: Int) {
      guard slots[index].place != 0 else { return }
      byPlace.remove(slots[index].place) { slots[Int($0)].place }
      slots[index].place = 0
    }
  }

  /// The number of a key or value, a multiple of 8, with the view in its lowest bit.
  private static func place(_ identity: UInt64, isRaw: Bool) -> UInt64 { isRaw ? identity | 1 : identity }

  /// Beside those of values: no value has this in its lowest bits.
  private static func place(_ alias: Alias, of key: KeyControlBlock) -> UInt64 { key.id << 8 | alias.number << 3 | 2 }

  private let registry: Registry
  private let state: Mutex<State>

  init(registry: Registry) {
    self.registry = registry
    var slots = Array(repeating: Slot(), count: Int(Self.firstFree))
    let root = Node(id: Self.root, generation: 0, kind: .key(registry.root, isLink: false))
    slots[Int(Self.root)] = Slot(occupant: .node(root), lookups: 1)
    for file in ControlFile.allCases {
      slots[Int(file.nodeID)] = Slot(
        occupant: .node(Node(id: file.nodeID, generation: 0, kind: .control(file))), lookups: 1)
    }
    var state = State(slots: slots)
    state.put(Int(Self.root), at: registry.root.identity)
    self.state = Mutex(state)
    registry.watchKeys(self)
  }

  /// Nil for a number that the kernel should not have, and for that of a key that was deleted while it rested. Takes the lock of a
  /// key's hive: not to be called under it.
  func node(_ id: UInt64) -> Node? {
    let (node, place) = state.withLock { state -> (Node?, UInt64) in
      if let node = wake(&state, id) { return (node, 0) }
      return (nil, Self.restingPlace(&state, id) ?? 0)
    }
    if place != 0 { return wakeKey(id, place) }
    if let value = node?.value { name(value) }
    return node
  }

  /// The node of a key that rests, with a control block of its own.
  private func wakeKey(_ id: UInt64, _ place: UInt64) -> Node? {
    var node: Node?
    // Under the registry's lock: no change comes between the number and the key.
    try? registry.withKey(
      ofHive: UInt32(place >> 32), numbered: { state.withLock { Self.restingPlace(&$0, id) } }
    ) { key in
      let isAwake = state.withLock { state in
        // Somebody else may have come first.
        if let known = state.slots[Int(id)].node {
          node = known
          return true
        }
        node = wake(&state, Int(id), key)
        return false
      }
      if isAwake { registry.close(key) }
    }
    // Awake meanwhile, or gone.
    return node ?? state.withLock { wake(&$0, id) }
  }

  private static func restingPlace(_ state: inout State, _ id: UInt64) -> UInt64? {
    let index = Int(clamping: id)
    guard state.slots.indices.contains(index), case .restingKey = state.slots[index].occupant,
      state.slots[index].place != 0
    else { return nil }
    return state.slots[index].place
  }

  /// The slot's key rests, and `key` is its control block, which the node holds from now on.
  private func wake(_ state: inout State, _ index: Int, _ key: KeyControlBlock) -> Node {
    let resting = state.slots[index].resting
    let node = Node(
      id: UInt64(index), generation: UInt64(state.slots[index].generation), kind: .key(key, isLink: resting.isLink))
    node.isTold.store(resting.isTold, ordering: .sequentiallyConsistent)
    node.listingEpoch.store(resting.listingEpoch, ordering: .sequentiallyConsistent)
    state.slots[index].occupant = .node(node)
    noteRecent(&state, UInt64(index))
    return node
  }

  /// The slot of the key with this number. What a callback has deleted by itself may have left its own there.
  private static func keySlot(_ state: inout State, at identity: UInt64) -> Int? {
    guard let index = state.slot(at: identity) else { return nil }
    switch state.slots[index].occupant {
    case .restingKey: return index
    case .node(let node): if case .key = node.kind { return index }
    case .none, .restingValue: break
    }
    state.clear(index)
    return nil
  }

  /// Gives a value that has rested its name again. One that is gone stays without.
  private func name(_ value: ValueContent) {
    guard let parent = value.withLock({ $0.isNameless && !$0.isDeleted ? $0.parent : nil }) else { return }
    // Under the registry's lock: no change comes between the number and the name.
    try? registry.queryValueName(of: parent, numbered: { value.withLock { $0.isDeleted ? nil : $0.identity } }) { name in
      value.withLock { $0.storedName = $0.storedName ?? name }
    }
  }

  // MARK: Values whose attributes the kernel may hold

  /// The value's attributes are about to be told: they are dropped when the time of `directory` changes, which is its key's.
  func noteTold(_ value: UInt64, in directory: UInt64) { state.withLock { Self.noteTold(&$0, Int(value), in: Int(directory)) } }

  /// Whether the value's attributes have been told since.
  func isTold(_ value: UInt64) -> Bool { state.withLock { $0.slots[Int(value)].before != 0 } }

  private static func noteTold(_ state: inout State, _ value: Int, in directory: Int) {
    guard state.slots[value].before == 0 else { return }
    let first = state.slots[directory].next
    state.slots[value].next = first
    state.slots[value].before = UInt32(directory)
    if first != 0 { state.slots[Int(first)].before = UInt32(value) }
    state.slots[directory].next = UInt32(value)
  }

  /// The values of the directory whose attributes have been told since it was asked last.
  func takeTold(in directory: UInt64) -> [UInt64] {
    state.withLock { state in
      var values: [UInt64] = []
      Self.takeTold(&state, in: Int(directory)) { values.append(UInt64($0)) }
      return values
    }
  }

  private static func takeTold(_ state: inout State, in directory: Int, _ body: (Int) -> Void) {
    var value = Int(state.slots[directory].next)
    state.slots[directory].next = 0
    while value != 0 {
      body(value)
      let next = Int(state.slots[value].next)
      state.slots[value].next = 0
      state.slots[value].before = 0
      value = next
    }
  }

  /// The slot is going to stand for something else.
  private static func forgetTold(_ state: inout State, _ index: Int) {
    let (before, next) = (Int(state.slots[index].before), Int(state.slots[index].next))
    guard before != 0 else { return takeTold(&state, in: index) { _ in } }
    state.slots[before].next = UInt32(next)
    if next != 0 { state.slots[next].before = UInt32(before) }
    state.slots[index].before = 0
    state.slots[index].next = 0
  }

  /// The node of a key that the caller holds, if the kernel holds one. Takes the lock of the key's hive.
  func node(of key: KeyControlBlock) -> Node? {
    let node = try? registry.withIdentity(of: key) { identity in
      state.withLock { state -> Node? in
        guard let index = Self.keySlot(&state, at: identity) else { return nil }
        if let node = state.slots[index].node { return node }
        registry.retain(key)
        return wake(&state, index, key)
      }
    }
    return node ?? nil
  }

  /// The node of a key that the caller holds; the table takes over (or gives back) that hold. Under the registry's lock. One look-up more.
  func remember(_ key: KeyControlBlock, isLink: Bool = false) -> Node {
    let (node, isKnown) = state.withLock { state -> (Node, Bool) in
      if let index = Self.keySlot(&state, at: key.identity) {
        state.slots[index].lookedUp()
        if let node = state.slots[index].node { return (node, true) }
        return (wake(&state, index, key), false)
      }
      let parent = key.parent.flatMap { Self.keySlot(&state, at: $0.identity) }
      let node = add(&state) { Node(id: $0, generation: $1, kind: .key(key, isLink: isLink)) }
      state.slots[Int(node.id)].resting = RestingNode(parent: UInt32(parent ?? 0))
      state.put(Int(node.id), at: key.identity)
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
      if let index = state.slot(at: place) {
        if let node = wake(&state, UInt64(index)), let content = node.value {
          state.slots[index].lookedUp()
          content.withLock { $0.storedName = $0.storedName ?? value.name }
          return node
        }
        // Of a key that was there before.
        state.clear(index)
      }
      registry.retain(parent)
      let content = Node.ValueState(
        parent: parent, name: value.name, ordinal: ordinal, identity: value.identity, type: value.type)
      let node = add(&state) { Node(id: $0, generation: $1, kind: .value(isRaw: isRaw), value: content) }
      state.put(Int(node.id), at: place)
      return node
    }
  }

  /// A value found under the registry's lock that is only asked about, and that no node stands for: it rests with what the kernel is told.
  /// One look-up more. Nil for one with a node, or that has no room for what is known.
  func tell(
    _ value: ValueInformation, ordinal: Int, of parent: KeyControlBlock, in directory: UInt64, isRaw: Bool, size: Int
  ) -> (id: UInt64, generation: UInt64)? {
    state.withLock { state in
      let place = Self.place(value.identity, isRaw: isRaw)
      if let index = state.slot(at: place) {
        guard case .restingValue(let known) = state.slots[index].occupant, known === parent,
          state.slots[index].resting.tell(size: size)
        else { return nil }
        state.slots[index].lookedUp()
        Self.noteTold(&state, index, in: Int(directory))
        return (UInt64(index), UInt64(state.slots[index].generation))
      }
      guard let resting = RestingNode(told: value.type, ordinal: ordinal, isRaw: isRaw, size: size) else { return nil }
      registry.retain(parent)
      let index = Self.newSlot(&state)
      state.slots[index].occupant = .restingValue(of: parent)
      state.slots[index].resting = resting
      state.slots[index].lookups = 1
      state.put(index, at: place)
      Self.noteTold(&state, index, in: Int(directory))
      return (UInt64(index), UInt64(state.slots[index].generation))
    }
  }

  /// The node of an alias of a key that the caller holds; the table takes over (or gives back) that hold. One look-up more.
  func remember(_ alias: Alias, of key: KeyControlBlock) -> Node {
    let place = Self.place(alias, of: key)
    let (node, isKnown) = state.withLock { state -> (Node, Bool) in
      if let index = state.slot(at: place), let node = state.slots[index].node {
        state.slots[index].lookedUp()
        return (node, true)
      }
      let node = add(&state) { Node(id: $0, generation: $1, kind: .alias(alias, of: key)) }
      state.put(Int(node.id), at: place)
      return (node, false)
    }
    if isKnown { registry.close(key) }
    return node
  }

  /// A new value that is not in the hive yet. One look-up.
  func rememberUnsaved(_ content: Node.ValueState) -> Node {
    registry.retain(content.parent)
    return state.withLock { state in
      let node = add(&state) { Node(id: $0, generation: $1, kind: .value(isRaw: false), value: content) }
      state.unsaved[content.parent.id, default: []].append(node)
      return node
    }
  }

  /// The value of this name that is not in the hive yet. One look-up more.
  func lookUpUnsaved(_ name: UnicodeName, in key: KeyControlBlock) -> Node? {
    state.withLock { state in
      guard let node = state.unsaved[key.id]?.first(where: { Self.name(of: $0)?.equalsIgnoringCase(name) == true })
      else { return nil }
      state.slots[Int(node.id)].lookedUp()
      return node
    }
  }

  /// Names, types as far as they are known, and ids of the values below `key` that are not in the hive yet.
  func unsavedValues(of key: KeyControlBlock) -> [(name: UnicodeName, type: ValueType?, id: UInt64)] {
    state.withLock { state in
      (state.unsaved[key.id] ?? []).compactMap { node in node.value?.withLock { ($0.name, $0.knownType, node.id) } }
    }
  }

  /// All values that are not in the hive yet.
  func unsavedValues() -> [(node: Node, value: UnsavedValue)] {
    state.withLock { state in
      state.unsaved.values.joined().compactMap { node in node.value?.withLock { $0.unsaved }.map { (node, $0) } }
    }
  }

  /// The value has another name, and may be another key's, and is still not in the hive.
  func moveUnsaved(_ node: Node, to key: KeyControlBlock, named name: UnicodeName) {
    registry.retain(key)
    let old = state.withLock { state -> KeyControlBlock? in
      guard let old = node.value?.withLock({ $0.parent }) else { return nil }
      Self.removeUnsaved(&state, node, of: old)
      node.value?.withLock { content in
        content.parent = key
        content.name = name
      }
      state.unsaved[key.id, default: []].append(node)
      return old
    }
    if let old { registry.close(old) }
  }

  /// The value is in the hive now, under this number; or is no more (nil). `change` is made at that moment.
  func settle(_ node: Node, identity: UInt64?, _ change: (inout Node.ValueState) -> Void) {
    let free = state.withLock { state -> KeyControlBlock? in
      guard let old = node.value?.withLock({ $0.parent }) else { return nil }
      Self.removeUnsaved(&state, node, of: old)
      let parent = node.value?.withLock { content in
        change(&content)
        content.unsaved = nil
        return content.parent
      }
      guard state.slots[Int(node.id)].lookups > 0 else {
        // The kernel has forgotten it before it was saved.
        Self.free(&state, Int(node.id))
        return parent
      }
      if let identity { Self.bind(&state, node, to: identity) }
      return nil
    }
    if let free { registry.close(free) }
  }

  private static func removeUnsaved(_ state: inout State, _ node: Node, of key: KeyControlBlock) {
    state.unsaved[key.id]?.removeAll { $0 === node }
    if state.unsaved[key.id]?.isEmpty == true { state.unsaved[key.id] = nil }
  }

  /// Whether a value of the hive whose root is `key` is open for writing, or not set yet.
  func hasWriters(below key: KeyControlBlock) -> Bool {
    state.withLock { state in
      state.slots.contains { slot in
        slot.node?.value?.withLock { ($0.writers > 0 || $0.unsaved != nil) && $0.parent.isOfHive(key) } ?? false
      }
    }
  }

  /// The value with this number was set through one of its views: the other one, where the kernel holds it, has another text and size.
  /// Under the registry's lock.
  func noteChange(ofValue identity: UInt64, to type: ValueType, isExact: Bool, exceptRaw isRaw: Bool) {
    state.withLock { state in
      guard let index = state.slot(at: Self.place(identity, isRaw: !isRaw)) else { return }
      switch state.slots[index].occupant {
      case .restingValue: state.slots[index].resting.change(to: type, isExact: isExact)
      case .node(let node):
        node.value?.withLock { content in
          content.type = type
          content.isExact = isExact
          content.lacksLineEnd = false
          content.generation += 1
        }
      case .none, .restingKey: break
      }
    }
  }

  /// The node of a value's text that somebody reads: the kernel may have pages of it.
  func readNode(ofValue identity: UInt64) -> UInt64? {
    state.withLock { state in
      guard let index = state.slot(at: Self.place(identity, isRaw: false)), let content = state.slots[index].node?.value,
        content.withLock({ $0.readers > 0 })
      else { return nil }
      return UInt64(index)
    }
  }

  /// A value was deleted or written over; its nodes, one per view, stand for nothing any more. Under the registry's lock.
  func unbind(_ identity: UInt64) -> [Node] {
    state.withLock { state in
      [false, true].compactMap { isRaw in
        guard let index = state.slot(at: Self.place(identity, isRaw: isRaw)) else { return nil }
        let node = wake(&state, UInt64(index))
        state.clear(index)
        return node
      }
    }
  }

  /// `node` stands for the value with this number from now on. Under the registry's lock.
  func bind(_ node: Node, to identity: UInt64) { state.withLock { Self.bind(&$0, node, to: identity) } }

  private static func bind(_ state: inout State, _ node: Node, to identity: UInt64) {
    guard case .value(let isRaw) = node.kind else { return }
    let place = place(identity, isRaw: isRaw)
    guard state.slots[Int(node.id)].place != place else { return }
    if let other = state.slot(at: place) { state.clear(other) }
    state.put(Int(node.id), at: place)
  }

  // MARK: What becomes of keys

  func keyDeleted(_ identity: UInt64) {
    state.withLock { state in
      if let index = state.slot(at: identity) { state.clear(index) }
    }
  }

  func keyMoved(from old: UInt64, to new: UInt64) {
    state.withLock { state in
      if let index = state.slot(at: old) { state.put(index, at: new) }
    }
  }

  func keysDeleted(below key: KeyControlBlock, isIncluded: Bool) {
    state.withLock { state in
      for index in state.slots.indices where state.slots[index].place != 0 {
        switch state.slots[index].occupant {
        case .none: break
        case .restingKey:
          if state.slots[index].place >> 32 == UInt64(key.hiveNumber), Self.lies(&state, index, below: key) {
            state.clear(index)
          }
        case .restingValue(let parent):
          guard parent.isOfHive(key), parent === key || parent.isDeleted else { continue }
          state.clear(index)
          state.slots[index].resting.delete()
        case .node(let node):
          if case .key(let other, _) = node.kind {
            if other.isOfHive(key), other.isDeleted { state.clear(index) }
            continue
          }
          guard let content = node.value,
            content.withLock({ $0.parent.isOfHive(key) && ($0.parent === key || $0.parent.isDeleted) })
          else { continue }
          state.clear(index)
          content.withLock { state in
            state.isDeleted = true
            state.generation += 1
          }
        }
      }
    }
  }

  /// Whether the key that rests in the slot lies below `key`, all of whose keys in use are marked as deleted. The kernel holds the
  /// directories above one that it holds; a way that ends elsewhere counts as below.
  private static func lies(_ state: inout State, _ index: Int, below key: KeyControlBlock) -> Bool {
    var index = index
    while true {
      let parent = Int(state.slots[index].resting.parent)
      // The key's own directory may rest as well: it has no control block to be compared.
      if state.slots[parent].place == key.identity { return true }
      switch state.slots[parent].occupant {
      case .restingKey: index = parent
      case .node(let node):
        guard case .key(let other, _) = node.kind else { return true }
        return other === key || other.isDeleted
      case .none, .restingValue: return true
      }
    }
  }

  // MARK: The kernel forgets

  /// The kernel gave up `count` look-ups.
  func forget(_ id: UInt64, count: UInt64) {
    guard id >= Self.firstFree else { return }
    // Freed outside the lock: the node, and the key that it held.
    let gone = state.withLock { state -> (node: Node?, key: KeyControlBlock?)? in
      let index = Int(clamping: id)
      guard state.slots.indices.contains(index), state.slots[index].lookups != .max else { return nil }
      state.slots[index].lookups -= UInt32(min(count, UInt64(state.slots[index].lookups)))
      guard state.slots[index].lookups == 0 else { return nil }
      let held: KeyControlBlock?
      let node = state.slots[index].node
      switch state.slots[index].occupant {
      case .none: return nil
      case .restingKey: held = nil
      case .restingValue(let parent): held = parent
      case .node(let node):
        switch node.kind {
        case .key(let key, _), .alias(_, let key): held = key
        case .value:
          guard let content = node.value?.withLock({ ($0.unsaved != nil, $0.parent) }) else { return nil }
          // Still to be saved, and to be found until then: freed by `settle`.
          if content.0 { return nil }
          held = content.1
        case .control: return nil
        }
      }
      Self.free(&state, index)
      return (node, held)
    }
    if let key = gone?.key { registry.close(key) }
  }

  private static func free(_ state: inout State, _ index: Int) {
    state.clear(index)
    forgetTold(&state, index)
    state.slots[index].occupant = .none
    state.slots[index].generation &+= 1
    state.free.append(UInt32(index))
  }

  // MARK: Resting

  /// The node of a slot, made where its value rests; such a one has no name. Nil where a key rests.
  private func wake(_ state: inout State, _ id: UInt64) -> Node? {
    let index = Int(clamping: id)
    guard state.slots.indices.contains(index) else { return nil }
    switch state.slots[index].occupant {
    case .node(let node): return node
    case .none, .restingKey: return nil
    case .restingValue(let parent):
      let resting = state.slots[index].resting
      let node = Node(
        id: id, generation: UInt64(state.slots[index].generation), kind: .value(isRaw: resting.isRaw),
        value: resting.state(parent: parent, identity: state.slots[index].place & ~1))
      state.slots[index].occupant = .node(node)
      noteRecent(&state, id)
      return node
    }
  }

  /// For tests: whether the slot has no node.
  func rests(_ id: UInt64) -> Bool { state.withLock { $0.slots[Int(id)].node == nil } }

  /// A key or value has got a node: the one whose turn it is rests. Who is in use is passed over.
  private func noteRecent(_ state: inout State, _ id: UInt64) {
    guard state.recent.count >= Self.recentLimit else { return state.recent.append(UInt32(id)) }
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

  /// Whether the slot has no node any more that could rest.
  private func rest(_ state: inout State, _ index: Int) -> Bool {
    guard case .node(var node) = state.slots[index].occupant else { return true }
    // Taken out, so that only others' references count.
    state.slots[index].occupant = .none
    // Only the table hands nodes out: one that nobody else holds now, nobody can get hold of meanwhile.
    guard isKnownUniquelyReferenced(&node), let occupant = rested(&state, index, node) else {
      state.slots[index].occupant = .node(node)
      return false
    }
    state.slots[index].occupant = occupant
    return true
  }

  /// What takes the place of a node that nobody holds; nil: it stays.
  private func rested(_ state: inout State, _ index: Int, _ node: Node) -> Occupant? {
    switch node.kind {
    case .control, .alias: return nil
    case .value(let isRaw):
      // In its lock, and not copied out of it: there is much in it that counts its owners.
      let found = node.value?.withLock { value in
        RestingNode(value: value, isRaw: isRaw).map { (resting: $0, parent: value.parent) }
      }
      guard let found = found ?? nil else { return nil }
      state.slots[index].resting = found.resting
      return .restingValue(of: found.parent)
    case .key(let key, _):
      // A deleted one has no number to be found by.
      guard key.isFoundByNumber, state.slots[index].place != 0,
        let resting = RestingNode(key: node, parent: state.slots[index].resting.parent)
      else { return nil }
      state.slots[index].resting = resting
      registry.close(key)
      return .restingKey
    }
  }

  private static func name(of node: Node) -> UnicodeName? { node.value?.withLock { $0.name } }

  private func add(_ state: inout State, _ make: (_ id: UInt64, _ generation: UInt64) -> Node) -> Node {
    let index = Self.newSlot(&state)
    let node = make(UInt64(index), UInt64(state.slots[index].generation))
    state.slots[index].occupant = .node(node)
    state.slots[index].lookups = 1
    noteRecent(&state, UInt64(index))
    return node
  }

  private static func newSlot(_ state: inout State) -> Int {
    if let free = state.free.popLast() { return Int(free) }
    // Doubling would leave half of it empty.
    if state.slots.capacity == state.slots.count { state.slots.reserveCapacity(state.slots.count * 5 / 4 + 1024) }
    state.slots.append(Slot())
    return state.slots.count - 1
  }
}
