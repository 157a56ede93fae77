internal import Executive
package import HiveStorage

/// A hive of any size, for measuring: keys `d00000`, `d00001`… below the root, each with the values `f000`, `f001`…, and a key
/// `tmp`, where what is measured can make its own. All values are REG_SZ, with as many `v` as asked for.
package struct UniformHive {
  package let keys: Int
  /// Of each key.
  package let values: Int
  /// Characters of each value.
  package let length: Int

  package init(keys: Int, values: Int, length: Int) {
    self.keys = keys
    self.values = values
    self.length = length
  }

  /// Makes `device` this hive; what is on it goes. Throws `limit` where a hive cannot have so much.
  package func write(to device: any HiveDevice) throws(HiveError) {
    // No clock: the same bytes each time.
    let time = FileTime(rawValue: 133_800_000_000_000_000)
    try Hive.format(device: device, minorVersion: 5, time: time)
    var hive = try Hive(device: device, access: .readWrite)
    let data = (0..<length).flatMap { _ in [0x76, 0] } + [0, 0] as [UInt8]
    let names = (0..<values).map { Self.name("f", $0, digits: 3) }
    for number in 0..<keys {
      let name = Self.name("d", number, digits: 5)
      let key = try hive.createKey(under: hive.rootKey, named: name.span, time: time)
      for name in names { _ = try hive.setValue(of: key, named: name.span, type: .sz, data: data, time: time) }
    }
    let name = Array("tmp".utf16)
    _ = try hive.createKey(under: hive.rootKey, named: name.span, time: time)
    try hive.commit(time: time)
  }

  private static func name(_ letter: String, _ number: Int, digits: Int) -> [UInt16] {
    let text = String(number)
    return Array((letter + String(repeating: "0", count: max(0, digits - text.utf8.count)) + text).utf16)
  }
}
