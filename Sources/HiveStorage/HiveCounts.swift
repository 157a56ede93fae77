internal import Synchronization

/// What is asked of a hive again and again, by statfs for one, and costs a walk: counted once, and kept by our own changes.
final class HiveCounts: Sendable {
  private struct State {
    var population: Hive.Population?
    var statistics: Hive.Statistics?
  }

  private let state = Mutex(State())

  func population(_ count: () throws(HiveError) -> Hive.Population) throws(HiveError) -> Hive.Population {
    if let known = state.withLock({ $0.population }) { return known }
    let counted = try count()
    state.withLock { $0.population = counted }
    return counted
  }

  /// Of a hive that was never changed; afterwards the free cells know.
  func statistics(_ count: () throws(HiveError) -> Hive.Statistics) throws(HiveError) -> Hive.Statistics {
    if let known = state.withLock({ $0.statistics }) { return known }
    let counted = try count()
    state.withLock { $0.statistics = counted }
    return counted
  }

  func add(keys: Int = 0, values: Int = 0) {
    state.withLock { state in
      state.population?.keys += keys
      state.population?.values += values
    }
  }

  func forget() { state.withLock { $0 = State() } }
}

extension Hive {
  /// How much there is in a hive.
  package struct Population: Sendable, Hashable {
    package var keys = 0
    package var values = 0
  }

  /// Keys, the root among them, and values, as far as they can be read. The first call reads every key; after that it costs nothing.
  package func population() throws(HiveError) -> Population {
    try counts.population { () throws(HiveError) in
      var population = Population()
      var open = [rootKey]
      var seen: Set<CellIndex> = [rootKey]
      while let key = open.popLast() {
        // What is damaged is not counted; whoever gets there is told.
        guard let node = try? keyNode(at: key) else { continue }
        population.keys += 1
        population.values += (try? valueList(of: node))?.count ?? 0
        try? forEachSubkey(of: key, damaged: { _ in }) { _, child throws(HiveError) in
          if seen.insert(child).inserted { open.append(child) }
          return true
        }
      }
      return population
    }
  }

  /// Bytes by which the hive may grow, as far as the format goes and the disk has room.
  package func roomToGrow() -> Int {
    guard access == .readWrite else { return 0 }
    let limit = HiveImage.maximumBinsSize - image.binsSize
    return min(limit, (device as? FileDevice)?.freeBytes() ?? limit)
  }
}
