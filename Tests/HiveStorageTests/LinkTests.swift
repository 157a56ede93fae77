import Executive
import HiveStorage
import Testing

@Suite struct LinkTests {
  @Test func aLinkKeyIsMadeAndStaysOne() throws {
    let test = try TestHive(minorVersion: 5)
    let name: UnicodeName = "Link"
    let link = try test.hive.createKey(
      under: test.root, named: name.units.span, isLink: true, time: FileTime(rawValue: 2))
    try test.set("SymbolicLinkValue", of: link, to: [0x5C, 0], type: .link)
    #expect(try test.keyNode(at: link).isLink)
    #expect(try test.keyNode(at: link).flags.rawValue == 0x30)
    #expect(try !test.keyNode(at: test.create("plain", under: test.root)).isLink)
    // A longer name moves the key.
    #expect(try test.keyNode(at: test.rename(link, to: "a name that needs another cell")).isLink)
    test.expectSound()
  }
}
