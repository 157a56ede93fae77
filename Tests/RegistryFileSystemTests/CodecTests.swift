import Executive
import Testing

@testable import RegistryFileSystem

private func encoded(_ name: UnicodeName, _ suffix: NameSuffix = .none) -> String {
  var bytes: [UInt8] = []
  NameCodec.encode(name, suffix: suffix, into: &bytes)
  return String(decoding: bytes, as: UTF8.self)
}

@Suite struct NameCodecTests {
  @Test(arguments: [
    ("Services", "Services"), ("a/b", "a%2Fb"), ("100%", "100%25"), (".", "%2E"), ("..", "%2E."), ("...", "..."),
    ("@", "%40"), ("@x", "@x"), ("", "@"), (#"C:\x"#, #"C:\x"#), ("tab\there", "tab%09here"), ("\u{0}", "%00"),
    ("\u{7F}", "%7F"), ("größe", "größe"), ("\u{10438}", "\u{10438}"), (" trailing. ", " trailing. "),
  ])
  func everyNameHasOneFileNameAndBack(name: String, file: String) throws {
    #expect(encoded(UnicodeName(name)) == file)
    #expect(try NameCodec.decode(Array(file.utf8)) == EntryName(name: UnicodeName(name), suffix: .none))
  }

  @Test func unpairedSurrogatesAreEscaped() throws {
    let name = UnicodeName(units: [0x61, 0xD800, 0x62, 0xDC01])
    #expect(encoded(name) == "a%uD800b%uDC01")
    #expect(try NameCodec.decode(Array("a%uD800b%uDC01".utf8)).name == name)
  }

  @Test(arguments: [
    ("v%val", NameSuffix.value), ("v%dup2", .twin(2)), ("v%raw", .raw), ("v%sz", .type(.sz)),
    ("v%expand_sz", .type(.expandSz)), ("v%multi_sz", .type(.multiSz)), ("v%dword", .type(.dword)),
    ("v%dword_be", .type(.dwordBigEndian)), ("v%qword", .type(.qword)), ("v%binary", .type(.binary)),
    ("v%none", .type(.none)), ("v%link", .type(.link)), ("v%0xffff0012", .type(ValueType(rawValue: 0xFFFF_0012))),
    ("v%val%dup3", .twin(3, isHiddenValue: true)),
  ])
  func readsSuffixes(file: String, suffix: NameSuffix) throws {
    #expect(try NameCodec.decode(Array(file.utf8)) == EntryName(name: "v", suffix: suffix))
    #expect(encoded("v", suffix) == file)
  }

  @Test func theDefaultValueTakesSuffixes() throws {
    #expect(try NameCodec.decode(Array("@%dword".utf8)) == EntryName(name: "", suffix: .type(.dword)))
    #expect(try NameCodec.decode(Array("%40%dword".utf8)) == EntryName(name: "@", suffix: .type(.dword)))
  }

  @Test(arguments: [
    "v%", "v%x", "v%dup1", "v%dup", "v%dup+2", "v%sz%sz", "v%0x", "v%0x+1", "v%0x100000000", "v%DWORD", "%u12", "v%lost0x-1",
    "v%~0123456789abcde", "v%~0123456789abcdeg", "v%~0123456789abcdef0", "v%~0123456789abcdef0sz", "v%~0123456789abcdef%", "v%~0123456789abcdef%x",
  ])
  func refusesUnknownSuffixes(file: String) {
    #expect(throws: Errno.invalid) { try NameCodec.decode(Array(file.utf8)) }
  }

  @Test(arguments: [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xE2, 0x82], [0xF5, 0x80, 0x80, 0x80]] as [[UInt8]])
  func refusesWhatIsNoUTF8(bytes: [UInt8]) {
    #expect(throws: Errno.illegalSequence) { try NameCodec.decode(bytes) }
  }

  @Test func namesOverTheKernelsLimitAreShortenedToDifferentOnes() {
    let a = encoded(UnicodeName(String(repeating: "長", count: 400) + "a"))
    let b = encoded(UnicodeName(String(repeating: "長", count: 400) + "b"))
    #expect(a != b)
    #expect(a.utf8.count <= 1024 && a.contains("%~"))
    #expect(a.utf8.prefix(900).elementsEqual(String(repeating: "長", count: 300).utf8))
    #expect(encoded(UnicodeName(String(repeating: "x", count: 1024))).utf8.count == 1024)
  }

  /// SEMANTICS 2.11: with a suffix a name may be too long that is not without it.
  @Test(arguments: [NameSuffix.none, .value, .raw, .type(.expandSz), .type(ValueType(rawValue: .max)), .twin(65535, isHiddenValue: true)])
  func aShortenedNameKeepsItsSuffix(suffix: NameSuffix) throws {
    for length in [1008, 1015, 1021, 1024, 1025, 3000, 16383] {
      let file = encoded(UnicodeName(String(repeating: "x", count: length)), suffix)
      #expect(file.utf8.count <= 1024)
      let name = try NameCodec.decode(Array(file.utf8))
      #expect(name.suffix == suffix)
      #expect(name.isShortened == file.contains("%~"))
      #expect(name.name.units.count == (name.isShortened ? 900 : length))
    }
  }

