import Testing

@testable import regward

@Suite("The mount table")
struct MountTableTests {
  private let entries = MountTable.parse(
    Array(
      #"""
      /dev/vda / ext4 rw 0 0
      /h /mnt/a\040b\134c fuse.regward rw 0 0
      /h /mnt/x fuse.regward rw 0 0
      t /mnt/x/inner tmpfs rw 0 0
      t /mnt/y tmpfs rw 0 0
      /h /mnt/y fuse.regward rw 0 0
      /h /mnt/z fuse.regward rw 0 0
      t /mnt/z tmpfs rw 0 0
      short line
      """#.utf8))

  @Test("escapes, and lines that are none") func parsed() {
    #expect(entries.count == 8)
    #expect(entries[1] == MountEntry(mountPoint: #"/mnt/a b\c"#, type: "fuse.regward"))
  }

  @Test(
    "the innermost mount counts, the later of two at one place, whole components only",
    arguments: [
      ("/mnt/x", "/mnt/x"), ("/mnt/x/Select/Current", "/mnt/x"), ("/mnt/xy", nil), ("/mnt/x/inner/f", nil),
      ("/mnt/y/f", "/mnt/y"), ("/mnt/z/f", nil), ("/", nil), (#"/mnt/a b\c/k"#, #"/mnt/a b\c"#),
    ])
  func found(path: String, mountPoint: String?) {
    #expect(MountTable.mount(of: path, among: entries) == mountPoint)
  }

  @Test("text becomes a JSON string") func quoted() {
    #expect(JSONValue.text("a\"\\\n\u{1F}é").json == #""a\"\\\u000a\u001fé""#)
  }
}
