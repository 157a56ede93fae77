package import ConfigurationManager
internal import Executive
internal import Glibc
internal import Synchronization

extension RegistryFileSystem {
  /// XATTR_CREATE of sys/xattr.h, which Swift does not see.
  private static var createOnly: Int32 { 1 }

  // The attributes: `user.reg.type` of a value, read and written, listed. `user.reg.data` (listed where the text cannot give the
  // data back), `user.reg.class` of a key (listed when it has one), `user.reg.lastwrite`, `user.reg.name`, `user.reg.flags`,
  // read only; and `system.ntfs_acl` of a key, read and written.

  /// Throws ENODATA for an attribute that is not there.
  package func getAttribute(
    _ name: UnsafePointer<CChar>, of nodeID: UInt64, by caller: Caller
  ) throws(Errno) -> [UInt8] {
    guard let node = inodes.node(nodeID), node.value?.withLock({ $0.isNameless }) != true else { throw .noEntry }
    let attribute = String(cString: name)
    // The kernel asks for security.* before each write; nothing is looked up for it.
    guard attribute.hasPrefix("user.reg.") || attribute == "system.ntfs_acl" else { throw .noData }
    if let unsaved = node.value?.withLock({ $0.unsaved }) { return try getAttribute(attribute, of: node, unsaved) }
    let bytes: [UInt8]?
    do { bytes = try value(ofAttribute: attribute, of: node, by: caller) } catch { throw Errno(error) }
    guard let bytes else { throw .noData }
    return bytes
  }

  private func value(ofAttribute attribute: String, of node: Node, by caller: Caller) throws(NTStatus) -> [UInt8]? {
    switch (node.kind, attribute) {
    case (.value, "user.reg.type"): return Array(try current(node).value.type.name.utf8)
    case (.value, "user.reg.data"):
      guard let place = node.value?.withLock({ ($0.parent, $0.name) }) else { return nil }
      // The data itself: as much a query as reading the file.
      let value = try registry.queryValue(of: place.0, named: place.1, by: caller) { () throws(NTStatus) in
        try current(node).value
      }
      return ValueCodec.isLossless(value) ? nil : value.data
    case (.value, "user.reg.name"): return Self.utf8(try current(node).name)
    case (.value, "user.reg.lastwrite"): return Array("\(try current(node).time.rawValue)".utf8)
    case (.key(let key, _), "user.reg.class"): return try registry.queryClass(of: key).map(Self.utf8)
    case (.key(let key, _), "user.reg.name"): return Self.utf8(try registry.query(key).name)
    case (.key(let key, _), "user.reg.lastwrite"): return Array("\(try registry.query(key).lastWriteTime.rawValue)".utf8)
    case (.key(let key, _), "user.reg.flags"):
      return Array(("0x" + String(try registry.queryFlags(of: key), radix: 16)).utf8)
    case (.key(let key, _), "system.ntfs_acl"): return try registry.querySecurity(of: key, by: caller)
    default: return nil
    }
  }

  /// The listed names, each with its NUL.
  package func listAttributes(of nodeID: UInt64) throws(Errno) -> [UInt8] {
    guard let node = inodes.node(nodeID), node.value?.withLock({ $0.isNameless }) != true else { throw .noEntry }
    var names: [String] = []
    do throws(NTStatus) {
      switch node.kind {
      case .value where node.value?.withLock({ $0.unsaved }) != nil: names = node.value?.withLock { $0.unsaved }?.attributes ?? []
      case .value:
        // The data first: who copies both in this order gives them before the text is read as the type.
        if !ValueCodec.isLossless(try current(node).value) { names.append("user.reg.data") }
        names.append("user.reg.type")
      case .key(let key, _): if try registry.queryClass(of: key) != nil { names.append("user.reg.class") }
      case .control, .alias: break
      }
    } catch { throw Errno(error) }
    return names.flatMap { Array($0.utf8) + [0] }
  }

  /// Sets a key's security descriptor, or a value's type: its text is read anew as that type, EINVAL or ERANGE when it is none. The node returned has pages to be
  /// dropped.
  package func setAttribute(
    _ name: UnsafePointer<CChar>, to bytes: UnsafeRawBufferPointer, flags: Int32, of nodeID: UInt64, by caller: Caller
  ) throws(Errno) -> UInt64? {
    guard let node = inodes.node(nodeID), node.value?.withLock({ $0.isNameless }) != true else { throw .noEntry }
    guard !registry.isReadOnly else { throw .readOnly }
    let attribute = String(cString: name)
    if case .key(let key, _) = node.kind, attribute == "system.ntfs_acl" {
      guard flags & Self.createOnly == 0 else { throw .exists }
      do { try registry.setKeySecurity(of: key, to: Array(bytes), by: caller) } catch { throw Errno(error) }
      dropTimes(of: key)
      return nil
    }
    if let unsaved = node.value?.withLock({ $0.unsaved }),
      try setAttribute(attribute, to: Array(bytes), isNew: flags & Self.createOnly != 0, of: node, unsaved, by: caller)
    { return nil }
    guard attribute == "user.reg.type" else { throw .notSupported }
    guard let value = node.value else { throw .notSupported }
    guard flags & Self.createOnly == 0 else { throw .exists }
    guard let type = ValueType(name: String(decoding: bytes, as: UTF8.self)) else { throw .invalid }
    let (parent, valueName, ordinal) = value.withLock { ($0.parent, $0.name, $0.ordinal) }
    guard ordinal == 1 else { throw .notSupported }
    let old: RegistryValue
    do { old = try current(node).value } catch { throw Errno(error) }
    let data = old.type == type ? old.data : try ValueCodec.data(from: ValueCodec.text(of: old), type: type)
    do {
      try registry.setValue(of: parent, named: valueName, to: RegistryValue(type: type, data: data), by: caller) { _ in
        value.withLock { state in
          state.type = type
          state.isUntyped = false
          state.generation += 1
        }
      }
    } catch { throw Errno(error) }
    dropTimes(of: parent)
    return value.withLock { $0.readers > 0 } ? nodeID : nil
  }

  /// Nothing can be taken away: a value always has its type.
  package func removeAttribute(_ name: UnsafePointer<CChar>, of nodeID: UInt64, by caller: Caller) throws(Errno) {
    guard !registry.isReadOnly else { throw .readOnly }
    _ = try getAttribute(name, of: nodeID, by: caller)
    throw .notPermitted
  }

  private func current(_ node: Node) throws(NTStatus) -> (value: RegistryValue, name: UnicodeName, time: FileTime) {
    guard let value = node.value else { throw .objectNameNotFound }
    let (parent, name, ordinal) = value.withLock { ($0.parent, $0.name, $0.ordinal) }
    let (information, data, time) = try registry.queryValue(of: parent, named: name, ordinal: ordinal)
    return (RegistryValue(type: information.type, data: data), information.name, time)
  }

  static func utf8(_ name: UnicodeName) -> [UInt8] {
    var bytes: [UInt8] = []
    NameCodec.encodeUnits(name.units, into: &bytes)
    return bytes
  }
}
