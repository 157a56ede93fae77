internal import Executive

/// What one rule says at one place of the tree.
struct RulePayload {
  enum Kind { case hardened, monitored }
  let kind: Kind
  /// Index into the rule set's list of that kind.
  let rule: Int32
  /// Index into the rule's entries for values; `ofKey` for the key's own list, `ofAnyValue` for what it says about values.
  var valueEntry = RulePayload.ofKey
  let bits: RuleBits
  /// Only logs what it would refuse.
  let isAudited: Bool
  let hash: RuleHash
  var isCanary = false

  static let ofKey: Int32 = -1
  static let ofAnyValue: Int32 = -2

  var deniesSomething: Bool { kind == .hardened || bits.deniesSomething }
}

/// Somebody below a key: for each kind of protection the first payload found, -1 for none. TamperProtectionActive is kept
/// apart as well: who is exempt from the first payload is not from that one.
struct ProtectionBelow {
  var hardened: Int32 = -1
  var enforced: Int32 = -1
  var enforcedTamper: Int32 = -1
  var audited: Int32 = -1
  var auditedTamper: Int32 = -1

  mutating func merge(_ other: ProtectionBelow) {
    hardened = Self.first(hardened, other.hardened)
    enforced = Self.first(enforced, other.enforced)
    enforcedTamper = Self.first(enforcedTamper, other.enforcedTamper)
    audited = Self.first(audited, other.audited)
    auditedTamper = Self.first(auditedTamper, other.auditedTamper)
  }

  mutating func add(_ payload: RulePayload, _ index: Int32) {
    guard payload.deniesSomething else { return }
    if payload.kind == .hardened {
      merge(ProtectionBelow(hardened: index))
    } else {
      let tamper = payload.bits.contains(.tamperProtectionActive) ? index : -1
      merge(
        payload.isAudited
          ? ProtectionBelow(audited: index, auditedTamper: tamper)
          : ProtectionBelow(enforced: index, enforcedTamper: tamper))
    }
  }

  private static func first(_ a: Int32, _ b: Int32) -> Int32 { a < 0 ? b : b < 0 ? a : min(a, b) }
}

/// What `RuleMatcher` found for one name. Empty arrays own no memory.
struct RuleMatch {
  /// Monitored payloads that match and hold a wanted bit.
  var hits: [Int32] = []
  var enforced: RuleBits = []
  var audited: RuleBits = []
  /// The first hardening payload that covers the name.
  var hardened: Int32 = -1
  /// The canary's payload, when it covers the name.
  var canary: Int32 = -1
  /// Rules below the name, found through the names they give.
  var below = ProtectionBelow()
  /// Rules that a `**` above may put below the name, at a place nobody can tell.
  var floatingBelow = ProtectionBelow()
}

/// What is asked for at a key.
enum RuleSubject {
  case key
  case value(UnicodeName)
}

/// All rules as one immutable tree over upper-cased name components (MP_KEY_ENTRY), in flat arrays.
///
/// A name is cut into components once, each is hashed once, and every step is one look-up in an open-addressing table:
/// the time depends on the name and on the wildcards along it, not on the number of rules. A name that no rule touches
/// allocates nothing (a name of more than 85 components may cost one scratch block).
///
/// Invariants. 1. A child's index is greater than its parent's. 2. A `**` node has no `**` child. 3. `edges.count` is a
/// power of two and at most half of it is used, so every probe ends.
final class RuleMatcher: Sendable {
  private enum EdgeKind: UInt32 { case literal = 1, prefix = 2, value = 3 }

  private struct Node {
    var parent: Int32
    var anyOne: Int32 = -1
    var anyNumber: Int32 = -1
    var controlSet: Int32 = -1
    var anyValue: Int32 = -1
    var payloads: Range<Int32> = 0..<0
    /// In `ofValues`: the payloads of all values of this key.
    var valuePayloads: Range<Int32> = 0..<0
    var isAnyNumber = false
    var isValue = false
    var hasSubkeys = false
    var hasPrefixes = false
    var hasValues = false
    /// For a `**` below another `**`: its bit in the set of those already walked.
    var nestIndex: Int32 = -1
    /// Protection of this key's own values, and of keys below; a `**` is below itself, since it may take more.
    var own = ProtectionBelow()
    var below = ProtectionBelow()
  }

