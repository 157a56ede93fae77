import Testing

@testable import regward

@Suite struct ResidentMemoryTests {
  /// As the kernel writes it; only the first and the fifth are a file's and as the file is.
  @Test func onlyWhatTheFileHasIsLetGo() {
    let text = """
      1000-2000 r-xp 00000000 fe:00 77  /usr/lib/libfine.so
      Rss:                   4 kB
      Anonymous:             0 kB
      2000-3000 r--p 00001000 fe:00 77  /usr/lib/libfine.so
      Anonymous:             4 kB
      3000-4000 rw-p 00002000 fe:00 77  /usr/lib/libfine.so
      Anonymous:             0 kB
      4000-5000 r--p 00000000 00:00 0
      Anonymous:             0 kB
      5000-7000 r--p 00000000 fe:00 78  /usr/lib/other one.so
      Anonymous:             0 kB
      7000-8000 r--s 00000000 fe:00 78  /usr/lib/shared
      Anonymous:             0 kB

      """
    #expect(ResidentMemory.cleanFileMappings(Array(text.utf8)) == [0x1000..<0x2000, 0x5000..<0x7000])
  }
}
