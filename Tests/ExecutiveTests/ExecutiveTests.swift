import Executive
import Testing

@Suite struct UnicodeNameTests {
  @Test func upcaseTableHasWindows973Entries() {
    let changed = (0...UInt16.max).filter { UpcaseTable.upcase($0) != $0 }
    #expect(changed.count == 973)
  }

  @Test(arguments: [
    (0x61, 0x41), (0x7A, 0x5A), (0xE9, 0xC9), (0xFF, 0x178), (0xF7, 0xF7), (0xDF, 0xDF), (0xB5, 0xB5), (0x3C2, 0x3C2),
    (0x3C3, 0x3A3), (0x131, 0x131), (0x1F80, 0x1F88), (0x24D0, 0x24B6), (0xFF41, 0xFF21), (0xD801, 0xD801),
  ] as [(UInt16, UInt16)])
  func upcasesAsWindowsDoes(unit: UInt16, upper: UInt16) {
    #expect(UpcaseTable.upcase(unit) == upper)
  }

  @Test func ordersByUnitsAndPrefixFirst() {
    func order(_ a: String, _ b: String) -> Int {
      let x = UnicodeName(a).units
      let y = UnicodeName(b).units
      return UpcaseTable.compare(x.span, y.span).signum()
    }
    #expect(order("abc", "ABC") == 0)
    #expect(order("ab", "ABC") == -1)
    #expect(order("B", "a") == 1)
    // UTF-16 unit order, not code point order.
    #expect(order("\u{10438}", "\u{FF21}") == -1)
  }

  @Test func hashesAsLhLists() {
    let name = UnicodeName("Services").units
    var expected: UInt32 = 0
    for byte in "SERVICES".utf8 { expected = expected &* 37 &+ UInt32(byte) }
    #expect(UpcaseTable.hash(name.span) == expected)
  }
}

@Suite struct SHA256Tests {
  @Test(arguments: [
    ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
      "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    ),
  ])
  func hashesTheStandardsVectors(text: String, digest: String) {
    #expect(SHA256.hexDigest(Array(text.utf8)) == digest)
  }

  @Test func hashesAMillionTimesA() {
    let digest = SHA256.hexDigest(Array(repeating: 0x61, count: 1_000_000))
    #expect(digest == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
  }

  @Test func piecesGiveTheSameAsTheWhole() {
    let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    for size in [1, 13, 55, 56, 63, 64, 65, 128] {
      var hash = SHA256()
      for start in stride(from: 0, to: bytes.count, by: size) {
        hash.update(Array(bytes[start..<min(start + size, bytes.count)]))
      }
      #expect(hash.hexDigest() == SHA256.hexDigest(bytes))
    }
  }
}

@Suite struct FileTimeTests {
  @Test(arguments: [
    (116_444_736_000_000_000, 0, 0), (116_444_736_000_000_001, 0, 100), (0, -11_644_473_600, 0),
    (116_444_735_999_999_999, -1, 999_999_900),
  ] as [(UInt64, Int64, Int64)])
  func convertsBothWays(ticks: UInt64, seconds: Int64, nanoseconds: Int64) {
    let time = FileTime(rawValue: ticks)
    #expect(time.unixTime == (seconds, nanoseconds))
    #expect(FileTime(seconds: seconds, nanoseconds: nanoseconds) == time)
  }

  @Test func clampsWhatDoesNotFit() {
    #expect(FileTime(rawValue: .max).unixTime.seconds > 0)
    #expect(FileTime(seconds: .min, nanoseconds: 0).rawValue == 0)
    #expect(FileTime(seconds: .max, nanoseconds: 0).rawValue == UInt64(Int64.max))
  }
}

@Suite struct NotifyClassTests {
  @Test func numbersAreWindowsOwn() {
    #expect(NotifyClass.preCreateKeyEx.rawValue == 26)
    #expect(NotifyClass.callbackObjectContextCleanup.rawValue == 40)
    #expect(NotifyClass.preRestoreKey.rawValue == 0x29)
    #expect(NotifyClass.postReplaceKey.rawValue == 0x2E)
    #expect(NotifyClass.postSaveMergedKey.rawValue == 50)
    #expect(NotifyClass.preSetValueKey.name == "RegNtPreSetValueKey")
  }
}

@Suite struct ValueTypeTests {
  @Test func namesReadBack() {
    for raw in Array(0...12) + [0xFFFF_0012, .max] as [UInt32] {
      let type = ValueType(rawValue: raw)
      #expect(ValueType(name: type.name) == type)
    }
    #expect(ValueType(name: "dword") == .dword)
    #expect(ValueType(name: "REG_DWORD_BE") == .dwordBigEndian)
    #expect(ValueType(name: "REG_NOPE") == nil)
  }
}
