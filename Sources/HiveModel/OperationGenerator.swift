internal import Executive

/// Draws operations that a model can be asked for, of all kinds; some are refused.
struct OperationGenerator {
  private let profile: ModelRun.Profile
  private var random: SeededGenerator

  init(seed: UInt64, profile: ModelRun.Profile) {
    self.profile = profile
    random = SeededGenerator(state: seed)
  }

  static let linkValue: UnicodeName = "SymbolicLinkValue"
  /// Keys of a tree that is saved or restored, and how deep a restored one may end.
  private static let mostRestored = 50
  private static let deepestRestored = 100

  mutating func next(for model: RegistryModel) -> ModelOperation {
    // A hive that has grown as it should keeps its size: more goes than comes.
    let isFull = model.keys.count > profile.keyCount
    switch random.number(0..<1000) {
    case 0..<(isFull ? 150 : 280): return createKey(in: model)
    case ..<380: return deleteKey(in: model)
    case ..<450: return renameKey(in: model)
    case ..<780: return setValue(in: model)
    case ..<880: return deleteValue(in: model) ?? createKey(in: model)
    case ..<930: return renameValue(in: model) ?? setValue(in: model)
    case ..<960:
      return .setSecurity(key: key(in: model).path, descriptor: ModelDescriptor.bytes(random.number(0..<60)))
    case ..<980:
      let time = FileTime(rawValue: UInt64(random.number(0..<1 << 62)))
      return .setLastWriteTime(key: key(in: model).path, time: time)
    case ..<990: return restore(in: model, mayGrow: !isFull) ?? setValue(in: model)
    default: return save(in: model) ?? setValue(in: model)
    }
  }

  // MARK: Keys

  /// Any key, the root and the newest one more often: long lists and deep places.
  private mutating func key(in model: RegistryModel) -> ModelKey {
    switch random.number(0..<8) {
    case 0, 1: model.root
    case 2: model.keys[model.keys.count - 1]
    default: random.pick(model.keys)
    }
  }

  private mutating func createKey(in model: RegistryModel) -> ModelOperation {
    let parent = key(in: model)
    let taken = parent.subkeys.isEmpty || !random.oneIn(20) ? nil : random.pick(parent.subkeys)
    let name = taken.map { recased($0.name) } ?? keyName()
    let className = random.oneIn(8) ? UnicodeName(units: units(random.number(1..<60))) : nil
    return .createKey(parent: parent.path, name: name, className: className, isLink: random.oneIn(25))
  }

  private mutating func deleteKey(in model: RegistryModel) -> ModelOperation {
    var place = random.pick(model.keys)
    // Most often one that can go.
    while !place.subkeys.isEmpty, !random.oneIn(20) { place = random.pick(place.subkeys) }
    return .deleteKey(place.path)
  }

  private mutating func renameKey(in model: RegistryModel) -> ModelOperation {
    let key = random.pick(model.keys)
    return .renameKey(key.path, to: random.oneIn(4) ? recased(key.name) : keyName())
  }

  // MARK: Values

  private mutating func setValue(in model: RegistryModel) -> ModelOperation {
    let key = key(in: model)
    if key.isLink, random.oneIn(2) {
      let data = ModelData(count: 2 * random.number(1..<50), seed: random.number(0..<256))
      return .setValue(key: key.path, name: Self.linkValue, type: .link, data: data)
    }
    let old = key.values.isEmpty || random.oneIn(2) ? nil : random.pick(key.values)
    if let old, old.name.equalsIgnoringCase(Self.linkValue) {
      return .setValue(key: key.path, name: old.name, type: .link, data: data())
    }
    let name = old.map { random.oneIn(4) ? recased($0.name) : $0.name } ?? valueName()
    return .setValue(key: key.path, name: name, type: valueType(), data: data())
  }

  private mutating func deleteValue(in model: RegistryModel) -> ModelOperation? {
    guard let (key, value) = value(in: model) else { return nil }
    return .deleteValue(key: key.path, name: random.oneIn(4) ? recased(value.name) : value.name)
  }

  private mutating func renameValue(in model: RegistryModel) -> ModelOperation? {
    guard let (key, value) = value(in: model) else { return nil }
    let name: UnicodeName
    switch random.number(0..<4) {
    case 0: name = recased(value.name)
    case 1:
      let other = random.pick(key.values).name
      // What another key's value may be called, a link's target may not be.
      name = other.equalsIgnoringCase(Self.linkValue) ? valueName() : other
    default: name = valueName()
    }
    return .renameValue(key: key.path, name: value.name, to: name)
  }

