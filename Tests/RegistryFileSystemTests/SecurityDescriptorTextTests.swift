import Testing

@testable import RegistryFileSystem

/// SEMANTICS 4.10: security descriptors as SDDL.
@Suite struct SecurityDescriptorTextTests {
  private static let minimal: [UInt8] = [
    1, 0, 0x04, 0x94, 0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0,  // owner at 52, DACL at 20
    2, 0, 0x20, 0, 1, 0, 0, 0,
    0, 2, 0x18, 0, 0x3F, 0, 0x0F, 0, 1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0,
    1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0,
  ]

  @Test func bytesAndText() throws {
    let parts = try #require(SecurityDescriptorParts(Self.minimal))
    #expect(parts.text == "O:SYD:PAI(A;CI;KA;;;BA)")
    #expect(SecurityDescriptorParts(text: "O:SYD:PAI(A;CI;KA;;;BA)")?.bytes == Self.minimal)
  }

  @Test(arguments: [
    "O:BAG:SYD:PAI(A;CIIO;KA;;;CO)(D;OINP;KR;;;WD)S:ARAI(AU;SAFA;KW;;;AN)", "D:NO_ACCESS_CONTROL", "D:PNO_ACCESS_CONTROL", "D:",
    "S:P", "D:ARS:", "O:S-1-5-21-1-2-3-4294967295", "G:S-1-0x123456789abc-7", "O:S-1-0", "D:(A;;;;;WD)",
    "D:(A;;CCDCLCSWRPWPDTLOCRSDRCWDWOGAGXGWGR;;;WD)", "D:(A;;0x200;;;WD)", "D:(A;;FA;;;WD)(A;;FR;;;WD)(A;;FW;;;WD)(A;;FX;;;WD)",
    "D:(A;OICINPIOIDCRSAFA;GA;;;WD)", "S:(ML;;NWNRNX;;;HI)", "S:(ML;;NW;;;LW)", "S:(AL;;KA;;;WD)",
    "D:(OA;;RP;01234567-89ab-cdef-0123-456789abcdef;;WD)(OD;;RP;;01234567-89ab-cdef-0123-456789abcdef;WD)",
    "S:(OU;;RP;01234567-89ab-cdef-0123-456789abcdef;fedcba98-7654-3210-fedc-ba9876543210;WD)(OL;;RP;;;WD)",
    "D:(XA;;KR;;;WD;#61727478f80c0000)(XD;;KR;;;WD;#61727478)(ZA;;KR;;;WD;#00000000)",
    "S:(RA;;0x0;;;WD;#0000000100000000)(XU;;KR;;;WD;#61727478)(SP;;0x0;;;S-1-17-1)(TL;;0x0;;;S-1-19-512-4096)(FL;;CC;;;WD)",
    "D:(0x63;CI;;;;;#01020304)(0x0;;;;;;#)(0x5;;;;;;#0000000004000000)",
  ])
  func isReadBack(text: String) throws {
    let parts = try #require(SecurityDescriptorParts(text: text))
    // A mask without bits has no word.
    #expect(parts.text == text.replacing(";0x0;", with: ";;"))
    #expect(SecurityDescriptorParts(parts.bytes) == parts)
  }

  @Test(arguments: [
    ("WD", "S-1-1-0"), ("CO", "S-1-3-0"), ("CG", "S-1-3-1"), ("OW", "S-1-3-4"), ("NU", "S-1-5-2"), ("IU", "S-1-5-4"), ("SU", "S-1-5-6"),
    ("AN", "S-1-5-7"), ("ED", "S-1-5-9"), ("PS", "S-1-5-10"), ("AU", "S-1-5-11"), ("RC", "S-1-5-12"), ("SY", "S-1-5-18"),
    ("LS", "S-1-5-19"), ("NS", "S-1-5-20"), ("WR", "S-1-5-33"), ("BA", "S-1-5-32-544"), ("BU", "S-1-5-32-545"), ("BG", "S-1-5-32-546"),
    ("PU", "S-1-5-32-547"), ("AC", "S-1-15-2-1"), ("LW", "S-1-16-4096"), ("ME", "S-1-16-8192"), ("HI", "S-1-16-12288"),
    ("SI", "S-1-16-16384"), ("UD", "S-1-5-84-0-0-0-0-0"), ("AS", "S-1-18-1"), ("SS", "S-1-18-2"),
  ])
  func abbreviations(letters: String, identifier: String) throws {
    let parts = try #require(SecurityDescriptorParts(text: "O:\(identifier)"))
    #expect(SecurityDescriptorParts(text: "O:\(letters)") == parts)
    #expect(parts.text == "O:\(letters)")
  }

