package import ConfigurationManager
internal import Executive
internal import Glibc
internal import Synchronization

/// The attributes that files have, SEMANTICS.md 4: by name, what they belong to and what can be done with them.
enum ExtendedAttribute: String {
  case type = "user.reg.type"
  case data = "user.reg.data"
  case className = "user.reg.class"
  case name = "user.reg.name"
  case lastWrite = "user.reg.lastwrite"
  case flags = "user.reg.flags"
  case sddl = "user.reg.sddl"
  case acl = "system.ntfs_acl"

  var isOfValues: Bool {
    switch self {
    case .type, .data, .name, .lastWrite, .flags: true
    case .className, .sddl, .acl: false
    }
  }

  var isOfKeys: Bool {
    switch self {
    case .className, .name, .lastWrite, .flags, .sddl, .acl: true
    case .type, .data: false
    }
  }
}

extension RegistryFileSystem {
  // XATTR_CREATE and XATTR_REPLACE of sys/xattr.h, which Swift does not see.
  private static var createOnly: Int32 { 1 }
  private static var replaceOnly: Int32 { 2 }

  /// Throws ENODATA for an attribute that is not there.
  package func getAttribute(
    _ name: UnsafePointer<CChar>, of nodeID: UInt64, by caller: Caller
  ) throws(Errno) -> [UInt8] {
    let node = try namedNode(nodeID)
    // The kernel asks for security.* before each write; nothing is looked up for it.
    guard let attribute = Self.attribute(name), let bytes = try content(of: attribute, of: node, by: caller) else {
      throw .noData
    }
    return bytes
  }

  /// The listed names, each with its NUL.
  package func listAttributes(of nodeID: UInt64) throws(Errno) -> [UInt8] {
    let node = try namedNode(nodeID)
    var names: [ExtendedAttribute] = []
    do throws(NTStatus) {
      switch node.kind {
      case .value where node.value?.withLock({ $0.unsaved }) != nil:
        names = node.value?.withLock { $0.unsaved }?.attributes ?? []
      case .value:
        // The data first: who copies both in this order gives them before the text is read as the type.
        if try exactData(of: node, current(node).value) != nil { names.append(.data) }
        names.append(.type)
      case .key(let key, _): if try registry.queryClass(of: key) != nil { names.append(.className) }
      case .control, .alias: break
      }
    } catch { throw Errno(error) }
    return names.flatMap { Array($0.rawValue.utf8) + [0] }
  }

  /// Throws EOPNOTSUPP for an attribute that cannot be set; with XATTR_CREATE EEXIST for one that is there, with XATTR_REPLACE
  /// ENODATA for one that is not. The node returned has pages to be dropped.
  package func setAttribute(
    _ name: UnsafePointer<CChar>, to bytes: UnsafeRawBufferPointer, flags: Int32, of nodeID: UInt64, by caller: Caller
  ) throws(Errno) -> UInt64? {
    let node = try namedNode(nodeID)
    guard !registry.isReadOnly else { throw .readOnly }
    guard let attribute = Self.attribute(name) else { throw .notSupported }
    if flags & (Self.createOnly | Self.replaceOnly) != 0 {
      let isThere = try content(of: attribute, of: node, by: caller) != nil
      if isThere, flags & Self.createOnly != 0 { throw .exists }
      if !isThere, flags & Self.replaceOnly != 0 { throw .noData }
    }
    if let unsaved = node.value?.withLock({ $0.unsaved }),
      try set(attribute, to: Array(bytes), of: node, unsaved, by: caller)
    { return nil }
    switch (node.kind, attribute) {
    case (.value, .type):
      guard let type = ValueType(name: String(decoding: bytes, as: UTF8.self)) else { throw .invalid }
      return try set(node, type: type, by: caller)
    case (.value, .data): return try set(node, exactData: Array(bytes), by: caller)
    case (.key(let key, _), .className):
      let units = try NameCodec.decodeUnits(bytes)
      guard units.count <= 0xFFFF / 2 else { throw .nameTooLong }
      try setClass(of: key, to: units.isEmpty ? nil : UnicodeName(units: units), by: caller)
    case (.key(let key, _), .acl):
      do { try registry.setKeySecurity(of: key, to: Array(bytes), by: caller) } catch { throw Errno(error) }
      dropTimes(of: key)
    case (.key(let key, _), .sddl): try setSecurity(of: key, text: String(decoding: bytes, as: UTF8.self), by: caller)
    default: throw .notSupported
    }
    return nil
  }

