/// Elements by process or thread id: open addressing with linear probing, so that finding one is a multiplication and
/// mostly one load. (The driver has 128 buckets by `(pid >> 2) & 0x7F`; Linux counts its ids one by one.)
///
/// 1. At least a quarter of the slots is free: a search ends.
/// 2. No element is separated from its home slot by a free one: deleting closes the gap.
struct IdentifierTable<Element> {
  private struct Slot {
    /// 0 for a free slot: no task has that number.
    var id: Int32 = 0
    /// Found since the clock hand last passed.
    var isRecent = false
    var element: Element?
  }

  private var slots: [Slot]
  private(set) var count = 0
  private var hand = 0

  init() { slots = [Slot](repeating: Slot(), count: 16) }

  private var mask: Int { slots.count - 1 }

  /// Fibonacci hashing: neighbouring ids come to lie apart from each other.
  private func home(_ id: Int32) -> Int {
    Int(truncatingIfNeeded: (UInt64(UInt32(bitPattern: id)) &* 0x9E37_79B9_7F4A_7C15) >> 32) & mask
  }

  private func index(of id: Int32) -> Int? {
    guard id > 0 else { return nil }
    var index = home(id)
    while slots[index].id != 0 {
      if slots[index].id == id { return index }
      index = (index + 1) & mask
    }
    return nil
  }

  subscript(id: Int32) -> Element? {
    get { index(of: id).flatMap { slots[$0].element } }
    set {
      if let newValue { insert(newValue, id) } else { _ = remove(id) }
    }
  }

  /// The element, which the clock hand then spares once.
  mutating func touch(_ id: Int32) -> Element? {
    guard let index = index(of: id) else { return nil }
    slots[index].isRecent = true
    return slots[index].element
  }

  private mutating func insert(_ element: Element, _ id: Int32) {
    guard id > 0 else { return }
    if (count + 1) * 4 > slots.count * 3 { resize(to: slots.count * 2) }
    var index = home(id)
    while slots[index].id != 0, slots[index].id != id { index = (index + 1) & mask }
    if slots[index].id == 0 { count += 1 }
    slots[index] = Slot(id: id, isRecent: true, element: element)
  }

  mutating func remove(_ id: Int32) -> Element? {
    guard var gap = index(of: id) else { return nil }
    let element = slots[gap].element
    var index = gap
    while true {
      index = (index + 1) & mask
      guard slots[index].id != 0 else { break }
      // One whose home lies behind the gap stays (invariant 2).
      if (index - home(slots[index].id)) & mask >= (index - gap) & mask {
        slots[gap] = slots[index]
        gap = index
      }
    }
    slots[gap] = Slot()
    count -= 1
    // What a storm has left behind is given back.
    if slots.count > 64, count * 8 < slots.count { resize(to: slots.count / 2) }
    return element
  }

  private mutating func resize(to size: Int) {
    let old = slots
    slots = [Slot](repeating: Slot(), count: size)
    hand = 0
    for slot in old where slot.id != 0 {
      var index = home(slot.id)
      while slots[index].id != 0 { index = (index + 1) & mask }
      slots[index] = slot
    }
  }

  /// Takes out one that was not found for a while (clock algorithm).
  mutating func evict() -> Element? {
    guard count > 0 else { return nil }
    while true {
      hand = (hand + 1) & mask
      guard slots[hand].id != 0 else { continue }
      if slots[hand].isRecent { slots[hand].isRecent = false } else { return remove(slots[hand].id) }
    }
  }

  /// Every id, in no order.
  var ids: [Int32] { slots.lazy.map(\.id).filter { $0 != 0 } }

  /// Every element, in no order.
  var elements: [Element] { slots.compactMap(\.element) }
}