  @Test func rightsAddUpAndPartsComeInAnyOrder() throws {
    #expect(SecurityDescriptorParts(text: "D:(A;;KRKW;;;SY)O:BA")?.text == "O:BAD:(A;;CCDCLCSWRPRC;;;SY)")
    #expect(SecurityDescriptorParts(text: " D:(A;;KX;;;SY)\n")?.text == "D:(A;;KR;;;SY)")
    #expect(SecurityDescriptorParts(text: "D:(A;;983103;;;SY)")?.text == "D:(A;;KA;;;SY)")
  }

  @Test(arguments: [
    "", " ", "O", "O:", "O:XX", "O:DA", "O:S-1-", "O:S-1-5-", "O:S-1-5-4294967296", "O:SYO:SY", "X:SY", "D", "D:(", "D:()", "D:(A;;KA;;;SY",
    "D:(A;;KA;;SY)", "D:(A;;KA;;;SY;;)", "D:(A;;KA;;;)", "D:(A;;KA;;;SYSY)", "D:(B;;KA;;;SY)", "D:(A;XX;KA;;;SY)", "D:(A;;XX;;;SY)",
    "D:(A;;0x;;;SY)", "D:(A;;0x1FFFFFFFF;;;SY)", "D:(A;;0x+1;;;SY)", "D:(A;;KA;01234567-89ab-cdef-0123-456789abcdef;;SY)",
    "D:(OA;;KA;1234567-89ab-cdef-0123-456789abcdef;;SY)", "D:(A;;KA;;;SY;#0)", "D:(A;;KA;;;SY;#010203)", "D:(A;;KA;;;SY;00000000)",
    "D:(0x63;;KA;;;;#)", "D:(0x63;;;;;#)", "D:(0x63;;;;;SY;#)", "D:(0x100;;;;;;#)", "D:Q", "D:P(A;;KA;;;SY)x", "O:S-1-5-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1",
  ])
  func otherTextIsRefused(text: String) { #expect(SecurityDescriptorParts(text: text) == nil) }

  /// A list and an entry tell their size in 16 bits.
  @Test func whatIsTooLongForAListIsRefused() {
    #expect(SecurityDescriptorParts(text: "D:" + String(repeating: "(A;;KA;;;WD)", count: 3276)) != nil)
    #expect(SecurityDescriptorParts(text: "D:" + String(repeating: "(A;;KA;;;WD)", count: 3277)) == nil)
    #expect(SecurityDescriptorParts(text: "D:(A;;KA;;;WD;#" + String(repeating: "00000000", count: 16384) + ")") == nil)
  }

  @Test func bytesThatAreNoDescriptorAreRefused() {
    for length in 0..<Self.minimal.count {
      let parts = SecurityDescriptorParts(Array(Self.minimal.prefix(length)))
      #expect(parts == nil, "\(length)")
    }
    for (place, byte) in [(0, 2), (3, 0x14), (4, 1), (16, 3), (22, 4), (22, 0xFF), (52, 2), (53, 16)] as [(Int, UInt8)] {
      var bytes = Self.minimal
      bytes[place] = byte
      #expect(SecurityDescriptorParts(bytes) == nil, "\(place)")
    }
  }

  /// An entry that runs out of its list ends it; nothing is read beyond.
  @Test func entriesThatLieOutsideAreLeftOut() throws {
    for size: UInt8 in [0, 3, 0x1C, 0xFF] {
      var bytes = Self.minimal
      bytes[30] = size
      #expect(try #require(SecurityDescriptorParts(bytes)).text == "O:SYD:PAI")
    }
  }

  @Test func whatIsNotNamedIsTakenOver() throws {
    var parts = try #require(SecurityDescriptorParts(text: "D:P(A;;KA;;;SY)"))
    #expect(parts.named == 4)
    parts.takeMissing(from: try #require(SecurityDescriptorParts(text: "O:BAG:SYD:AI(A;;KR;;;WD)S:P(AU;SA;KA;;;WD)")))
    #expect(parts.text == "O:BAG:SYD:P(A;;KA;;;SY)S:P(AU;SA;KA;;;WD)")
    #expect(parts.named == 15)
  }
}
