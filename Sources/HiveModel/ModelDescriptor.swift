/// Self-relative security descriptors that differ by a number.
enum ModelDescriptor {
  /// An owner of that number, a group, and a list of `number` modulo 40 entries.
  static func bytes(_ number: Int) -> [UInt8] {
    let owner = identifier([21, UInt32(truncatingIfNeeded: number), 500])
    let group = identifier([18])
    var entries: [UInt8] = []
    let count = number % 40
    for entry in 0..<count {
      let who = identifier([32, 544 + UInt32(entry)])
      entries += [0, 2] + little(UInt16(8 + who.count)) + little(UInt32(0xF003F)) + who
    }
    let list = [2, 0] + little(UInt16(8 + entries.count)) + little(UInt16(count)) + [0, 0] + entries
    // SE_SELF_RELATIVE, SE_DACL_PRESENT; no SACL.
    let ownerOffset = 20
    let groupOffset = ownerOffset + owner.count
    let header = [1, 0] + little(UInt16(0x8004)) + little(UInt32(ownerOffset)) + little(UInt32(groupOffset))
      + little(UInt32(0)) + little(UInt32(groupOffset + group.count))
    return header + owner + group + list
  }

  private static func identifier(_ subauthorities: [UInt32]) -> [UInt8] {
    [1, UInt8(subauthorities.count), 0, 0, 0, 0, 0, 5] + subauthorities.flatMap { little($0) }
  }

  private static func little(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }
}
