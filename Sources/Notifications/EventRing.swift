/// A bounded list of what waits for a reader: first in, first out; full, its oldest gives way.
///
/// Invariants. 1: `count <= capacity`. 2: the waiting events are the `count` slots from `head`, modulo `capacity`;
/// all other slots are nil. 3: an empty ring begins at slot 0, so a ring that never fills touches few pages of its memory.
package struct EventRing<Element: Sendable>: Sendable {
  let capacity: Int
  package private(set) var count = 0
  private var head = 0
  private var slots: [Element?] = []

  /// `capacity` below 1 counts as 1.
  package init(capacity: Int) {
    self.capacity = max(1, capacity)
    // All the memory now, so that no caller of `push` pays for growth.
    slots.reserveCapacity(self.capacity)
  }

  /// Adds `element` and returns the oldest if it had to give way.
  package mutating func push(_ element: consuming Element) -> Element? {
    let displaced = count == capacity ? pop() : nil
    let index = (head + count) % capacity
    if index == slots.count {
      slots.append(consume element)
    } else {
      slots[index] = consume element
    }
    count += 1
    return displaced
  }

  package mutating func pop() -> Element? {
    guard count > 0 else { return nil }
    let oldest = slots[head].take()
    count -= 1
    head = count == 0 ? 0 : (head + 1) % capacity
    return oldest
  }
}