  /// Throws ENODATA for an attribute that is not there, EPERM for one that nothing can be without. The node returned has pages to
  /// be dropped.
  package func removeAttribute(
    _ name: UnsafePointer<CChar>, of nodeID: UInt64, by caller: Caller
  ) throws(Errno) -> UInt64? {
    let node = try namedNode(nodeID)
    guard !registry.isReadOnly else { throw .readOnly }
    guard let attribute = Self.attribute(name), try content(of: attribute, of: node, by: caller) != nil else {
      throw .noData
    }
    if attribute == .data, let unsaved = node.value?.withLock({ $0.unsaved }),
      try set(attribute, to: nil, of: node, unsaved, by: caller)
    { return nil }
    switch (node.kind, attribute) {
    case (.value, .data): return try dropExactData(of: node, by: caller)
    case (.key(let key, _), .className): try setClass(of: key, to: nil, by: caller)
    default: throw .notPermitted
    }
    return nil
  }

  // MARK: Reading

  private static func attribute(_ name: UnsafePointer<CChar>) -> ExtendedAttribute? {
    ExtendedAttribute(rawValue: String(cString: name))
  }

  private func namedNode(_ nodeID: UInt64) throws(Errno) -> Node {
    guard let node = inodes.node(nodeID), node.value?.withLock({ $0.isNameless }) != true else { throw .noEntry }
    return node
  }

  private func content(
    of attribute: ExtendedAttribute, of node: Node, by caller: Caller
  ) throws(Errno) -> [UInt8]? {
    if let unsaved = node.value?.withLock({ $0.unsaved }) { return try content(of: attribute, of: node, unsaved) }
    do throws(NTStatus) {
      switch node.kind {
      case .value: return attribute.isOfValues ? try content(of: attribute, ofValue: node, by: caller) : nil
      case .key(let key, _): return attribute.isOfKeys ? try content(of: attribute, ofKey: key, by: caller) : nil
      case .control, .alias: return nil
      }
    } catch { throw Errno(error) }
  }

  private func content(
    of attribute: ExtendedAttribute, ofValue node: Node, by caller: Caller
  ) throws(NTStatus) -> [UInt8]? {
    switch attribute {
    case .data:
      guard let place = node.value?.withLock({ ($0.parent, $0.name) }) else { return nil }
      // The data itself: as much a query as reading the file.
      let value = try registry.queryValue(of: place.0, named: place.1, by: caller) { () throws(NTStatus) in
        try current(node).value
      }
      return exactData(of: node, value)
    case .name: return Self.utf8(try current(node).name)
    case .lastWrite: return Array("\(try current(node).time.rawValue)".utf8)
    case .flags: return Self.hexadecimal(try current(node).flags)
    default: return Array(try current(node).value.type.name.utf8)
    }
  }

  private func content(
    of attribute: ExtendedAttribute, ofKey key: KeyControlBlock, by caller: Caller
  ) throws(NTStatus) -> [UInt8]? {
    switch attribute {
    case .className: return try registry.queryClass(of: key).map(Self.utf8)
    case .name: return Self.utf8(try registry.query(key).name)
    case .lastWrite: return Array("\(try registry.query(key).lastWriteTime.rawValue)".utf8)
    case .flags: return Self.hexadecimal(try registry.queryFlags(of: key))
    case .sddl:
      guard let descriptor = try registry.querySecurity(of: key, by: caller) else { return nil }
      guard let parts = SecurityDescriptorParts(descriptor) else { throw .registryCorrupt }
      return Array(parts.text.utf8)
    default: return try registry.querySecurity(of: key, by: caller)
    }
  }

  /// What `user.reg.data` has of a value: nothing where the file gives the bytes.
  private func exactData(of node: Node, _ value: RegistryValue) -> [UInt8]? {
    guard let (isUnsaved, unsaved) = node.value?.withLock({ ($0.unsavedSize != nil, $0.unsavedData) }) else { return nil }
    if isUnsaved { return unsaved }
    return ValueCodec.isLossless(value, as: view(of: node)) ? nil : value.data
  }

  private struct CurrentValue {
    var value: RegistryValue
    var name: UnicodeName
    var time: FileTime
    var flags: UInt16 = 0
  }

  private func current(_ node: Node) throws(NTStatus) -> CurrentValue {
    guard let value = node.value else { throw .objectNameNotFound }
    let (parent, name, ordinal, unsavedType) = value.withLock { ($0.parent, $0.name, $0.ordinal, $0.unsavedType) }
    let (information, data, time) = try registry.queryValue(of: parent, named: name, ordinal: ordinal)
    return CurrentValue(
      value: RegistryValue(type: unsavedType ?? information.type, data: data), name: information.name, time: time,
      flags: information.flags)
  }

  static func utf8(_ name: UnicodeName) -> [UInt8] {
    var bytes: [UInt8] = []
    NameCodec.encodeUnits(name.units, into: &bytes)
    return bytes
  }

  private static func hexadecimal(_ flags: UInt16) -> [UInt8] { Array(("0x" + String(flags, radix: 16)).utf8) }

  // MARK: Writing

