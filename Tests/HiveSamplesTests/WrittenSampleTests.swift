import Executive
import HiveSamples
import HiveStorage
import Testing

/// The hives that the samples become, and what a reader finds in them.
@Suite struct WrittenSampleTests {
  @Test(arguments: HiveSampleTests.names)
  func hasTheDumpOfTheSource(name: String) throws {
    let sample = try HiveSample(parsing: HiveSampleTests.text(name + ".txt"))
    let device = MemoryDevice()
    try sample.write(to: device)
    let dump = HiveDump(try Hive(device: device, access: .readOnly))
    #expect(dump.problems == [])
    let ours = String(decoding: dump.bytes, as: UTF8.self).split(separator: "\n")
    let expected = try HiveSampleTests.text(name + ".dump").split(separator: "\n")
    #expect(ours.difference(from: expected).map { "\($0)" } == [])
    #expect(ours.count == expected.count)
  }

  /// No clock, no random number: demonstrations and bug reports begin with the same bytes.
  @Test func isTheSameEachTime() throws {
    let sample = try HiveSample(parsing: HiveSampleTests.text("software.txt"))
    let hives = try (0..<2).map { _ in
      let device = MemoryDevice()
      try sample.write(to: device)
      return device.bytes
    }
    #expect(hives[0] == hives[1])
  }
}
