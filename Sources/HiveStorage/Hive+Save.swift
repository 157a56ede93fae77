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

  /// Writes a hive that lies in memory only; the base block last, as it makes the rest a hive.
  private mutating func write(to device: any HiveDevice) throws(HiveError) {
    baseSector[BaseBlock.Field.binsSize] = UInt32(image.binsSize)
    baseSector.updateChecksum()
    // A base block of what was there must not come back in front of our bins.
    try device.resize(to: 0)
    try device.sync()
    try device.resize(to: image.count)
    try device.write(image.buffer(at: BaseBlock.size, count: image.binsSize), at: BaseBlock.size)
    try device.sync()
    try device.write(baseSector.bytes, at: 0)
    try device.sync()
  }
}
