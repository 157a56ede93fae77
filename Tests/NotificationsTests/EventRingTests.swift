import Executive
import Testing

@testable import Notifications

@Suite struct EventRingTests {
  private func numbered(_ number: UInt64) -> Event {
    var notification = Samples.notification(.postDeleteKey, key: "k")
    notification.sequence = number
    return .registry(notification)
  }

  /// Against an array, through a seeded mixture of pushes and pops that fills, empties and wraps.
  @Test(arguments: [1, 2, 3, 7, 64])
  func behavesAsABoundedArray(capacity: Int) {
    var ring = EventRing<Event>(capacity: capacity)
    var model: [UInt64] = []
    var random: UInt64 = 42
    for number in 1...5000 as ClosedRange<UInt64> {
      random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      if random >> 62 != 0 {
        let displaced = ring.push(numbered(number))
        model.append(number)
        #expect(displaced?.sequence == (model.count > capacity ? model.removeFirst() : nil))
      } else {
        for _ in 0..<(random >> 40) % 4 {
          #expect(ring.pop()?.sequence == (model.isEmpty ? nil : model.removeFirst()))
        }
      }
      #expect(ring.count == model.count)
    }
  }

  @Test func capacityBelowOneIsOne() {
    var ring = EventRing<Event>(capacity: -3)
    #expect(ring.push(numbered(1)) == nil)
    #expect(ring.push(numbered(2))?.sequence == 1)
  }
}
