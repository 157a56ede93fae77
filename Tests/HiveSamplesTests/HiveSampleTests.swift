import Executive
import Foundation
import HiveSamples
import Testing

@Suite struct HiveSampleTests {
  static let names = ["system", "software", "edge-names"]

  static func text(_ file: String) throws -> String {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    return try String(contentsOf: root.appending(path: "hive-samples/\(file)"), encoding: .utf8)
  }

  /// The dump's V lines without their paths and names: what the data is, told by a program that is not ours.
  @Test(arguments: names)
  func dataIsWhatTheDumpSays(name: String) throws {
    let sample = try HiveSample(parsing: Self.text(name + ".txt"))
    let ours = sample.keys.flatMap(\.values).map {
      "\($0.value.type.rawValue)\t\($0.value.data.count)\t\(SHA256.hexDigest($0.value.data))"
    }
    let expected = try Self.text(name + ".dump").split(separator: "\n").filter { $0.hasPrefix("V") }.map {
      $0.split(separator: "\t", omittingEmptySubsequences: false).dropFirst(3).joined(separator: "\t")
    }
    #expect(ours.sorted() == expected.sorted())
    let security = SHA256.hexDigest(sample.securityDescriptor)
    let keys = try Self.text(name + ".dump").split(separator: "\n").filter { $0.hasPrefix("K") }
    #expect(keys.allSatisfy { $0.hasSuffix("\t\(sample.time.rawValue)\t\t\(security)") })
  }

  private func parse(_ lines: String) throws -> HiveSample {
    try HiveSample(parsing: "hive 5 133801632000000000\nsecurity 01 \n".replacing("01 ", with: "01") + lines)
  }

  @Test func escapesAreUnits() throws {
    let sample = try parse("[a\\{D800}b{0000}\\{4D36E972-E325}]\n\"{0022*3}{\" sz \"{zzzz}{12345}\"")
    let key = try #require(sample.keys.first)
    #expect(key.path == ["a", UnicodeName(units: [0xD800, 0x62, 0]), "{4D36E972-E325}"])
    #expect(key.values.first?.name == "\"\"\"{")
    #expect(key.values.first?.value.data.count == 2 * ("{zzzz}{12345}".utf16.count + 1))
  }

  @Test func rootAndDefaultValueAreEmpty() throws {
    let sample = try parse("[]\n\"\" multi_sz \"a\" \"\"")
    #expect(sample.keys.first?.path == [])
    #expect(sample.keys.first?.values.first?.name.isEmpty == true)
    #expect(sample.keys.first?.values.first?.value == RegistryValue(type: .multiSz, data: [0x61, 0, 0, 0, 0, 0, 0, 0]))
  }

  @Test(arguments: [
    "\"a\" dword 1", "[a", "[a\\\\b]", "[{005C}]", "[a]\n\"a\" dword 4294967296", "[a]\n\"a\" dword -1", "[a]\n\"a\" nope 1",
    "[a]\n\"a", "[a]\n\"a\"", "[a]\n\"a\" sz \"x\" y", "[a]\n\"a\" binary 0", "[a]\n\"a\" binary 0g", "[a]\n\"a\" binary +1",
    "[a]\n\"a\" sz", "hive 5 1", "security 00", "security", "nonsense",
  ])
  func saysWhatIsWrong(lines: String) {
    #expect(throws: HiveSample.SyntaxError.self) { try parse(lines) }
  }

  @Test func namesTheLine() {
    #expect(throws: HiveSample.SyntaxError(line: 4, problem: "nope is no type")) { try parse("[a]\n\"b\" nope 1") }
    #expect(throws: HiveSample.SyntaxError.self) { try HiveSample(parsing: "") }
  }
}
