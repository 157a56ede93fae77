import Testing

@testable import RegistryFileSystem

@Suite struct PlaceIndexTests {
  /// Against a dictionary: many places in few buckets, so that removals leave holes in long searches.
  @Test(arguments: [1, 2, 3] as [UInt64])
  func itFindsWhatADictionaryFinds(seed: UInt64) {
    var random = seed
    func next(_ bound: UInt64) -> UInt64 {
      random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (random >> 33) % bound
    }
    var places: [UInt64] = Array(repeating: 0, count: 4000)
    var free = Array(1..<UInt32(4000))
    var index = PlaceIndex()
    var model: [UInt64: UInt32] = [:]
    for _ in 0..<60_000 {
      let place = (next(5000) + 1) * 8 | next(2)
      if let slot = model[place] {
        index.remove(place) { places[Int($0)] }
        places[Int(slot)] = 0
        model[place] = nil
        free.append(slot)
      } else if let slot = free.popLast() {
        places[Int(slot)] = place
        index.insert(slot) { places[Int($0)] }
        model[place] = slot
      }
      let asked = (next(5000) + 1) * 8 | next(2)
      #expect(index.find(asked) { places[Int($0)] } == model[asked])
    }
    for (place, slot) in model { #expect(index.find(place) { places[Int($0)] } == slot) }
  }
}
