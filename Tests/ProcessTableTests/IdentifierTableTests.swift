import Testing

@testable import ProcessTable

@Suite("Table by task id")
struct IdentifierTableTests {
  /// Small ids crowd together and wrap, so chains are long and deleting has gaps to close.
  @Test(arguments: [1, 2, 3] as [UInt64])
  func itIsADictionary(seed: UInt64) {
    print("seed \(seed)")
    var state = seed
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    var table = IdentifierTable<Int>()
    var model: [Int32: Int] = [:]
    for step in 0..<30_000 {
      let id = Int32(1 + random(step % 10_000 < 5000 ? 900 : 40))
      switch random(3) {
      case 0:
        table[id] = step
        model[id] = step
      case 1:
        let removed = table.remove(id)
        #expect(removed == model.removeValue(forKey: id))
      default:
        let found = table.touch(id)
        #expect(found == model[id])
      }
      if table.count != model.count { Issue.record("step \(step): \(table.count) instead of \(model.count)"); return }
    }
    #expect(Set(table.ids) == Set(model.keys))
    #expect(table.elements.sorted() == model.values.sorted())
  }

  @Test func numbersThatNoTaskHasAreNotKept() {
    var table = IdentifierTable<Int>()
    table[0] = 1
    table[-5] = 2
    #expect(table.count == 0)
    #expect(table[0] == nil && table[-5] == nil)
  }

  @Test func theClockSparesWhatWasFoundSinceItPassed() {
    var table = IdentifierTable<Int32>()
    for id in 1...8 as ClosedRange<Int32> { table[id] = id }
    // The first round takes every mark away and then the first it comes to.
    let first = table.evict()
    for id in 1...8 as ClosedRange<Int32> where id != 3 { _ = table.touch(id) }
    let second = table.evict()
    #expect(first != nil)
    #expect(first == 3 || second == 3)
    #expect(table.count == 6)
    while table.evict() != nil {}
    #expect(table.count == 0)
  }
}
