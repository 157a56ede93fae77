import Executive
import HiveSamples
import HiveStorage
import Testing

/// What the hives that are measured hold.
@Suite struct UniformHiveTests {
  @Test func hasAsManyKeysAndValuesAsAskedFor() throws {
    let device = MemoryDevice()
    try UniformHive(keys: 120, values: 7, length: 5).write(to: device)
    let hive = try Hive(device: device, access: .readOnly)
    let dump = HiveDump(hive)
    #expect(dump.problems == [])
    // The root and `tmp` are keys, too.
    let lines = String(decoding: dump.bytes, as: UTF8.self).split(separator: "\n")
    #expect(lines.count { $0.hasPrefix("K") } == 122)
    #expect(lines.count { $0.hasPrefix("V") } == 120 * 7)
  }

  @Test func namesAreOfEqualLengthAndEachValueHasItsText() throws {
    let device = MemoryDevice()
    try UniformHive(keys: 11, values: 2, length: 3).write(to: device)
    let dump = HiveDump(try Hive(device: device, access: .readOnly))
    let lines = String(decoding: dump.bytes, as: UTF8.self).split(separator: "\n")
    #expect(lines.contains { $0.hasPrefix("K\ttmp\t") })
    // REG_SZ, three characters and the terminator: `printf 'v\0v\0v\0\0\0' | sha256sum`.
    let last = "V\td00010\tf001\t1\t8\t"
    #expect(lines.contains { $0.hasPrefix(last) && $0.hasSuffix("4404f75ecf60bb2c063c9670390adab8b59c2dec517b7c90707864931532a547") })
  }
}
