package import Executive
package import HiveStorage

/// What a hive should hold: the registry as dictionaries, with the same refusals and the same times.
package struct RegistryModel {
  package let minorVersion: Int
  package let root: ModelKey
  /// Every key, to draw one by number; a key knows nothing of its place here.
  private(set) var keys: [ModelKey]

  /// A hive as `format` makes it.
  package init(minorVersion: Int) {
    self.minorVersion = minorVersion
    root = ModelKey(
      name: "ROOT", className: nil, descriptor: ModelDescriptor.bytes(0), time: Self.time(0), isLink: false,
      parent: nil)
    keys = [root]
  }

  /// Makes `device` the hive with which the model begins.
  package static func format(_ device: any HiveDevice, minorVersion: Int) throws(HiveError) {
    try Hive.format(device: device, minorVersion: minorVersion, descriptor: ModelDescriptor.bytes(0), time: time(0))
  }

  /// When the operation of this number, counted from 1, is done: in 2026, a second apart.
  package static func time(_ number: Int) -> FileTime {
    FileTime(rawValue: 134_116_128_000_000_000 + UInt64(number) * 10_000_000)
  }

  /// Does the operation, or says why it is refused. A path that leads to no key is a mistake of the caller.
  package mutating func apply(_ operation: ModelOperation, at time: FileTime) -> ModelRefusal? {
    switch operation {
    case .createKey(let parent, let name, let className, let isLink):
      if Self.isBadKeyName(name) { return .limit }
      let parent = key(parent)
      guard parent.depth < Hive.deepestKey else { return .limit }
      guard parent.subkey(name) == nil else { return .nameCollision }
      let made = ModelKey(
        name: name, className: className, descriptor: parent.descriptor, time: time, isLink: isLink, parent: parent)
      parent.insert(made)
      parent.time = time
      keys.append(made)
    case .deleteKey(let path):
      let key = key(path)
      guard let parent = key.parent, key.subkeys.isEmpty else { return .cannotDelete }
      parent.remove(key)
      parent.time = time
      forget(key)
    case .renameKey(let path, let name):
      if Self.isBadKeyName(name) { return .limit }
      let key = key(path)
      guard let parent = key.parent else { return .cannotDelete }
      if let taken = parent.subkey(name), taken !== key { return .nameCollision }
      parent.remove(key)
      key.name = name
      parent.insert(key)
      key.time = time
      parent.time = time
    case .setValue(let path, let name, let type, let data):
      guard name.units.count <= Hive.longestValueName, data.count <= longestData else { return .limit }
      let key = key(path)
      key.set(ModelKey.Value(name: name, type: type, data: data))
      key.time = time
    case .deleteValue(let path, let name):
      let key = key(path)
      key.removeValue(name)
      key.time = time
    case .renameValue(let path, let name, let newName):
      guard newName.units.count <= Hive.longestValueName else { return .limit }
      let key = key(path)
      guard newName.equalsIgnoringCase(name) || key.value(newName) == nil else { return .nameCollision }
      guard var value = key.value(name) else { return nil }
      key.removeValue(name)
      value.name = newName
      key.set(value)
      key.time = time
    case .setSecurity(let path, let descriptor):
      let key = key(path)
      key.descriptor = descriptor
      key.time = time
    case .setLastWriteTime(let path, let written):
      key(path).time = written
    case .restore(let path, let source):
      restore(key(path), from: key(source))
      key(path).time = time
    case .save:
      break
    }
    return nil
  }

  package func key(_ path: ModelOperation.Path) -> ModelKey {
    path.reduce(root) { key, name in
      guard let subkey = key.subkey(name) else { preconditionFailure("the model has no key \(path)") }
      return subkey
    }
  }

  private var longestData: Int { minorVersion >= 4 ? 65535 * 16344 : 1 << 20 }

  private static func isBadKeyName(_ name: UnicodeName) -> Bool {
    name.isEmpty || name.units.count > Hive.longestKeyName || name.units.contains(0x5C)
  }

  /// By the last key's taking its place; the search is the price of an order that no dictionary decides.
  private mutating func forget(_ key: ModelKey) {
    guard let place = keys.firstIndex(where: { $0 === key }) else { return }
    keys.swapAt(place, keys.count - 1)
    keys.removeLast()
  }

  private mutating func restore(_ target: ModelKey, from source: ModelKey) {
    // The source may lie above the target, or below: it is copied whole before anything goes.
    let saved = Self.copy(source, parent: nil)
    for subkey in target.subkeys { subkey.forEach { forget($0) } }
    target.removeSubkeys()
    for subkey in saved.subkeys {
      target.insert(subkey)
      subkey.forEach { keys.append($0) }
    }
    target.replaceValues(by: saved.values)
    target.className = saved.className
    target.descriptor = saved.descriptor
    target.isLink = saved.isLink
  }

  private static func copy(_ key: ModelKey, parent: ModelKey?) -> ModelKey {
    let copy = ModelKey(
      name: key.name, className: key.className, descriptor: key.descriptor, time: key.time, isLink: key.isLink,
      parent: parent)
    copy.replaceValues(by: key.values)
    for subkey in key.subkeys { copy.insert(Self.copy(subkey, parent: copy)) }
    return copy
  }
}