  private struct Edge {
    var parent: Int32 = -1
    var kind: UInt32 = 0
    var hash: UInt32 = 0
    var child: Int32 = 0
    var text: Range<Int32> = 0..<0
  }

  private let nodes: [Node]
  private let edges: [Edge]
  private let texts: [UInt16]
  let payloads: [RulePayload]
  private let ofValues: [Int32]
  private let nestedWildcards: Int

  /// One rule to compile.
  struct Entry {
    let pattern: KeyPattern
    /// The last component is only the beginning of a name, and everything below is covered (the driver's string
    /// prefix).
    var isPrefix = false
    var key: RulePayload?
    var values: [(name: UnicodeName?, payload: RulePayload)] = []
  }

  init(_ entries: [Entry]) {
    var builder = Builder()
    for entry in entries { builder.add(entry) }
    (nodes, edges, texts, payloads, ofValues, nestedWildcards) = builder.finish()
  }

  // MARK: Compiling

  private struct Builder {
    struct EdgeName: Hashable {
      let parent: Int32
      let kind: EdgeKind
      let name: UnicodeName
    }

    var nodes = [Node(parent: -1)]
    var named: [EdgeName: Int32] = [:]
    var held: [[RulePayload]] = [[]]

    mutating func add(_ entry: Entry) {
      var node: Int32 = 0
      for (index, component) in entry.pattern.components.enumerated() {
        let isLast = index == entry.pattern.components.count - 1
        switch component {
        case .literal(let name):
          node = child(of: node, entry.isPrefix && isLast ? .prefix : .literal, name)
        case .anyOne: node = child(of: node, \.anyOne)
        case .anyNumber: node = child(of: node, \.anyNumber)
        case .controlSet: node = child(of: node, \.controlSet)
        }
      }
      if let key = entry.key { held[Int(node)].append(key) }
      for (name, payload) in entry.values {
        let value = name.map { child(of: node, .value, $0.upcased) } ?? child(of: node, \.anyValue)
        held[Int(value)].append(payload)
      }
    }

    private mutating func newNode(below parent: Int32) -> Int32 {
      nodes.append(Node(parent: parent))
      held.append([])
      return Int32(nodes.count - 1)
    }

    private mutating func child(of parent: Int32, _ link: WritableKeyPath<Node, Int32>) -> Int32 {
      let known = nodes[Int(parent)][keyPath: link]
      if known >= 0 { return known }
      let node = newNode(below: parent)
      nodes[Int(parent)][keyPath: link] = node
      if link == \.anyValue {
        nodes[Int(node)].isValue = true
      } else {
        nodes[Int(parent)].hasSubkeys = true
        nodes[Int(node)].isAnyNumber = link == \.anyNumber
      }
      return node
    }

    private mutating func child(of parent: Int32, _ kind: EdgeKind, _ name: UnicodeName) -> Int32 {
      let edge = EdgeName(parent: parent, kind: kind, name: name)
      if let known = named[edge] { return known }
      let node = newNode(below: parent)
      named[edge] = node
      switch kind {
      case .value:
        nodes[Int(parent)].hasValues = true
        nodes[Int(node)].isValue = true
      case .prefix:
        nodes[Int(parent)].hasSubkeys = true
        nodes[Int(parent)].hasPrefixes = true
      case .literal:
        nodes[Int(parent)].hasSubkeys = true
      }
      return node
    }

