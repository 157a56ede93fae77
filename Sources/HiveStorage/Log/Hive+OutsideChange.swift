internal import Executive

// The primary file, changed by somebody else while the hive is open: nothing is written over that.

extension Hive {
  /// How long a change may go on without a look at the file, nanoseconds.
  static let lookInterval: UInt64 = 100_000_000

  /// As `refuseOutsideChange`, when the last look is longer ago than `interval`.
  mutating func lookOutside(atMostEvery interval: UInt64) throws(HiveError) {
    let now = MonotonicClock.nanoseconds()
    guard now >= lastLook + interval else { return }
    try refuseOutsideChange()
    lastLook = now
  }

  /// Throws `changedOutside`. While a reconcile writes the file it looks changed, so nobody asks then.
  mutating func refuseOutsideChange() throws(HiveError) {
    guard reconciliation?.isWriting != true, let change = try device.outsideChange() else { return }
    // A new owner or another link is no reason to refuse; a time of writing that was set back is. The pages that we have
    // not changed tell.
    if change == .attributes, try cleanPagesAreAsWritten() { return device.rememberState() }
    throw .changedOutside(name: device.name, change: change)
  }

  /// Looks whether the file was changed by others; a change that is found stops all changes of ours.
  package mutating func checkOutside() throws(HiveError) {
    do throws(HiveError) { try lookOutside(atMostEvery: 0) } catch {
      log?.stop(error)
      throw error
    }
  }

  /// Compares the file with every page in memory that has no change of ours on the way.
  private func cleanPagesAreAsWritten() throws(HiveError) -> Bool {
    let pages = Int(baseSector[BaseBlock.Field.binsSize]) / HiveImage.pageSize
    func isOurs(_ page: Int) -> Bool {
      image.dirty.contains(page) || image.touched.contains(page) || reconciliation?.pages.contains(page) == true
    }
    var page = 0
    while page < pages {
      guard !isOurs(page) else {
        page += 1
        continue
      }
      var next = page + 1
      while next < pages, next - page < 256, !isOurs(next) { next += 1 }
      let start = BaseBlock.size + page * HiveImage.pageSize
      var bytes = [UInt8](repeating: 0, count: (next - page) * HiveImage.pageSize)
      try device.read(at: start, into: &bytes)
      guard image.buffer(at: start, count: bytes.count).elementsEqual(bytes) else { return false }
      page = next
    }
    return true
  }
}
