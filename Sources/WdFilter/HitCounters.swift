internal import Synchronization

/// How often each payload of a rule set, behind them each entry of query hardening and each Sigma rule that denies, took part in a decision: one counter
/// each, allocated with the rules, raised and read without a lock.
final class HitCounters: @unchecked Sendable {
  // SAFETY: the memory is allocated and initialized before anybody has the object and freed after the last one let it go;
  // between the two it is touched through atomics only.
  private let counters: UnsafeMutablePointer<Atomic<UInt64>>
  private let count: Int

  init(count: Int) {
    self.count = count
    counters = UnsafeMutablePointer<Atomic<UInt64>>.allocate(capacity: max(1, count))
    for index in 0..<count { (counters + index).initialize(to: Atomic(0)) }
  }

  deinit {
    counters.deinitialize(count: count)
    counters.deallocate()
  }

  func raise(_ index: Int32) { counters[Int(index)].wrappingAdd(1, ordering: .relaxed) }

  subscript(index: Int) -> UInt64 { counters[index].load(ordering: .relaxed) }
}
