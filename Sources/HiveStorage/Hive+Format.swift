package import Executive

extension Hive {
  /// Makes `device` a new hive with nothing but a root key, as Windows would: replaces whatever is on it.
  ///
  /// `minorVersion` is 3 to 6. `descriptor` is the root's self-relative security descriptor; without one the system and
  /// the administrators own the key and users may read it.
  package static func format(
    device: any HiveDevice, minorVersion: Int, rootName: UnicodeName = "ROOT", fileName: UnicodeName = "",
    descriptor: [UInt8]? = nil, time: FileTime = .now()
  ) throws(HiveError) {
    guard (3...6).contains(minorVersion) else { throw .limit(problem: "version 1.\(minorVersion) cannot be written") }
    guard !rootName.isEmpty, rootName.units.count <= longestKeyName else { throw .limit(problem: "the root's name") }
    let descriptor = descriptor ?? defaultDescriptor
    let name = rootName.units.span
    let stored = name.stored(compressed: name.isCompressible)
    let keySize = (4 + KeyNode.Field.name + stored.count + 7) & ~7
    let securitySize = (4 + SecurityCell.Field.descriptor + descriptor.count + 7) & ~7
    let used = HiveBin.headerSize + keySize + securitySize
    let binsSize = (used + HiveImage.pageSize - 1) & ~(HiveImage.pageSize - 1)

    var base = Bytes(count: BaseBlock.size)
    base.put(BaseBlock.signatureRegf, at: BaseBlock.Field.signature)
    base.put(time.rawValue, at: BaseBlock.Field.lastWritten)
    base.put(UInt32(1), at: BaseBlock.Field.major)
    base.put(UInt32(minorVersion), at: BaseBlock.Field.minor)
    base.put(UInt32(1), at: BaseBlock.Field.fileFormat)
    base.put(UInt32(HiveBin.headerSize), at: BaseBlock.Field.rootCell)
    base.put(UInt32(binsSize), at: BaseBlock.Field.binsSize)
    base.put(UInt32(1), at: BaseBlock.Field.clusteringFactor)
    base.put(Array(fileName.units.suffix(31)).span.stored(compressed: false), at: BaseBlock.Field.fileName)
    var sector = BaseBlockSector(base.bytes)
    sector.setSequence(primary: 1, secondary: 1)
    base.put(sector.bytes, at: 0)

    var bin = Bytes(count: binsSize)
    bin.put(HiveBin.signatureHbin, at: HiveBin.Field.signature)
    bin.put(UInt32(binsSize), at: HiveBin.Field.size)
    bin.put(time.rawValue, at: HiveBin.Field.lastWritten)
    var cell = HiveBin.headerSize
    bin.put(Int32(-keySize), at: cell)
    let key = cell + 4
    let security = CellIndex(rawValue: UInt32(cell + keySize))
    bin.put(Signature.keyNode.rawValue, at: key)
    var flags: KeyFlags = [.hiveEntry, .noDelete]
    if name.isCompressible { flags.insert(.compressedName) }
    bin.put(flags.rawValue, at: key + KeyNode.Field.flags)
    bin.put(time.rawValue, at: key + KeyNode.Field.lastWritten)
    for field in [
      KeyNode.Field.parent, KeyNode.Field.subkeyList, KeyNode.Field.volatileSubkeyList, KeyNode.Field.valueList,
      KeyNode.Field.className,
    ] {
      bin.put(CellIndex.none.rawValue, at: key + field)
    }
    bin.put(security.rawValue, at: key + KeyNode.Field.security)
    bin.put(UInt16(stored.count), at: key + KeyNode.Field.nameLength)
    bin.put(stored, at: key + KeyNode.Field.name)
    cell += keySize
    bin.put(Int32(-securitySize), at: cell)
    bin.put(Signature.security.rawValue, at: cell + 4)
    bin.put(security.rawValue, at: cell + 4 + SecurityCell.Field.next)
    bin.put(security.rawValue, at: cell + 4 + SecurityCell.Field.previous)
    bin.put(UInt32(1), at: cell + 4 + SecurityCell.Field.referenceCount)
    bin.put(UInt32(descriptor.count), at: cell + 4 + SecurityCell.Field.descriptorSize)
    bin.put(descriptor, at: cell + 4 + SecurityCell.Field.descriptor)
    cell += securitySize
    if cell < binsSize { bin.put(Int32(binsSize - cell), at: cell) }

    try device.resize(to: 0)
    try device.resize(to: BaseBlock.size + binsSize)
    try device.write(bin.bytes, at: BaseBlock.size)
    try device.write(base.bytes, at: 0)
    try device.sync()
  }

  /// Owner administrators, group system; system and administrators: all access, users: read; inherited by subkeys.
  private static var defaultDescriptor: [UInt8] {
    func identifier(_ subauthorities: [UInt32]) -> [UInt8] {
      var bytes: [UInt8] = [1, UInt8(subauthorities.count), 0, 0, 0, 0, 0, 5]
      for subauthority in subauthorities { withUnsafeBytes(of: subauthority.littleEndian) { bytes += $0 } }
      return bytes
    }
    let system = identifier([18])
    let administrators = identifier([32, 544])
    let users = identifier([32, 545])
    let allAccess: UInt32 = 0xF003F
    let read: UInt32 = 0x20019
    var entries: [UInt8] = []
    for (who, mask) in [(system, allAccess), (administrators, allAccess), (users, read)] {
      entries += [0, 2, UInt8(8 + who.count), 0]
      withUnsafeBytes(of: mask.littleEndian) { entries += $0 }
      entries += who
    }
    let list: [UInt8] = [2, 0, UInt8(8 + entries.count), 0, 3, 0, 0, 0] + entries
    var header = Bytes(count: 20)
    // SE_SELF_RELATIVE, SE_DACL_PRESENT
    header.put(UInt16(0x8004), at: 2)
    header.bytes[0] = 1
    header.put(UInt32(20), at: 4)
    header.put(UInt32(20 + administrators.count), at: 8)
    header.put(UInt32(20 + administrators.count + system.count), at: 16)
    return header.bytes + administrators + system + list
  }
}

/// Bytes being filled field by field.
private struct Bytes {
  var bytes: [UInt8]

  init(count: Int) { bytes = [UInt8](repeating: 0, count: count) }

  mutating func put(_ value: some FixedWidthInteger, at offset: Int) {
    withUnsafeBytes(of: value.littleEndian) { put(Array($0), at: offset) }
  }

  mutating func put(_ value: [UInt8], at offset: Int) {
    precondition(offset + value.count <= bytes.count)
    for (index, byte) in value.enumerated() { bytes[offset + index] = byte }
  }
}
