package import Executive

/// Properties of a key (KEY_* flags of CM_KEY_NODE).
package struct KeyFlags: OptionSet, Hashable, Sendable {
  package let rawValue: UInt16

  package init(rawValue: UInt16) { self.rawValue = rawValue }

  package static let volatile = KeyFlags(rawValue: 0x1)
  package static let hiveExit = KeyFlags(rawValue: 0x2)
  /// The root of a hive.
  package static let hiveEntry = KeyFlags(rawValue: 0x4)
  package static let noDelete = KeyFlags(rawValue: 0x8)
  package static let symbolicLink = KeyFlags(rawValue: 0x10)
  package static let compressedName = KeyFlags(rawValue: 0x20)
  /// The value count is a handle: the key has no values of its own.
  package static let predefinedHandle = KeyFlags(rawValue: 0x40)
}

/// A key as it lies in the hive (CM_KEY_NODE), checked to fit its cell; `Hive.keyNode` makes it.
package struct KeyNode: Sendable {
  enum Field {
    static let flags = 2
    static let lastWritten = 4
    /// Who asked for the key, before and after the boot (from Windows 8 on).
    static let accessBits = 12
    /// Layered keys, version 1.6.
    static let layer = 13
    static let parent = 16
    static let subkeyCount = 20
    static let subkeyList = 28
    static let volatileSubkeyList = 32
    static let valueCount = 36
    static let valueList = 40
    static let security = 44
    static let className = 48
    static let longestSubkeyName = 52
    static let userFlags = 54
    static let debugFlags = 55
    static let longestSubkeyClass = 56
    static let longestValueName = 60
    static let longestValueData = 64
    static let nameLength = 72
    static let classLength = 74
    static let name = 76
  }

  /// What of the layer byte says which kind of layered key this is; 1: the key of the layer below is gone.
  static let layerKind: UInt8 = 3
  static let layerTombstone: UInt8 = 1

  package let cell: CellIndex
  package let flags: KeyFlags
  package let lastWriteTime: FileTime
  /// Means nothing in the root.
  package let parent: CellIndex
  /// Stable subkeys, as the key says.
  package let subkeyCount: Int
  /// 0 for predefined handles.
  package let valueCount: Int
  package let security: CellIndex
  /// Upper bounds, in bytes, names as UTF-16.
  package let longestSubkeyName: Int
  package let longestSubkeyClass: Int
  package let longestValueName: Int
  package let longestValueData: Int
  /// Low nibble: user (Wow64) flags; high nibble: virtualization flags.
  package let userFlags: UInt8
  /// In bytes.
  package let classLength: Int

  /// A symbolic link to another key.
  package var isLink: Bool { flags.contains(.symbolicLink) }

  let subkeyList: CellIndex
  let valueList: CellIndex
  let className: CellIndex
  /// In bytes, as stored.
  let nameLength: Int
  let body: Cell
}

extension HiveImage {
  func keyNode(at index: CellIndex) throws(HiveError) -> KeyNode {
    let cell = try cell(index, as: "key node", signature: .keyNode, minimum: KeyNode.Field.name)
    let nameLength = Int(load(UInt16.self, cell, KeyNode.Field.nameLength))
    guard KeyNode.Field.name + nameLength <= cell.count else {
      throw .damaged(
        structure: "key node", offset: index.fileOffset,
        problem: "a name of \(nameLength) bytes does not fit a cell of \(cell.count)")
    }
    let flags = KeyFlags(rawValue: load(UInt16.self, cell, KeyNode.Field.flags))
    return KeyNode(
      cell: index,
      flags: flags,
      lastWriteTime: FileTime(rawValue: load(UInt64.self, cell, KeyNode.Field.lastWritten)),
      parent: self.index(cell, KeyNode.Field.parent),
      subkeyCount: Int(load(UInt32.self, cell, KeyNode.Field.subkeyCount)),
      valueCount: flags.contains(.predefinedHandle) ? 0 : Int(load(UInt32.self, cell, KeyNode.Field.valueCount)),
      security: self.index(cell, KeyNode.Field.security),
      longestSubkeyName: Int(load(UInt16.self, cell, KeyNode.Field.longestSubkeyName)),
      longestSubkeyClass: Int(load(UInt32.self, cell, KeyNode.Field.longestSubkeyClass)),
      longestValueName: Int(load(UInt32.self, cell, KeyNode.Field.longestValueName)),
      longestValueData: Int(load(UInt32.self, cell, KeyNode.Field.longestValueData)),
      userFlags: load(UInt8.self, cell, KeyNode.Field.userFlags),
      classLength: Int(load(UInt16.self, cell, KeyNode.Field.classLength)),
      subkeyList: self.index(cell, KeyNode.Field.subkeyList),
      valueList: self.index(cell, KeyNode.Field.valueList),
      className: self.index(cell, KeyNode.Field.className),
      nameLength: nameLength,
      body: cell)
  }

  /// The key's name, without reading the rest of the node.
  @_lifetime(borrow self)
  func keyName(at index: CellIndex) throws(HiveError) -> NameView {
    let cell = try cell(index, as: "key node", signature: .keyNode, minimum: KeyNode.Field.name)
    let length = Int(load(UInt16.self, cell, KeyNode.Field.nameLength))
    guard KeyNode.Field.name + length <= cell.count else {
      throw .damaged(
        structure: "key node", offset: index.fileOffset,
        problem: "a name of \(length) bytes does not fit a cell of \(cell.count)")
    }
    let flags = KeyFlags(rawValue: load(UInt16.self, cell, KeyNode.Field.flags))
    // Version 1.1 has UTF-16 names only.
    return NameView(
      bytes: bytes(at: cell.start + KeyNode.Field.name, count: length),
      compressed: flags.contains(.compressedName) && cellHeader == 4)
  }
}