    mutating func finish() -> ([Node], [Edge], [UInt16], [RulePayload], [Int32], Int) {
      var payloads: [RulePayload] = []
      for index in nodes.indices {
        let first = Int32(payloads.count)
        payloads.append(contentsOf: held[index])
        nodes[index].payloads = first..<Int32(payloads.count)
      }
      var valuesOf: [Int: [Int32]] = [:]
      for node in nodes where node.isValue { valuesOf[Int(node.parent), default: []] += node.payloads }
      var ofValues: [Int32] = []
      for (index, values) in valuesOf.sorted(by: { $0.key < $1.key }) {
        nodes[index].valuePayloads = Int32(ofValues.count)..<Int32(ofValues.count + values.count)
        ofValues += values
      }
      // Invariant 1: from the last node to the first, every child is complete before its parent takes from it.
      for index in nodes.indices.reversed() where nodes[index].parent >= 0 {
        let node = nodes[index]
        let parent = Int(node.parent)
        var protection = node.own
        protection.merge(node.below)
        for payload in node.payloads { protection.add(payloads[Int(payload)], payload) }
        if node.isAnyNumber { nodes[index].below = protection }
        if node.isValue { nodes[parent].own.merge(protection) } else { nodes[parent].below.merge(protection) }
      }
      var wildcardAbove = [Bool](repeating: false, count: nodes.count)
      var nested = 0
      for index in nodes.indices.dropFirst() {
        let parent = Int(nodes[index].parent)
        wildcardAbove[index] = wildcardAbove[parent] || nodes[parent].isAnyNumber
        if wildcardAbove[index], nodes[index].isAnyNumber {
          nodes[index].nestIndex = Int32(nested)
          nested += 1
        }
      }
      var capacity = 16
      while capacity < named.count * 2 { capacity *= 2 }
      var edges = [Edge](repeating: Edge(), count: capacity)
      var texts: [UInt16] = []
      // In the order of the nodes, so that one policy always makes one table.
      for (name, child) in named.sorted(by: { $0.value < $1.value }) {
        let hash = name.name.units.reduce(ComponentHash.start) { ComponentHash.step($0, $1) }
        var slot = ComponentHash.slot(name.parent, name.kind.rawValue, hash)
        while edges[slot & (capacity - 1)].parent >= 0 { slot += 1 }
        let first = Int32(texts.count)
        texts.append(contentsOf: name.name.units)
        edges[slot & (capacity - 1)] = Edge(
          parent: name.parent, kind: name.kind.rawValue, hash: hash, child: child, text: first..<Int32(texts.count))
      }
      return (nodes, edges, texts, payloads, ofValues, nested)
    }
  }

  // MARK: Matching

  private struct Component {
    var start: Int32
    var end: Int32
    var hash: UInt32
  }

  /// One question while it is being answered.
  // SAFETY: the buffers live in `match`, which outlives every use.
  private struct Walk {
    let units: UnsafeBufferPointer<UInt16>
    let components: UnsafeBufferPointer<Component>
    let walked: UnsafeMutableBufferPointer<UInt64>
    let valueUnits: UnsafeBufferPointer<UInt16>?
    let valueHash: UInt32
    let wanted: RuleBits
    /// Of the entries for values, when the key is what is asked about.
    let wantedOfValues: RuleBits
  }

  /// Adds everything that says something about `completeName`, or about one of its values, to `match`. Only monitored
  /// rules with a bit of `wanted` count; for a key, also the entries for its values with a bit of `ofValues`.
  func match(
    _ completeName: UnicodeName, _ subject: RuleSubject, wanted: RuleBits, ofValues: RuleBits = [],
    into match: inout RuleMatch
  ) {
    completeName.units.withUnsafeBufferPointer { units in
      switch subject {
      case .key:
        self.match(units, nil, wanted, ofValues, &match)
      case .value(let name):
        name.units.withUnsafeBufferPointer { self.match(units, $0, wanted, [], &match) }
      }
    }
  }

  private func match(
    _ units: UnsafeBufferPointer<UInt16>, _ valueUnits: UnsafeBufferPointer<UInt16>?, _ wanted: RuleBits,
    _ wantedOfValues: RuleBits, _ match: inout RuleMatch
  ) {
    var separators = 0
    for unit in units where unit == 0x5C { separators += 1 }
    withUnsafeTemporaryAllocation(of: Component.self, capacity: separators + 1) { components in
      let count = Self.split(units, into: components)
      withUnsafeTemporaryAllocation(of: UInt64.self, capacity: (nestedWildcards + 63) / 64) { walked in
        walked.initialize(repeating: 0)
        let walk = Walk(
          units: units, components: UnsafeBufferPointer(rebasing: components[..<count]), walked: walked,
          valueUnits: valueUnits, valueHash: valueUnits.map(Self.hash) ?? 0, wanted: wanted,
          wantedOfValues: wantedOfValues)
        self.walk(0, 0, floating: false, walk, &match)
      }
    }
  }

