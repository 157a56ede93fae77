internal import ConfigurationManager
internal import Executive
internal import Synchronization

/// Changes of one key that a path and a text cannot say: a value of any type and any bytes, and a key where a value has its name. For
/// `regward import`.
extension RegistryFileSystem {
  /// Bytes of the longest line of the command file: `set` with the longest value, two digits a byte, and its names.
  var longestCommand: Int { 1 << 17 + largestText }
  /// The same for who can only ask.
  static let longestQuestion = 1 << 16

  /// Makes one key; its parent is there.
  func create(_ path: String, by caller: Caller) throws(Failure) {
    try checkPermission(caller)
    let (parent, last) = split(path)
    let name = try newKeyName(last)
    var made: KeyControlBlock?
    defer { if let made { registry.close(made) } }
    try withKey(parent) { key throws(NTStatus) in
      try registry.createKey(named: name, in: key, by: caller) { child, _ in made = child }
      dropTimes(of: key)
    }
    // A value of that name has another name now.
    dropNames()
  }

  /// Name and data are hexadecimal digits, of UTF-16 units and of bytes; the type is a decimal number.
  func setValue(
    of path: String, named nameDigits: String, type typeDigits: String, to dataDigits: String, by caller: Caller
  ) throws(Failure) {
    guard let type = UInt32(typeDigits), let data = Self.bytes(ofDigits: dataDigits) else {
      throw Failure(.invalid, "a value's type is a number, its data are hexadecimal digits")
    }
    let name = try valueName(nameDigits)
    try checkPermission(caller)
    var stale: [UInt64] = []
    try withKey(path) { key throws(NTStatus) in
      let value = RegistryValue(type: ValueType(rawValue: type), data: data)
      try registry.setValue(of: key, named: name, to: value, by: caller) { identity in
        for node in inodes.unbind(identity) {
          inodes.bind(node, to: identity)
          let isRead = node.value?.withLock { state in
            state.type = value.type
            state.isUntyped = false
            state.generation += 1
            return state.readers > 0
          }
          if isRead == true { stale.append(node.id) }
        }
      }
      dropTimes(of: key)
    }
    for nodeID in stale { cache?.dropPages(of: nodeID) }
  }

  func deleteValue(of path: String, named nameDigits: String, by caller: Caller) throws(Failure) {
    let name = try valueName(nameDigits)
    try checkPermission(caller)
    try withKey(path) { key throws(NTStatus) in
      try registry.deleteValue(of: key, named: name, by: caller) { markDeleted($0) }
      dropTimes(of: key)
    }
    dropNames()
  }

  private func valueName(_ digits: String) throws(Failure) -> UnicodeName {
    guard let bytes = Self.bytes(ofDigits: digits), bytes.count % 2 == 0 else {
      throw Failure(.invalid, "a value's name is given as four hexadecimal digits for each of its UTF-16 units")
    }
    guard bytes.count <= 2 * 16383 else { throw Failure(.nameTooLong) }
    return UnicodeName(
      units: stride(from: 0, to: bytes.count, by: 2).map { UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]) })
  }

  private static func bytes(ofDigits text: String) -> [UInt8]? {
    guard text.utf8.count % 2 == 0 else { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.utf8.count / 2)
    var high: UInt8?
    for digit in text.utf8 {
      let value: UInt8
      switch digit {
      case 0x30...0x39: value = digit - 0x30
      case 0x41...0x46: value = digit - 0x37
      case 0x61...0x66: value = digit - 0x57
      default: return nil
      }
      if let first = high { bytes.append(first << 4 | value) }
      high = high == nil ? value : nil
    }
    return bytes
  }
}