  /// Gives the value another type: its text is read anew as that, EINVAL or ERANGE when it is none; bytes that were given as such stay.
  private func set(_ node: Node, type: ValueType, by caller: Caller) throws(Errno) -> UInt64? {
    if try change(unsaved: node, by: caller, { state in
      state.unsavedType = type
      state.isUntyped = false
    }) { return nil }
    let stale = try replace(node, by: caller) { old, isExact throws(Errno) in
      (try retyped(old, of: node, as: type), isExact)
    }
    node.value?.withLock { $0.isUntyped = false }
    return stale
  }

  private func set(_ node: Node, exactData bytes: [UInt8], by caller: Caller) throws(Errno) -> UInt64? {
    if let parent = node.value?.withLock({ $0.parent }), bytes.count > (try longestData(of: parent)) {
      throw .fileTooLarge
    }
    if try change(unsaved: node, by: caller, { $0.unsavedData = bytes }) { return nil }
    return try replace(node, by: caller) { old, _ in (RegistryValue(type: old.type, data: bytes), true) }
  }

  /// From now on the text counts: what the file shows becomes the data.
  private func dropExactData(of node: Node, by caller: Caller) throws(Errno) -> UInt64? {
    if try change(unsaved: node, by: caller, { $0.unsavedData = nil }) { return nil }
    return try replace(node, by: caller) { old, _ throws(Errno) in
      let text = ValueCodec.text(of: old, as: view(of: node))
      return (RegistryValue(type: old.type, data: try ValueCodec.data(from: text, type: old.type, as: view(of: node))), false)
    }
  }

  /// The node's value as another type, its text read anew.
  func retyped(_ value: RegistryValue, of node: Node, as type: ValueType) throws(Errno) -> RegistryValue {
    let view = view(of: node)
    let (isExact, lacksLineEnd) = node.value?.withLock { ($0.isExact, $0.lacksLineEnd) } ?? (false, false)
    // No text is no number: a value without data has none as a number either.
    if isExact || type == value.type || value.data.isEmpty && ValueCodec.isNumber(type, as: view) { return RegistryValue(type: type, data: value.data) }
    var text = ValueCodec.text(of: value, as: view)
    if lacksLineEnd { text.removeLast() }
    return RegistryValue(type: type, data: try ValueCodec.data(from: text, type: type, as: view))
  }

  /// Applies `body` where somebody has written the value and not set it yet: what he sets then is changed by it. False where
  /// nobody has.
  private func change(
    unsaved node: Node, by caller: Caller, _ body: (inout Node.ValueState) -> Void
  ) throws(Errno) -> Bool {
    guard let (parent, name, isUnsaved) = node.value?.withLock({ ($0.parent, $0.name, $0.unsavedSize != nil) }), isUnsaved
    else { return false }
    do { _ = try registry.admitSetValue(of: parent, named: name, by: caller) } catch { throw Errno(error) }
    return node.value?.withLock { state in
      guard state.unsavedSize != nil else { return false }
      body(&state)
      return true
    } ?? false
  }

  /// Sets the value to what `body` makes of it, and whether its bytes are given as such: one SetValueKey.
  private func replace(
    _ node: Node, by caller: Caller, _ body: (RegistryValue, _ isExact: Bool) throws(Errno) -> (RegistryValue, Bool)
  ) throws(Errno) -> UInt64? {
    guard let (parent, name, ordinal, wasExact) = node.value?.withLock({ ($0.parent, $0.name, $0.ordinal, $0.isExact) })
    else { throw .notSupported }
    // Of twins only the first can be set by its name.
    guard ordinal == 1 else { throw .unclean }
    let old: RegistryValue
    do { old = try current(node).value } catch { throw Errno(error) }
    let (new, isExact) = try body(old, wasExact)
    do {
      try registry.setValue(of: parent, named: name, to: new, by: caller) { identity in
        noteSet(node, identity: identity, type: new.type, isExact: isExact)
      }
    } catch { throw Errno(error) }
    dropTimes(of: parent)
    return staleNode(node)
  }

  private func setClass(of key: KeyControlBlock, to name: UnicodeName?, by caller: Caller) throws(Errno) {
    do { try registry.setClass(of: key, to: name, by: caller) } catch { throw Errno(error) }
    dropTimes(of: key)
  }

  /// Parts that the text does not name stay as they are.
  private func setSecurity(of key: KeyControlBlock, text: String, by caller: Caller) throws(Errno) {
    guard let given = SecurityDescriptorParts(text: text) else { throw .invalid }
    do throws(NTStatus) {
      var parts = given
      if let old = try registry.querySecurity(of: key, by: caller).flatMap({ SecurityDescriptorParts($0) }) {
        parts.takeMissing(from: old)
      }
      try registry.setKeySecurity(of: key, to: parts.bytes, securityInformation: given.named, by: caller)
    } catch { throw Errno(error) }
    dropTimes(of: key)
  }
}