  /// Cuts a complete name at its backslashes and hashes each component in upper case; the leading backslash begins the
  /// first.
  private static func split(
    _ units: UnsafeBufferPointer<UInt16>, into components: UnsafeMutableBufferPointer<Component>
  ) -> Int {
    var count = 0
    var start = units.first == 0x5C ? 1 : 0
    var hash = ComponentHash.start
    for index in start..<max(start, units.count) {
      let unit = units[index]
      if unit == 0x5C {
        components[count] = Component(
          start: Int32(truncatingIfNeeded: start), end: Int32(truncatingIfNeeded: index), hash: hash)
        count += 1
        start = index + 1
        hash = ComponentHash.start
      } else {
        hash = ComponentHash.step(hash, ComponentHash.upcase(unit))
      }
    }
    components[count] = Component(
      start: Int32(truncatingIfNeeded: start), end: Int32(truncatingIfNeeded: units.count), hash: hash)
    return count + 1
  }

  private static func hash(_ units: UnsafeBufferPointer<UInt16>) -> UInt32 {
    var hash = ComponentHash.start
    for unit in units { hash = ComponentHash.step(hash, ComponentHash.upcase(unit)) }
    return hash
  }

  /// Follows the name from component `position` on at `node`. `floating`: a `**` above took at least one component.
  private func walk(_ start: Int32, _ first: Int, floating: Bool, _ walk: Walk, _ match: inout RuleMatch) {
    var index = start
    var position = first
    while true {
      let node = nodes[Int(index)]
      if node.anyNumber >= 0 { walkAnyNumber(node.anyNumber, position, floating: floating, walk, &match) }
      guard position < walk.components.count else {
        take(node, index, floating: floating, walk, &match)
        return
      }
      guard node.hasSubkeys else { return }
      let component = walk.components[position]
      if node.anyOne >= 0 { self.walk(node.anyOne, position + 1, floating: floating, walk, &match) }
      if node.controlSet >= 0, Self.isControlSet(walk.units, component) {
        self.walk(node.controlSet, position + 1, floating: floating, walk, &match)
      }
      if node.hasPrefixes { takePrefixes(index, component, walk, &match) }
      let child = find(index, .literal, component.hash, walk.units, Int(component.start)..<Int(component.end))
      guard child >= 0 else { return }
      index = child
      position += 1
    }
  }

  /// A `**` takes none, one, two … of the components that are left.
  private func walkAnyNumber(
    _ index: Int32, _ position: Int, floating: Bool, _ walk: Walk, _ match: inout RuleMatch
  ) {
    let node = nodes[Int(index)]
    guard node.hasSubkeys else {
      take(node, index, floating: floating || position < walk.components.count, walk, &match)
      return
    }
    // The first time it is reached is the earliest place in the name, and covers every later one: without this, each
    // `**` under another multiplies the work.
    if node.nestIndex >= 0 {
      let bit: UInt64 = 1 << UInt64(node.nestIndex % 64)
      let word = Int(node.nestIndex / 64)
      if walk.walked[word] & bit != 0 { return }
      walk.walked[word] |= bit
    }
    for next in position...walk.components.count {
      self.walk(index, next, floating: floating || next > position, walk, &match)
    }
  }

  /// The name ends here: what the node says counts, and what lies below it is noted.
  private func take(_ node: Node, _ index: Int32, floating: Bool, _ walk: Walk, _ match: inout RuleMatch) {
    for payload in node.payloads { take(payload, isOfValue: false, walk, &match) }
    guard let valueUnits = walk.valueUnits else {
      if !walk.wantedOfValues.isEmpty {
        for place in node.valuePayloads { takeOfValue(ofValues[Int(place)], walk.wantedOfValues, &match) }
      }
      match.below.merge(node.own)
      if floating { match.floatingBelow.merge(node.below) } else { match.below.merge(node.below) }
      return
    }
    if node.anyValue >= 0 {
      for payload in nodes[Int(node.anyValue)].payloads { take(payload, isOfValue: true, walk, &match) }
    }
    if node.hasValues {
      let value = find(index, .value, walk.valueHash, valueUnits, 0..<valueUnits.count)
      if value >= 0 { for payload in nodes[Int(value)].payloads { take(payload, isOfValue: true, walk, &match) } }
    }
  }

  private func take(_ index: Int32, isOfValue: Bool, _ walk: Walk, _ match: inout RuleMatch) {
    let payload = payloads[Int(index)]
    if payload.kind == .hardened {
      // The hardening list is asked for the key, also when the operation is about one of its values.
      if payload.isCanary { match.canary = index }
      if match.hardened < 0 || index < match.hardened { match.hardened = index }
      return
    }
    guard isOfValue == (walk.valueUnits != nil), !payload.bits.isDisjoint(with: walk.wanted) else { return }
    match.hits.append(index)
    if payload.isAudited { match.audited.formUnion(payload.bits) } else { match.enforced.formUnion(payload.bits) }
  }

