package import Executive

/// A key of the model: subkeys and values by upper-cased name, and in an order in which one can be drawn by number.
///
/// The order is that of their making, with the last one put where one was deleted; it does not depend on how a
/// dictionary hashes, so that a seed means the same operations in every process.
package final class ModelKey {
  package struct Value {
    package var name: UnicodeName
    package var type: ValueType
    package var data: ModelData
  }

  package internal(set) var name: UnicodeName
  package internal(set) var className: UnicodeName?
  package internal(set) var descriptor: [UInt8]
  package internal(set) var time: FileTime
  package internal(set) var isLink: Bool
  package internal(set) weak var parent: ModelKey?

  package private(set) var subkeys: [ModelKey] = []
  package private(set) var values: [Value] = []
  private var subkeyPlaces: [UnicodeName: Int] = [:]
  private var valuePlaces: [UnicodeName: Int] = [:]

  init(
    name: UnicodeName, className: UnicodeName?, descriptor: [UInt8], time: FileTime, isLink: Bool, parent: ModelKey?
  ) {
    self.name = name
    self.className = className
    self.descriptor = descriptor
    self.time = time
    self.isLink = isLink
    self.parent = parent
  }

  package var path: ModelOperation.Path {
    var names: ModelOperation.Path = []
    var place = self
    while let parent = place.parent {
      names.append(place.name)
      place = parent
    }
    return names.reversed()
  }

  /// Keys from the root, the root 0.
  var depth: Int {
    var depth = 0
    var place = self
    while let parent = place.parent {
      depth += 1
      place = parent
    }
    return depth
  }

  func subkey(_ name: UnicodeName) -> ModelKey? { subkeyPlaces[name.upcased].map { subkeys[$0] } }

  func insert(_ key: ModelKey) {
    subkeyPlaces[key.name.upcased] = subkeys.count
    subkeys.append(key)
    key.parent = self
  }

  func remove(_ key: ModelKey) {
    guard let place = subkeyPlaces.removeValue(forKey: key.name.upcased) else { return }
    let last = subkeys.removeLast()
    key.parent = nil
    guard last !== key else { return }
    subkeys[place] = last
    subkeyPlaces[last.name.upcased] = place
  }

  func removeSubkeys() {
    subkeys = []
    subkeyPlaces = [:]
  }

  func value(_ name: UnicodeName) -> Value? { valuePlaces[name.upcased].map { values[$0] } }

  /// A value that is there keeps the case of its name.
  func set(_ value: Value) {
    if let place = valuePlaces[value.name.upcased] {
      values[place].type = value.type
      values[place].data = value.data
    } else {
      valuePlaces[value.name.upcased] = values.count
      values.append(value)
    }
  }

  func removeValue(_ name: UnicodeName) {
    guard let place = valuePlaces.removeValue(forKey: name.upcased) else { return }
    let last = values.removeLast()
    guard place < values.count else { return }
    values[place] = last
    valuePlaces[last.name.upcased] = place
  }

  func replaceValues(by values: [Value]) {
    self.values = []
    valuePlaces = [:]
    for value in values { set(value) }
  }

  /// Calls `body` with this key and all below, a key before its subkeys.
  package func forEach(_ body: (ModelKey) -> Void) {
    var open = [self]
    while let key = open.popLast() {
      body(key)
      open.append(contentsOf: key.subkeys)
    }
  }
}
