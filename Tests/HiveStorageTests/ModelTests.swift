import Executive
import HiveStorage
import Testing

/// What a hive should hold, as dictionaries by upper-cased name.
private final class Model {
  var name: UnicodeName
  var subkeys: [UnicodeName: Model] = [:]
  var values: [UnicodeName: (name: UnicodeName, value: RegistryValue)] = [:]
  init(_ name: UnicodeName) { self.name = name }
}

/// Random operations on a hive and on a model; the whole tree is compared, also after a commit and another opening.
@Suite struct ModelTests {
  @Test(arguments: [(3, 1), (5, 2), (5, 3), (3, 4)] as [(Int, UInt64)])
  func randomOperationsMatchTheModel(minor: Int, seed: UInt64) throws {
    print("model test: version 1.\(minor), seed \(seed)")
    var random = SeededGenerator(state: seed)
    let logs = LogPair.inMemory()
    var hive = try TestHive(minorVersion: minor, logs: logs)
    let model = Model("ROOT")
    for step in 1...5000 {
      try operate(hive, model, &random)
      if step % 500 == 0 {
        hive.expectSound()
        try compare(hive, model)
      }
      if step % 1000 == 0 {
        // Every other time by the logs alone.
        if step % 2000 == 0 { try hive.commit() }
        hive = try TestHive(device: hive.device, logs: logs)
        hive.expectSound()
        try compare(hive, model)
      }
    }
    let counted = try hive.statistics()
    // Forces the counts to be kept, then compares them with counting anew.
    try hive.hive.setLastWriteTime(of: hive.root, FileTime(rawValue: 5))
    #expect(try hive.statistics() == counted)
    try hive.commit()
    try check(hive.bytes, name: "model-1.\(minor)-\(seed)")
  }

  private func pickKey(
    _ hive: TestHive, _ model: Model, _ random: inout SeededGenerator
  ) throws -> (CellIndex, Model, (CellIndex, Model)?) {
    var key = hive.root
    var place = model
    var parent: (CellIndex, Model)?
    while !place.subkeys.isEmpty, Int.random(in: 0..<4, using: &random) > 0 {
      let names = place.subkeys.keys.sorted { UpcaseTable.compare($0.units.span, $1.units.span) < 0 }
      let name = names[Int.random(in: 0..<names.count, using: &random)]
      parent = (key, place)
      key = try #require(try hive.subkey(name, of: key))
      place = try #require(place.subkeys[name])
    }
    return (key, place, parent)
  }

  private func randomName(_ random: inout SeededGenerator) -> UnicodeName {
    let alphabets: [[UInt16]] = [
      Array("abcXYZ09".utf16), Array("äßÿÿµ".utf16), Array("文σςΣ".utf16) + [0xD800, 0xDC38, 0xFF21, 0],
    ]
    let alphabet = alphabets[Int.random(in: 0..<8, using: &random) % 3]
    let count = Int.random(in: 0..<20, using: &random) == 0 ? 200 : Int.random(in: 1...6, using: &random)
    return UnicodeName(units: (0..<count).map { _ in alphabet[Int.random(in: 0..<alphabet.count, using: &random)] })
  }

  private func randomData(_ random: inout SeededGenerator) -> [UInt8] {
    let limits = [4, 8, 100, 1000, 17_000, 100_000]
    let limit = limits[min(Int.random(in: 0..<16, using: &random), Int.random(in: 0..<6, using: &random))]
    return bytes(Int.random(in: 0...limit, using: &random), Int.random(in: 0..<256, using: &random))
  }

  private func operate(_ hive: TestHive, _ model: Model, _ random: inout SeededGenerator) throws {
    let (key, place, parent) = try pickKey(hive, model, &random)
    let name = randomName(&random)
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<25:
      if place.subkeys[name.upcased] != nil {
        #expect(throws: HiveError.nameCollision) { _ = try hive.create(name, under: key) }
      } else {
        _ = try hive.create(name, under: key, className: name.units.count == 1 ? "class" : nil)
        place.subkeys[name.upcased] = Model(name)
      }
    case 25..<40:
      guard let (above, model) = parent else { return }
      if place.subkeys.isEmpty {
        try hive.delete(key)
        model.subkeys[place.name.upcased] = nil
      } else {
        #expect(throws: HiveError.cannotDelete) { try hive.delete(key) }
        #expect(try hive.subkey(place.name, of: above) == key)
      }
    case 40..<50:
      guard let (_, model) = parent else { return }
      if let taken = model.subkeys[name.upcased], taken !== place {
        #expect(throws: HiveError.nameCollision) { _ = try hive.rename(key, to: name) }
      } else {
        _ = try hive.rename(key, to: name)
        model.subkeys[place.name.upcased] = nil
        place.name = name
        model.subkeys[name.upcased] = place
      }
    case 50..<80:
      let names = place.values.keys.sorted { UpcaseTable.compare($0.units.span, $1.units.span) < 0 }
      let reuse = !names.isEmpty && Bool.random(using: &random)
      let name = reuse ? names[Int.random(in: 0..<names.count, using: &random)] : name
      let value = RegistryValue(type: ValueType(rawValue: UInt32(name.units.count)), data: randomData(&random))
      try hive.set(name, of: key, to: value.data, type: value.type)
      place.values[name.upcased] = (place.values[name.upcased]?.name ?? name, value)
    default:
      let names = place.values.keys.sorted { UpcaseTable.compare($0.units.span, $1.units.span) < 0 }
      guard !names.isEmpty else { return }
      let old = names[Int.random(in: 0..<names.count, using: &random)]
      let value = try #require(try hive.value(old, of: key))
      if Bool.random(using: &random) {
        try hive.deleteValue(of: key, value: value)
        place.values[old] = nil
      } else if place.values[name.upcased] == nil || name.upcased == old {
        _ = try hive.renameValue(of: key, value: value, to: name)
        let content = try #require(place.values[old]).value
        place.values[old] = nil
        place.values[name.upcased] = (name, content)
      }
    }
  }

  private func compare(_ hive: TestHive, _ model: Model) throws {
    var open = [(hive.root, model)]
    while let (key, place) = open.popLast() {
      let names = try hive.subkeyNames(of: key)
      let expected = place.subkeys.values.map(\.name)
      #expect(names == expected.sorted { UpcaseTable.compare($0.units.span, $1.units.span) < 0 })
      #expect(try hive.keyNode(at: key).valueCount == place.values.count)
      for (name, value) in place.values.values {
        let cell = try #require(try hive.value(name, of: key))
        #expect(try hive.valueName(at: cell) == name)
        #expect(try hive.valueNode(at: cell).type == value.type)
        #expect(try hive.data(ofValue: cell) == value.data)
      }
      for child in place.subkeys.values {
        open.append((try #require(try hive.subkey(child.name, of: key)), child))
      }
    }
  }
}
