import Executive
import RegFile
import Testing

/// SEMANTICS.md 11.1 to 11.5.
@Suite struct RegFileReaderTests {
  private static let header = "Windows Registry Editor Version 5.00\r\n\r\n"

  private static func utf16(_ text: String) -> [UInt8] {
    [0xFF, 0xFE] + text.utf16.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }
  }

  /// All changes with their lines, and all problems.
  private static func read(_ bytes: [UInt8]) -> (changes: [RegFileChange], lines: [Int], problems: [String]) {
    var reader = RegFileReader(bytes)
    var (changes, lines, problems): ([RegFileChange], [Int], [String]) = ([], [], [])
    while true {
      do throws(RegFileProblem) {
        guard let change = try reader.next() else { return (changes, lines, problems) }
        changes.append(change)
        lines.append(reader.lineNumber)
      } catch { problems.append(error.description) }
    }
  }

  private static func sz(_ text: String) -> RegistryValue {
    RegistryValue(type: .sz, data: (Array(text.utf16) + [0]).flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] })
  }

  private static let whole = header + #"""
    ; a comment
    [HKEY_LOCAL_MACHINE\SOFTWARE\a]b]
    @="default"
    "Text"="C:\\x \"q\" ü😀" ; behind it
    "Number"=dword:1f
    "Bytes"=hex:01,2,\
      FF
    "Exp"=hex(2):25,00
    "Q"=hex(ffff0012):
    "gone"=-

      [-HKEY_LOCAL_MACHINE\SOFTWARE\old] ; away
    """#

  private static let wholeChanges: [RegFileChange] = [
    .key(#"HKEY_LOCAL_MACHINE\SOFTWARE\a]b"#), .value(name: "", sz("default")),
    .value(name: "Text", sz(#"C:\x "q" ü😀"#)),
    .value(name: "Number", RegistryValue(type: .dword, data: [0x1F, 0, 0, 0])),
    .value(name: "Bytes", RegistryValue(type: .binary, data: [1, 2, 0xFF])),
    .value(name: "Exp", RegistryValue(type: .expandSz, data: [0x25, 0])),
    .value(name: "Q", RegistryValue(type: ValueType(rawValue: 0xFFFF_0012), data: [])),
    .deletedValue(name: "gone"), .deletedKey(#"HKEY_LOCAL_MACHINE\SOFTWARE\old"#),
  ]

  @Test(arguments: [
    ("UTF-16LE, CR LF", utf16(whole.replacing("\r\n", with: "\n").replacing("\n", with: "\r\n"))),
    ("UTF-16LE, LF", utf16(whole.replacing("\r\n", with: "\n"))), ("UTF-8", Array(whole.utf8)),
    ("UTF-8 with a mark", [0xEF, 0xBB, 0xBF] + whole.utf8),
  ])
  func everyEncodingIsRead(name: String, bytes: [UInt8]) {
    let result = Self.read(bytes)
    #expect(result.problems == [])
    #expect(result.changes == Self.wholeChanges)
    #expect(result.lines == [4, 5, 6, 7, 8, 10, 11, 12, 14])
  }

  @Test func aTextMayGoOverSeveralLines() {
    let text = Self.header + "[HKLM\\S]\r\n\"a\"=\"one\r\ntwo\"\r\n\"b\"=dword:2\r\n"
    #expect(
      Self.read(Self.utf16(text)).changes == [
        .key(#"HKLM\S"#), .value(name: "a", Self.sz("one\r\ntwo")),
        .value(name: "b", RegistryValue(type: .dword, data: [2, 0, 0, 0])),
      ])
  }

  @Test func namesKeepWhatIsNoText() {
    var bytes = Self.utf16(Self.header + "[HKLM\\S\u{0}]\r\n")
    bytes += [0x22, 0, 0x00, 0xD8, 0x22, 0] + Self.utf16("=-").dropFirst(2)
    #expect(
      Self.read(bytes).changes == [
        .key(UnicodeName(units: Array("HKLM\\S".utf16) + [0])), .deletedValue(name: UnicodeName(units: [0xD800])),
      ])
  }

  /// 11.3
  @Test func theOldFormatIsANSI() {
    let start = Array("REGEDIT4\n\n[HKLM\\S]\n\"a\"=hex(1):e4,80,00\n\"b\"=hex(7):41,00,00\n\"c\"=hex(3):e4\n\"d".utf8)
    let result = Self.read(start + [0xE4] + Array("\"=\"".utf8) + [0x80] + Array("\"\n\"é\"=-\n".utf8))
    #expect(result.problems == [])
    #expect(
      result.changes == [
        .key(#"HKLM\S"#), .value(name: "a", Self.sz("ä€")),
        .value(name: "b", RegistryValue(type: .multiSz, data: [0x41, 0, 0, 0, 0, 0])),
        .value(name: "c", RegistryValue(type: .binary, data: [0xE4])), .value(name: "dä", Self.sz("€")),
        .deletedValue(name: "é"),
      ])
    let new = Self.read(Array("Windows Registry Editor Version 5.00\n[HKLM\\S]\n\"a\"=hex(1):e4,80\n\"d".utf8) + [0xE4] + Array("\"=-".utf8))
    #expect(new.changes.last == .value(name: "a", RegistryValue(type: .sz, data: [0xE4, 0x80])))
    #expect(new.problems == ["line 4, column 3: what stands here is no UTF-8"])
  }

  @Test(arguments: [
    ("[HKLM\\S", "column 8: the key's name lacks its closing bracket"),
    ("[HKLM\\\\S]", "column 7: a key without a name"), ("[]", "column 2: a key without a name"),
    ("[HKLM\\S] x", "column 10: nothing but a comment can stand here"),
    ("hello", "column 1: neither a key nor a value nor a comment begins like this"),
    ("\"a\"", "column 4: '=' expected behind the value's name"),
    ("\"a\"=x", "column 5: a text in quotes, dword:, hex: or hex(TYPE): expected"),
    ("\"a\"=\"C:\\new\"", "column 8: a backslash goes before a quote or another backslash only; it stands for itself when doubled"),
    ("\"a\"=\"x\" y", "column 9: nothing but a comment can stand here"),
    ("\"a\"=- y", "column 7: nothing but a comment can stand here"),
    ("\"a\"=dword:", "column 11: one to eight hexadecimal digits expected"),
    ("\"a\"=dword:123456789", "column 19: nothing but a comment can stand here"),
    ("\"a\"=hex(g):", "column 9: the type's number expected, in hexadecimal digits"),
    ("\"a\"=hex(1:", "column 10: ')' expected behind the type's number"),
    ("\"a\"=hex;", "column 8: ':' expected"),
    ("\"a\"=hex:01 02", "column 12: a comma expected between two bytes"),
    ("\"a\"=hex:01,", "column 12: a byte expected behind the comma"),
    ("\"a\"=hex:xy", "column 9: a byte expected: two hexadecimal digits"),
    ("\"a\"=hex:01,\\ 02", "column 14: a backslash in hexadecimal data stands at a line's end"),
  ])
  func everyMistakeHasItsPlace(line: String, problem: String) {
    let result = Self.read(Array("\(Self.header)[HKLM\\T]\n\(line)\n[HKLM\\Next]\n\"b\"=-\n".utf8))
    #expect(result.problems == ["line 4, \(problem)"])
    // Reading went on behind it.
    #expect(result.changes.suffix(2) == [.key(#"HKLM\Next"#), .deletedValue(name: "b")])
  }

  @Test(arguments: [
    ("\"a\"=\"x\nmore\n", "line 4, column 5: the text lacks its closing quote"),
    ("\"a\n", "line 4, column 1: the name lacks its closing quote"),
    ("\"a\"=hex:01,\\", "line 4, column 12: the file ends within a value's data"),
  ])
  func whatTheFilesEndCutsIsAProblem(text: String, problem: String) {
    #expect(Self.read(Array("\(Self.header)[HKLM\\T]\n\(text)".utf8)).problems == [problem])
  }

  @Test func theRestOfBrokenDataIsNoLineOfItsOwn() {
    let result = Self.read(Array("\(Self.header)[HKLM\\T]\n\"a\"=hex:01,zz,\\\n  02,\\\n  03\n\"b\"=-\n".utf8))
    #expect(result.problems == ["line 4, column 12: a byte expected: two hexadecimal digits"])
    #expect(result.changes == [.key(#"HKLM\T"#), .deletedValue(name: "b")])
  }

  /// A value must never get to the key before the one that could not be read.
  @Test func valuesBelowAnUnreadableKeyAreNobodys() {
    let result = Self.read(Array("\(Self.header)[HKLM\\Good]\n[HKLM\\Bad\n\"a\"=\"x\"\n\"b\"=zz\n".utf8))
    #expect(result.changes == [.key(#"HKLM\Good"#)])
    #expect(result.problems.map { $0.prefix(6) } == ["line 4", "line 6"])
  }

  @Test func valuesNeedAKey() {
    let result = Self.read(Array("\(Self.header)\"a\"=\"x\"\n[-HKLM\\Gone]\n\"b\"=-\n".utf8))
    #expect(result.changes == [.deletedKey(#"HKLM\Gone"#)])
    #expect(
      result.problems == [
        "line 3, column 1: a value without a key above it", "line 5, column 1: a value of a key that is deleted here",
      ])
  }

  @Test(arguments: [
    [], Array("[HKLM\\S]\n".utf8), Array("REGEDIT5\n[HKLM\\S]\n".utf8), [0xFE, 0xFF, 0, 0x52],
    [0xFF, 0xFE, 0x52], Array("\n\nWindows Registry Editor Version 5.00 x\n[HKLM\\S]\n".utf8),
  ] as [[UInt8]])
  func aFileWithoutItsHeaderIsNotRead(bytes: [UInt8]) {
    let result = Self.read(bytes)
    #expect(result.changes == [])
    #expect(result.problems.count == 1)
  }

  @Test func halfACharacterIsAProblem() {
    let result = Self.read(Self.utf16(Self.header + "[HKLM\\S]\r\n@=-") + [0x20])
    #expect(result.problems == ["line 4, column 4: half a UTF-16 character ends the file"])
  }
}