  private mutating func value(in model: RegistryModel) -> (key: ModelKey, value: ModelKey.Value)? {
    for _ in 0..<8 {
      let key = key(in: model)
      if !key.values.isEmpty { return (key, random.pick(key.values)) }
    }
    return nil
  }

  // MARK: Trees

  private mutating func restore(in model: RegistryModel, mayGrow: Bool) -> ModelOperation? {
    let source = random.pick(model.keys)
    let target = mayGrow ? random.pick(model.keys) : key(in: model)
    guard let height = height(of: source), target.depth + height <= Self.deepestRestored,
      mayGrow || source.subkeys.count <= target.subkeys.count,
      // Neither can the root be a link, nor must a restored root empty the hive.
      target.parent != nil
    else { return nil }
    return .restore(key: target.path, source: source.path)
  }

  private mutating func save(in model: RegistryModel) -> ModelOperation? {
    let key = random.pick(model.keys)
    // The root of the copy keeps its flags.
    return height(of: key) == nil || key.isLink ? nil : .save(key.path)
  }

  /// Keys below `key` at most, one in the other; nil for a tree that is too large.
  private func height(of key: ModelKey) -> Int? {
    var open = [(key, 0)]
    var height = 0
    var count = 0
    while let (place, depth) = open.popLast() {
      count += 1
      guard count + place.subkeys.count <= Self.mostRestored else { return nil }
      height = max(height, depth)
      for subkey in place.subkeys { open.append((subkey, depth + 1)) }
    }
    return height
  }

  // MARK: Names and data

  /// Key names; one in some hundred is none that a key may have.
  private mutating func keyName() -> UnicodeName {
    if random.oneIn(300) {
      return random.pick([UnicodeName(units: []), "a\\b", UnicodeName(units: units(256))])
    }
    if random.oneIn(50) { return UnicodeName(units: units(random.pick([255, 254, 128, 100]))) }
    if random.oneIn(40) {
      return random.pick(profile.names == .every ? [".", "..", "a/b", " ", "u0041", "u{}"] : ["a b"])
    }
    return UnicodeName(units: units(random.number(1..<12)))
  }

  private mutating func valueName() -> UnicodeName {
    if random.oneIn(20) { return UnicodeName(units: []) }
    if random.oneIn(30) { return UnicodeName(units: Array("C:\\path\\".utf16) + units(random.number(1..<8))) }
    if profile.names == .every, random.oneIn(200) {
      return UnicodeName(units: units(random.pick([16383, 16384, 5000, 300])))
    }
    return UnicodeName(units: units(random.number(1..<14)))
  }

  private mutating func units(_ count: Int) -> [UInt16] {
    let alphabet: [UInt16] =
      switch random.number(0..<10) {
      case 0: Array("äßÿµÉ×÷".utf16)
      case 1: Array("文字σςΣжЖ".utf16)
      case 2 where profile.names == .every: [0xD800, 0xDC38, 0xD801, 0xFF21, 0xFEFF, 0xFFFF, 0x2028, 0, 9, 0x2F, 0x41]
      default: Array("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789_- .".utf16)
      }
    return (0..<count).map { _ in random.pick(alphabet) }
  }

  /// The same name to the registry, written otherwise where there is another case.
  private mutating func recased(_ name: UnicodeName) -> UnicodeName {
    if random.oneIn(2) { return name.upcased }
    return UnicodeName(units: name.units.map { (0x41...0x5A).contains($0) ? $0 + 32 : $0 })
  }

  private mutating func valueType() -> ValueType {
    ValueType(rawValue: random.oneIn(12) ? random.pick([0xFFFF_0011, 0x20_0000, 500]) : UInt32(random.number(0..<12)))
  }

  private static let boundaries = [
    0, 1, 3, 4, 5, 8, 9, 4000, 4056, 4064, 4096, 16343, 16344, 16345, 16352, 2 * 16344, 2 * 16344 + 1,
  ]

  private mutating func data() -> ModelData {
    var count: Int
    switch random.number(0..<100) {
    case ..<40: count = random.number(0..<9)
    case ..<75: count = random.number(0..<200)
    case ..<90: count = random.number(0..<3000)
    case ..<97: count = random.pick(Self.boundaries)
    case ..<99: count = random.number(0..<100_000)
    default:
      // Over the limit of 1.3.
      count = profile.minorVersion <= 3 && random.oneIn(10) ? (1 << 20) + 1 : 16344
    }
    if count > profile.longestData, count <= 1 << 20 { count %= profile.longestData + 1 }
    return ModelData(count: count, seed: random.number(0..<256))
  }
}
