import Executive
import RegFile
import Testing

/// SEMANTICS.md 11.6 to 11.8.
@Suite struct RegFileWriterTests {
  private final class Sink {
    var bytes: [UInt8] = []
    var pieces = 0
  }

  private static func written(_ encoding: RegFileWriter.Encoding = .utf8, _ body: (inout RegFileWriter) -> Void) -> [UInt8] {
    let sink = Sink()
    var writer = RegFileWriter(encoding: encoding) {
      sink.bytes += $0
      return true
    }
    body(&writer)
    let isWhole = writer.finish()
    #expect(isWhole)
    return sink.bytes
  }

  private static func line(_ name: UnicodeName, _ type: ValueType, _ data: [UInt8]) -> String {
    let text = String(decoding: written { $0.value(name, RegistryValue(type: type, data: data)) }, as: UTF8.self)
    return String(text.dropFirst("Windows Registry Editor Version 5.00\n".count).dropLast(2))
  }

  private static func data(_ text: String) -> [UInt8] { text.utf16.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] } }

  @Test(arguments: [
    ("a", .sz, data("x\0"), #""a"="x""#), ("", .sz, data("\0"), #"@="""#), (#"q"\"#, .sz, data("C:\\ \"ü😀\0"), #""q\"\\"="C:\\ \"ü😀""#),
    // What a text in quotes would not give back.
    ("a", .sz, data("x"), #""a"=hex(1):78,00"#), ("a", .sz, [], #""a"=hex(1):"#), ("a", .sz, data("x\0\0"), #""a"=hex(1):78,00,00,00,00,00"#),
    ("a", .sz, [0x78, 0, 0, 0, 0], #""a"=hex(1):78,00,00,00,00"#), ("a", .sz, data("\n\0"), #""a"=hex(1):0a,00,00,00"#),
    ("a", .sz, [0x00, 0xD8, 0, 0], #""a"=hex(1):00,d8,00,00"#), ("a", .sz, data("x\u{7F}\0"), #""a"=hex(1):78,00,7f,00,00,00"#),
    ("a", .dword, [0x1F, 0, 0, 0xAB], #""a"=dword:ab00001f"#), ("a", .dword, [1, 2, 3], #""a"=hex(4):01,02,03"#),
    ("a", .dword, [1, 2, 3, 4, 5, 6, 7, 8], #""a"=hex(4):01,02,03,04,05,06,07,08"#),
    ("a", .none, [1], #""a"=hex(0):01"#), ("a", .binary, [1, 0xAB], #""a"=hex:01,ab"#), ("a", .qword, [1], #""a"=hex(b):01"#),
    ("a", ValueType(rawValue: 0xFFFF_0012), [], #""a"=hex(ffff0012):"#), ("a", .expandSz, data("x\0"), #""a"=hex(2):78,00,00,00"#),
  ] as [(UnicodeName, ValueType, [UInt8], String)])
  func everyTypeHasItsForm(name: UnicodeName, type: ValueType, data: [UInt8], text: String) {
    #expect(Self.line(name, type, data) == text)
  }

  /// As regedit breaks lines: 77 characters and the backslash on every line but the first, which may end earlier.
  @Test func longDataIsBroken() {
    let lines = Self.line("a", .binary, (0..<60).map { UInt8($0) }).split(separator: "\n")
    #expect(lines.map(\.count) == [78, 78, 37])
    #expect(lines[0].hasSuffix("16,\\"))
    #expect(lines[1].hasPrefix("  17,"))
    #expect(lines.allSatisfy { $0.count <= 80 })
    // A name longer than a line: the first byte breaks it.
    #expect(Self.line(UnicodeName(String(repeating: "n", count: 90)), .binary, [1, 2]).hasSuffix("hex:01,\\\n  02"))
  }

  @Test func theFileIsUTF16WithAMarkAndCRLF() {
    let bytes = Self.written(.utf16) {
      $0.key(#"HKLM\é"#)
      $0.value("a", RegistryValue(type: .dword, data: [1, 0, 0, 0]))
    }
    #expect(bytes == [0xFF, 0xFE] + Self.data("Windows Registry Editor Version 5.00\r\n\r\n[HKLM\\é]\r\n\"a\"=dword:00000001\r\n\r\n"))
  }

  @Test(arguments: [
    ("plain", RegFileWriter.Fate.kept, RegFileWriter.Fate.kept), ("a]b", .kept, .kept), ("nul\0", .keptByUs, .keptByUs),
    ("line\n", .lost, .keptByUs), ("return\r", .keptByUs, .keptByUs), (#"back\slash"#, .lost, .kept), ("", .lost, .kept),
  ] as [(UnicodeName, RegFileWriter.Fate, RegFileWriter.Fate)])
  func whatBecomesOfNames(name: UnicodeName, asKey: RegFileWriter.Fate, asValue: RegFileWriter.Fate) {
    let writer = RegFileWriter(encoding: .utf16) { _ in true }
    #expect(writer.fate(ofKey: name) == asKey)
    #expect(writer.fate(ofValue: name) == asValue)
  }

  @Test func unpairedSurrogatesNeedUTF16() {
    let name = UnicodeName(units: [0xD800])
    let (wide, narrow) = (RegFileWriter(encoding: .utf16) { _ in true }, RegFileWriter(encoding: .utf8) { _ in true })
    #expect(wide.fate(ofKey: name) == .kept)
    #expect(wide.fate(ofValue: name) == .kept)
    #expect(narrow.fate(ofKey: name) == .lost)
    #expect(narrow.fate(ofValue: name) == .lost)
  }

  /// The whole is never held, and a receiver that is full is not asked again.
  @Test func itIsWrittenInPieces() {
    let sink = Sink()
    var writer = RegFileWriter(encoding: .utf8) {
      sink.pieces += 1
      sink.bytes = $0
      return sink.pieces < 3
    }
    for _ in 0..<2000 { writer.value("a", RegistryValue(type: .binary, data: [UInt8](repeating: 7, count: 1000))) }
    let isWhole = writer.finish()
    #expect(!isWhole)
    #expect(sink.pieces == 3)
    #expect(sink.bytes.count < 1 << 20)
  }

  /// Seeds 0 to 299: what was written is read again.
  @Test(arguments: RegFileWriter.Encoding.allCases)
  func whatIsWrittenIsRead(encoding: RegFileWriter.Encoding) {
    let alphabet: [UInt16] = [0x41, 0x7A, 0x20, 0x22, 0x5C, 0x5D, 0x5B, 0x3B, 0x40, 0x3D, 0x2D, 0, 9, 0x0A, 0x0D, 0xE4, 0x20AC, 0xD83D, 0xDE00, 0xFEFF, 0x2028]
    for seed in 0..<300 {
      var random = SplitMix(state: UInt64(seed))
      func units(_ limit: Int) -> [UInt16] { (0..<Int.random(in: 0...limit, using: &random)).compactMap { _ in alphabet.randomElement(using: &random) } }
      var wanted: [RegFileChange] = []
      let bytes = Self.written(encoding) { writer in
        for _ in 0..<4 {
          let key = UnicodeName(units: units(6))
          guard writer.fate(ofKey: key) != .lost else { continue }
          let path = UnicodeName("HKLM").appending(key)
          writer.key(path)
          wanted.append(.key(path))
          for _ in 0..<4 {
            let name = UnicodeName(units: units(5))
            guard writer.fate(ofValue: name) != .lost else { continue }
            let text = (units(8) + [0]).flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }
            let data = Bool.random(using: &random) ? text : (0..<Int.random(in: 0...90, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
            let value = RegistryValue(type: ValueType(rawValue: UInt32.random(in: 0...12, using: &random)), data: data)
            writer.value(name, value)
            wanted.append(.value(name: name, value))
          }
        }
      }
      var reader = RegFileReader(bytes)
      var got: [RegFileChange] = []
      do throws(RegFileProblem) { while let change = try reader.next() { got.append(change) } } catch {
        Issue.record("seed \(seed): \(error)")
      }
      #expect(got == wanted, "seed \(seed)")
    }
  }
}

private struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }
}