  /// SEMANTICS 2.11: neither a character nor an escape is cut.
  @Test(arguments: ["x", "é", "長", "\u{10438}", "\u{1}", "%", "a長", "ab\u{10438}c"])
  func aShortenedNameIsCutBetweenCharacters(part: String) throws {
    for shift in 0..<8 {
      let whole = String(repeating: "y", count: shift) + String(repeating: part, count: 1200)
      let name = try NameCodec.decode(Array(encoded(UnicodeName(whole)).utf8))
      #expect(name.isShortened && whole.utf16.starts(with: name.name.units))
    }
    let surrogates = UnicodeName(units: Array(repeating: 0xDC01, count: 300))
    let cut = try NameCodec.decode(Array(encoded(surrogates).utf8))
    #expect(cut.isShortened && surrogates.units.starts(with: cut.name.units))
  }
}

@Suite struct ValueCodecTests {
  private static func utf16(_ text: String) -> [UInt8] {
    text.utf16.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }
  }

  @Test(arguments: [
    (ValueType.sz, utf16("abc\0"), "abc\n"), (.sz, [], ""), (.sz, utf16("\0"), "\n"), (.sz, utf16("a\n\0"), "a\n\n"),
    (.sz, utf16("a\0b\0"), "a\0b\n"), (.expandSz, utf16("%x%ü\u{10438}\0"), "%x%ü\u{10438}\n"),
    (.link, utf16(#"\REGISTRY\X"#), "\\REGISTRY\\X\n"), (.multiSz, utf16("a\0bc\0\0"), "a\nbc\n"),
    (.multiSz, utf16("\0"), ""), (.multiSz, utf16("a\0\0b\0\0"), "a\n\nb\n"), (.multiSz, utf16("a\r\0\0"), "a\r\n"),
    (.dword, [0x2A, 0, 0, 0], "42\n"), (.dword, [0xFF, 0xFF, 0xFF, 0xFF], "4294967295\n"),
    (.dwordBigEndian, [0, 0, 1, 2], "258\n"), (.qword, [0, 0, 0, 0, 1, 0, 0, 0], "4294967296\n"),
    (.binary, [0, 1, 0xFF], "\u{0}\u{1}\u{FFFD}"), (ValueType(rawValue: 0x20_0000), [65], "A"),
  ] as [(ValueType, [UInt8], String)])
  func textAndBack(type: ValueType, data: [UInt8], text: String) throws {
    let value = RegistryValue(type: type, data: data)
    let shown = ValueCodec.text(of: value)
    #expect(String(decoding: shown, as: UTF8.self) == text)
    #expect(try ValueCodec.data(from: shown, type: type) == data)
    #expect(ValueCodec.isLossless(value))
    #expect(ValueCodec.textSize(of: value) == shown.count)
  }

  @Test(arguments: [
    (ValueType.sz, utf16("abc"), "abc\n"), (.sz, [0x61, 0, 0x62], "a\n"), (.dword, [1, 0, 0, 0, 0, 0, 0, 0], "1\n"),
    (.dword, [7, 1], "263\n"), (.dword, [], ""), (.multiSz, utf16("a"), "a\n"), (.multiSz, [], ""),
    (.sz, [0, 0xD8, 0, 0], "\u{FFFD}\n"),
  ] as [(ValueType, [UInt8], String)])
  func whatTextCannotGiveBackIsShownAndSaid(type: ValueType, data: [UInt8], text: String) {
    let value = RegistryValue(type: type, data: data)
    #expect(String(decoding: ValueCodec.text(of: value), as: UTF8.self) == text)
    #expect(!ValueCodec.isLossless(value))
    #expect(ValueCodec.textSize(of: value) == ValueCodec.text(of: value).count)
  }

  /// Big data lies in pieces; a character may begin in one and end in the next.
  @Test(arguments: [
    (ValueType.sz, utf16("aü\u{10438}\u{20AC}\0")), (.sz, utf16("a\0")), (.multiSz, utf16("a\0\u{10438}\0\0")), (.multiSz, utf16("ab")),
    (.sz, [0x61, 0, 0x00, 0xD8, 0x00, 0xD8, 0x01, 0xDC, 0x01, 0xDC]), (.dword, [7, 1, 0, 0]), (.qword, Array(0..<12)),
    (.binary, [1, 2, 3, 4, 5, 6]), (.multiSz, utf16("\0\0")), (.link, utf16("\u{10438}\0")), (.sz, utf16("ab") + [7]),
  ] as [(ValueType, [UInt8])])
  func theSizeIsCountedPieceByPiece(type: ValueType, data: [UInt8]) {
    let whole = ValueCodec.text(of: RegistryValue(type: type, data: data)).count
    for length in stride(from: 2, through: data.count + 1, by: 2) {
      var size = TextSize(type, as: .text)
      for start in stride(from: 0, to: data.count, by: length) {
        Array(data[start..<min(start + length, data.count)]).withUnsafeBytes { size.add($0) }
      }
      #expect(size.bytes == whole, "pieces of \(length)")
    }
  }

  /// SEMANTICS 3.4 and 3.10.
  @Test(arguments: [
    (ValueType.dword, [0x2A, 0, 0, 0], "0x0000002a\n"), (.dwordBigEndian, [0xFF, 0, 1, 2], "0xff000102\n"),
    (.qword, [1, 0, 0, 0, 0, 0, 0, 0x80], "0x8000000000000001\n"), (.dword, [], ""), (.sz, utf16("10\0"), "10\n"),
  ] as [(ValueType, [UInt8], String)])
  func hexadecimalNumbers(type: ValueType, data: [UInt8], text: String) throws {
    let value = RegistryValue(type: type, data: data)
    let shown = ValueCodec.text(of: value, as: .hexadecimal)
    #expect(String(decoding: shown, as: UTF8.self) == text)
    #expect(ValueCodec.textSize(of: value, as: .hexadecimal) == shown.count)
    #expect(ValueCodec.isLossless(value, as: .hexadecimal) == !data.isEmpty)
    if !data.isEmpty { #expect(try ValueCodec.data(from: shown, type: type, as: .hexadecimal) == data) }
  }

  /// SEMANTICS 2.8: every data, whatever the type.
  @Test(arguments: [ValueType.sz, .expandSz, .multiSz, .dword, .qword, .link, .binary, ValueType(rawValue: 77)])
  func bytesAreBytes(type: ValueType) throws {
    for data in [[], [0], [0x61, 0, 0x62], [0xFF, 0xD8], [0x0A]] as [[UInt8]] {
      let value = RegistryValue(type: type, data: data)
      #expect(ValueCodec.text(of: value, as: .bytes) == data && ValueCodec.textSize(of: value, as: .bytes) == data.count)
      #expect(try ValueCodec.data(from: data, type: type, as: .bytes) == data)
      #expect(ValueCodec.isLossless(value, as: .bytes))
      try ValueCodec.check(beginning: data, type: type, as: .bytes)
    }
  }

  @Test(arguments: [
    (ValueType.dword, "42", [42, 0, 0, 0]), (.dword, " 0x2A \n", [42, 0, 0, 0]), (.dword, "-1\n", [255, 255, 255, 255]),
    (.dword, "-2147483648", [0, 0, 0, 128]), (.dwordBigEndian, "1", [0, 0, 0, 1]),
    (.qword, "0xFFFFFFFFFFFFFFFF", Array(repeating: 255, count: 8)), (.qword, "-1", Array(repeating: 255, count: 8)),
    (.sz, "no newline", utf16("no newline\0")), (.multiSz, "last lacks it", utf16("last lacks it\0\0")),
  ] as [(ValueType, String, [UInt8])])
  func accepts(type: ValueType, text: String, data: [UInt8]) throws {
    #expect(try ValueCodec.data(from: Array(text.utf8), type: type) == data)
  }

  @Test(arguments: [
    (ValueType.dword, "foo", Errno.invalid), (.dword, "", .invalid), (.dword, "4 2", .invalid), (.dword, "0x", .invalid),
    (.dword, "0xg", .invalid), (.dword, "1e3", .invalid), (.dword, "+1", .invalid), (.dword, "--1", .invalid),
    (.dword, "4294967296", .range), (.dword, "-2147483649", .range), (.qword, "18446744073709551616", .range),
    (.qword, "99999999999999999999999999", .range), (.dword, "42\n1\n", .invalid),
  ])
  func refuses(type: ValueType, text: String, errno: Errno) {
    #expect(throws: errno) { try ValueCodec.data(from: Array(text.utf8), type: type) }
  }

  @Test(arguments: [ValueType.sz, .expandSz, .multiSz, .link])
  func refusesBadUTF8(type: ValueType) {
    #expect(throws: Errno.illegalSequence) { try ValueCodec.data(from: [0x61, 0xFF], type: type) }
    #expect(throws: Errno.illegalSequence) { try ValueCodec.check(beginning: [0x61, 0xFF, 0x61], type: type) }
    #expect(throws: Never.self) { try ValueCodec.check(beginning: [0x61, 0xE2, 0x82], type: type) }
    #expect(throws: Errno.illegalSequence) { try ValueCodec.data(from: [0x61, 0xE2, 0x82], type: type) }
  }

  @Test(arguments: ["", " ", "-", "0x", "12", "-0x"])
  func aBeginningOfANumberMayGoOn(text: String) {
    #expect(throws: Never.self) { try ValueCodec.check(beginning: Array(text.utf8), type: .dword) }
  }

  @Test(arguments: [("f", Errno.invalid), ("12x", .invalid), ("5000000000", .range)])
  func aBeginningThatCanBeNoNumberIsRefusedAtOnce(text: String, errno: Errno) {
    #expect(throws: errno) { try ValueCodec.check(beginning: Array(text.utf8), type: .dword) }
  }
}
