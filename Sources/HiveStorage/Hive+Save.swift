package import Executive

extension Hive {
  /// The hive that `bytes` are, in memory and for reading.
  package init(bytes: [UInt8], name: String = "memory") throws(HiveError) {
    try self.init(device: MemoryDevice(name: name, bytes), access: .readOnly)
  }

  /// Makes `device` a clean hive of this one's version whose root is a copy of the tree at `key`, with its name and its
  /// time (NtSaveKey); the base block's time is `time`. Replaces whatever is on the device, and makes it durable.
  ///
  /// Damage and limits, as for `restoreKey`, are found before anything is written. On a `device` error what lies there
  /// is no hive, or the whole one.
  package func saveKey(_ key: CellIndex, to device: any HiveDevice, time: FileTime) throws(HiveError) {
    let node = try keyNode(at: key)
    let name = try keyName(at: key)
    let form = MemoryDevice(name: device.name)
    // Versions that nobody writes any more become the oldest that can be written.
    try Self.format(
      device: form, minorVersion: max(3, minorVersion), rootName: name.isEmpty ? "ROOT" : name, time: time)
    var copy = try Hive(device: form, access: .readWrite)
    if hasLayeredKeys { copy.baseSector[BaseBlock.Field.flags] |= 2 }
    try copy.replaceContent(
      of: copy.rootKey, by: key, of: self, deepest: Self.deepestStored, time: node.lastWriteTime)
    try copy.write(to: device)
  }

  /// Writes a hive that lies in memory only.
  mutating func write(to device: any HiveDevice) throws(HiveError) {
    baseSector[BaseBlock.Field.binsSize] = UInt32(image.binsSize)
    baseSector.updateChecksum()
    try copy(to: device)
  }

  /// Makes `device` this hive as it was opened, recovered if it was dirty, and makes that durable: base block and bins,
  /// without what may lie behind them in the file. The base block comes last, as it makes the rest a hive.
  ///
  /// Throws `damaged` when the base block tells of other bins than there are, and `device`.
  package func copy(to device: any HiveDevice) throws(HiveError) {
    let size = Int(baseSector[BaseBlock.Field.binsSize])
    guard size == image.binsSize else {
      throw .damaged(
        structure: "base block", offset: BaseBlock.Field.binsSize,
        problem: "\(size) bytes of hive bins, the file has \(image.binsSize)")
    }
    // A base block of what was there must not come back in front of our bins.
    try device.resize(to: 0)
    try device.sync()
    try device.resize(to: image.count)
    let rest = BaseBlock.sectorSize
    try device.write(image.buffer(at: rest, count: image.count - rest), at: rest)
    try device.sync()
    try device.write(baseSector.bytes, at: 0)
    try device.sync()
  }
}