  /// An entry for a value counts for its key, with the bits that are asked for and no others.
  private func takeOfValue(_ index: Int32, _ wanted: RuleBits, _ match: inout RuleMatch) {
    let payload = payloads[Int(index)]
    let bits = payload.bits.intersection(wanted)
    guard !bits.isEmpty else { return }
    match.hits.append(index)
    if payload.isAudited { match.audited.formUnion(bits) } else { match.enforced.formUnion(bits) }
  }

  /// Every prefix of the component, shortest first; its hash is a step on the way to the component's own.
  private func takePrefixes(_ index: Int32, _ component: Component, _ walk: Walk, _ match: inout RuleMatch) {
    var hash = ComponentHash.start
    let start = Int(component.start)
    for end in start..<Int(component.end) {
      hash = ComponentHash.step(hash, ComponentHash.upcase(walk.units[end]))
      let child = find(index, .prefix, hash, walk.units, start..<(end + 1))
      guard child >= 0 else { continue }
      for payload in nodes[Int(child)].payloads { take(payload, isOfValue: false, walk, &match) }
    }
  }

  private func find(
    _ parent: Int32, _ kind: EdgeKind, _ hash: UInt32, _ units: UnsafeBufferPointer<UInt16>, _ range: Range<Int>
  ) -> Int32 {
    let mask = edges.count - 1
    var slot = ComponentHash.slot(parent, kind.rawValue, hash)
    while true {
      let edge = edges[slot & mask]
      if edge.parent < 0 { return -1 }
      if edge.parent == parent, edge.kind == kind.rawValue, edge.hash == hash, edge.text.count == range.count,
        isText(Int(edge.text.lowerBound), units, range)
      {
        return edge.child
      }
      slot += 1
    }
  }

  private func isText(_ text: Int, _ units: UnsafeBufferPointer<UInt16>, _ range: Range<Int>) -> Bool {
    for offset in 0..<range.count
    where texts[text + offset] != ComponentHash.upcase(units[range.lowerBound + offset]) { return false }
    return true
  }

  /// `ControlSet` and at least three digits, as the kernel writes them, or `CurrentControlSet`.
  private static func isControlSet(_ units: UnsafeBufferPointer<UInt16>, _ component: Component) -> Bool {
    let name = units[Int(component.start)..<Int(component.end)]
    if equals(name, "CURRENTCONTROLSET") { return true }
    return name.count >= 13 && equals(name.prefix(10), "CONTROLSET")
      && name.dropFirst(10).allSatisfy { $0 >= 0x30 && $0 <= 0x39 }
  }

  private static func equals(_ units: Slice<UnsafeBufferPointer<UInt16>>, _ upper: StaticString) -> Bool {
    guard units.count == upper.utf8CodeUnitCount else { return false }
    var offset = 0
    for unit in units {
      // SAFETY: `offset` is below the literal's length, and an ASCII literal has a pointer.
      if ComponentHash.upcase(unit) != UInt16(upper.utf8Start[offset]) { return false }
      offset += 1
    }
    return true
  }
}

/// The hash of a component, unit by unit, so that prefixes come for nothing (FNV-1a).
private enum ComponentHash {
  static let start: UInt32 = 0x811C_9DC5

  @inline(__always)
  static func step(_ hash: UInt32, _ upperCaseUnit: UInt16) -> UInt32 { (hash ^ UInt32(upperCaseUnit)) &* 0x0100_0193 }

  /// `UpcaseTable.upcase` without a call into another module for ASCII, which most names are: every unit of every name comes
  /// here twice.
  @inline(__always)
  static func upcase(_ unit: UInt16) -> UInt16 {
    if unit < 0x80 { return unit &- 0x61 < 26 ? unit &- 32 : unit }
    return UpcaseTable.upcase(unit)
  }

  @inline(__always)
  static func slot(_ parent: Int32, _ kind: UInt32, _ hash: UInt32) -> Int {
    var mixed = UInt64(hash) | UInt64(UInt32(bitPattern: parent)) << 32
    mixed = (mixed ^ UInt64(kind) &* 0x9E37_79B9) &* 0x9E37_79B9_7F4A_7C15
    return Int(mixed >> 34)
  }
}
