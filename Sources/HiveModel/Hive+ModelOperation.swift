package import Executive
package import HiveStorage

extension Hive {
  /// Does the operation at `time`; `model` is what the hive holds, and tells what a saved copy must hold.
  ///
  /// Throws as the hive's own methods do, and `keyNotFound` for a key or value that the model has and the hive has not.
  package mutating func perform(
    _ operation: ModelOperation, of model: RegistryModel, at time: FileTime
  ) throws(HiveError) {
    switch operation {
    case .createKey(let parent, let name, let className, let isLink):
      let parent = try key(parent)
      _ = try createKey(under: parent, named: name.units.span, className: className, isLink: isLink, time: time)
    case .deleteKey(let path):
      try deleteKey(key(path), time: time)
    case .renameKey(let path, let name):
      _ = try renameKey(key(path), to: name.units.span, time: time)
    case .setValue(let path, let name, let type, let data):
      _ = try setValue(of: key(path), named: name.units.span, type: type, data: data.bytes, time: time)
    case .deleteValue(let path, let name):
      let key = try key(path)
      try deleteValue(of: key, value: value(name, of: key), time: time)
    case .renameValue(let path, let name, let newName):
      let key = try key(path)
      _ = try renameValue(of: key, value: value(name, of: key), to: newName.units.span, time: time)
    case .setSecurity(let path, let descriptor):
      try setSecurityDescriptor(ofKey: key(path), descriptor, time: time)
    case .setLastWriteTime(let path, let written):
      try setLastWriteTime(of: key(path), written)
    case .restore(let path, let source):
      let saved = try saved(source, time)
      try restoreKey(key(path), from: saved, key: saved.rootKey, time: time)
    case .save(let path):
      let found = HiveDump(try saved(path, time)).bytes
      let wanted = ModelDump(model.key(path)).bytes
      guard found == wanted else {
        throw .damaged(
          structure: "saved copy of a key", offset: 0,
          problem: "it holds other things than the model\n" + ModelRun.difference(wanted, found))
      }
    }
  }

  /// The tree at `path` as a hive of its own.
  private func saved(_ path: ModelOperation.Path, _ time: FileTime) throws(HiveError) -> Hive {
    let device = MemoryDevice(name: "saved")
    try saveKey(key(path), to: device, time: time)
    return try Hive(device: device, access: .readOnly)
  }

  private func key(_ path: ModelOperation.Path) throws(HiveError) -> CellIndex {
    var key = rootKey
    for name in path {
      guard let subkey = try findSubkey(of: key, named: name.units.span) else { throw .keyNotFound }
      key = subkey
    }
    return key
  }

  private func value(_ name: UnicodeName, of key: CellIndex) throws(HiveError) -> CellIndex {
    guard let value = try findValue(of: key, named: name.units.span) else { throw .keyNotFound }
    return value
  }
}

extension ModelRefusal {
  /// Nil for what no model refuses.
  init?(_ error: HiveError) {
    switch error {
    case .nameCollision: self = .nameCollision
    case .cannotDelete: self = .cannotDelete
    case .limit: self = .limit
    case .damaged, .notAHive, .dirty, .invalid, .device, .changedOutside, .locked, .keyNotFound, .readOnly, .stopped:
      return nil
    }
  }
}
