/// What waits for one reader: urgent events and normal ones, each list bounded.
///
/// 1. Urgent ones come first, but after `starvationLimit` of them in a row a normal one gets its turn.
/// 2. A full list drops its own oldest; it is full at `capacity` events, or when they weigh more than `heaviest` bytes.
/// 3. Events about processes take half of the normal list at most: anybody can start as many as he likes, and must not push out
///    what others are told of.
struct EventLists {
  /// Bytes in one list; a single event that weighs more is kept all the same.
  static let heaviest = 32 * 1024 * 1024

  private struct List {
    var ring: EventRing<QueuedEvent>
    var weight = 0

    mutating func push(_ event: QueuedEvent) -> [QueuedEvent] {
      var displaced: [QueuedEvent] = []
      weight += event.weight
      if let oldest = ring.push(event) {
        weight -= oldest.weight
        displaced.append(oldest)
      }
      while weight > EventLists.heaviest, ring.count > 1, let oldest = pop() { displaced.append(oldest) }
      return displaced
    }

    mutating func pop() -> QueuedEvent? {
      let oldest = ring.pop()
      weight -= oldest?.weight ?? 0
      return oldest
    }
  }

  private var urgent: List
  private var normal: List
  private let starvationLimit: Int
  private var urgentInARow = 0

  /// `capacity` is that of each list.
  init(capacity: Int, starvationLimit: Int) {
    urgent = List(ring: EventRing(capacity: capacity))
    normal = List(ring: EventRing(capacity: capacity))
    self.starvationLimit = max(1, starvationLimit)
  }

  var count: Int { urgent.ring.count + normal.ring.count }

  /// What had to give way, the event itself maybe.
  mutating func push(_ event: QueuedEvent) -> [QueuedEvent] {
    if event.event.isUrgent { return urgent.push(event) }
    guard !event.event.isPlentiful || normal.ring.count < max(1, normal.ring.capacity / 2) else { return [event] }
    return normal.push(event)
  }

  mutating func pop() -> QueuedEvent? {
    if urgentInARow < starvationLimit || normal.ring.count == 0, let event = urgent.pop() {
      urgentInARow = min(urgentInARow + 1, starvationLimit)
      return event
    }
    urgentInARow = 0
    return normal.pop() ?? urgent.pop()
  }
}
