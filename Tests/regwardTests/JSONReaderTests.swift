import Testing

@testable import regward

@Suite("The JSON reader of the control socket")
struct JSONReaderTests {
  private func read(_ text: String) throws -> JSONValue { try JSONReader.read(Array(text.utf8)) }

  @Test func everyKindOfValue() throws {
    let text = #" { "a" : [ 1 , -20, 0, true, false, null ] , "b":"x\n\u00e9\ud83d\ude00\/\"\\" , "c":{} , "":[] } "#
    #expect(
      try read(text)
        == .object([
          "a": .list([.number(1), .number(-20), .number(0), .flag(true), .flag(false), .null]),
          "b": .text("x\né😀/\"\\"), "c": .object([JSONValue.Member]()), "": .list([]),
        ]))
    #expect(try read("9223372036854775807") == .number(.max))
    #expect(try read("-9223372036854775808") == .number(.min))
  }

  @Test(
    "refused",
    arguments: [
      "", " ", "{", "}", "[", "[1", "[1,", "[1,]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{1:1}", "{\"a\":1 \"b\":2}",
      "\"", "\"\\", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800x\"", "\"\\ud800\\u0041\"", "\"\\udc00\"",
      "\"a\nb\"", "01", "-", "-01", "+1", "1.5", "1e3", "9223372036854775808", "0x10", "tru", "nul", "NaN", "1 2", "{} x",
      "{\"a\":1,\"a\":2}", "\u{FEFF}{}", "'a'", "// x",
    ])
  func refused(text: String) { #expect(throws: JSONReader.Problem.self) { try read(text) } }

  @Test func depthIsBounded() throws {
    let deepest = JSONReader.deepest
    _ = try read(String(repeating: "[", count: deepest) + String(repeating: "]", count: deepest))
    #expect(throws: JSONReader.Problem.self) {
      try read(String(repeating: "[", count: deepest + 1) + String(repeating: "]", count: deepest + 1))
    }
    // As many as a packet holds: nothing is followed down.
    #expect(throws: JSONReader.Problem.self) { try read(String(repeating: "[", count: 65536)) }
  }

  @Test func whatIsNoUTF8IsRefused() {
    #expect(throws: JSONReader.Problem.self) { try JSONReader.read([0x22, 0xFF, 0x22]) }
    #expect(throws: JSONReader.Problem.self) { try JSONReader.read([0x22, 0xC0, 0x80, 0x22]) }
  }

  @Test func aProblemTellsItsPlace() {
    #expect(throws: JSONReader.Problem(description: "this is no value", offset: 5)) { try read("{\"a\":x}") }
  }

  @Test func whatIsWrittenIsReadAgain() throws {
    let value = JSONValue.object([
      "message": .text("a\"b\\c\n\u{1}\u{7F}\u{9B}é"), "list": .list([.null, .flag(true), .number(-5)]),
    ])
    #expect(try read(value.json) == value)
    #expect(value.json.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F })
  }

  /// Cut and changed at every place: an error or a value, never a trap.
  @Test func noInputTraps() {
    let seed = Array(#"{"message":"REG_UPDATE_DATA","policy":"/a\u00e9\ud83d\ude00b","n":[-12,true,null,{"x":""}]}"#.utf8)
    for end in 0...seed.count { _ = try? JSONReader.read(Array(seed[..<end])) }
    for place in seed.indices {
      for byte: UInt8 in [0, 0x22, 0x5C, 0x7B, 0x5D, 0x2C, 0x39, 0x75, 0x80, 0xFF] {
        var bytes = seed
        bytes[place] = byte
        _ = try? JSONReader.read(bytes)
      }
    }
  }
}
