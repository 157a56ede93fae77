import Executive
import Testing

@testable import HiveStorage

/// Keys with more values than `ValueIndexes.fewestValues`, against a dictionary.
@Suite struct ValueIndexTests {
  private func emptyHive() throws -> Hive {
    let device = MemoryDevice(name: "memory", [])
    try Hive.format(device: device, minorVersion: 5)
    return try Hive(device: device, access: .readWrite, logs: LogPair(MemoryDevice(name: "LOG1"), MemoryDevice(name: "LOG2")))
  }

  @Test(arguments: 1...4 as ClosedRange<UInt64>)
  func lookUpsAgreeWithADictionaryWhileValuesComeAndGo(seed: UInt64) throws {
    var hive = try emptyHive()
    let key = try hive.createKey(under: hive.rootKey, named: UnicodeName("k").units.span, time: .now())
    var model: [String: UInt8] = [:]
    var state = seed
    func random(_ below: UInt64) -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (state >> 33) % below
    }
    for step in 0..<4000 {
      // "AX" and "B3" of the hash h × 37 + unit collide: 65 × 37 + 88 = 66 × 37 + 51.
      let name = ["ax", "b3"][Int(random(2))] + String(random(120))
      let units = UnicodeName(random(2) == 0 ? name : name.uppercased()).units
      let found = try hive.findValue(of: key, named: units.span)
      #expect((found != nil) == (model[name] != nil), "seed \(seed), step \(step): \(name)")
      if random(5) < 3 {
        let byte = UInt8(random(256))
        let cell = try hive.setValue(
          of: key, named: units.span, type: .binary, data: [byte, 1, 2, 3, 4], time: .now())
        if let found { #expect(cell == found) }
        model[name] = byte
      } else if let found {
        if random(3) == 0, model["renamed" + name] == nil {
          _ = try hive.renameValue(of: key, value: found, to: UnicodeName("renamed" + name).units.span, time: .now())
          model["renamed" + name] = model[name]
        } else {
          try hive.deleteValue(of: key, value: found, time: .now())
        }
        model[name] = nil
      }
    }
    #expect(try hive.keyNode(at: key).valueCount == model.count)
    for (name, byte) in model {
      let found = try hive.findValue(of: key, named: UnicodeName(name).units.span)
      let cell = try #require(found)
      #expect(try hive.data(ofValue: cell).first == byte)
    }
    #expect(HiveChecker(hive).findings.isEmpty)
  }

  /// What was asked for last stays, and a key with more values than all may have together has its index, too.
  @Test func whatWasNotAskedForLongestGivesWay() {
    let indexes = ValueIndexes()
    var built: [UInt32] = []
    func ask(_ key: UInt32, count: Int = 100) {
      let answer = indexes.find(7, in: CellIndex(rawValue: key), count: count, limit: 250) { note in
        built.append(key)
        for number in 0..<count { note(CellIndex(rawValue: key + UInt32(number)), UInt32(number)) }
      }
      if case .candidate(let cell) = answer { #expect(cell.rawValue == key + 7) } else { Issue.record("\(key): \(answer)") }
    }
    for key in [8, 16, 8, 24] as [UInt32] { ask(key) }
    #expect(built == [8, 16, 24])
    ask(8)
    #expect(built == [8, 16, 24], "16 gave way")
    ask(16)
    ask(8)
    #expect(built == [8, 16, 24, 16], "24 gave way")
    ask(32, count: 300)
    ask(32, count: 300)
    #expect(built == [8, 16, 24, 16, 32])
  }

  @Test func anUndoneChangeIsNotRemembered() throws {
    var hive = try emptyHive()
    let root = hive.rootKey
    for number in 0..<64 {
      _ = try hive.setValue(of: root, named: UnicodeName("v\(number)").units.span, type: .dword, data: [1], time: .now())
    }
    #expect(try hive.findValue(of: root, named: UnicodeName("v63").units.span) != nil)
    let units = UnicodeName("new").units
    #expect(throws: HiveError.keyNotFound) {
      try hive.transaction { (hive) throws(HiveError) in
        let cell = try hive.allocate(32)
        hive.valueIndexes.insert(cell.index, hash: UpcaseTable.hash(units.span), in: root)
        throw .keyNotFound
      }
    }
    #expect(try hive.findValue(of: root, named: units.span) == nil)
    #expect(try hive.findValue(of: root, named: UnicodeName("V0").units.span) != nil)
  }
}
