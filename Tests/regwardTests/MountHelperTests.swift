import Testing

@testable import regward

@Suite("mount.regward, as mount(8) calls it")
struct MountHelperTests {
  @Test(
    arguments: [
      ("/sbin/mount.regward /h/SYSTEM /mnt -o ro,noauto", "mount /h/SYSTEM /mnt -o ro,noauto"),
      ("mount.regward h m -sv -n -t regward -N /proc/1/ns/mnt -o ro", "mount h m -o ro"),
      ("mount.regward h m -v -o", "mount h m -o"),
      ("mount.regward h m -vf -o ro", ""),
      ("mount.regward", "mount"),
      ("/x/regward mount h m", nil),
    ])
  func commandLine(called: String, meant: String?) {
    let words = MountCommand.helperArguments(called.split(separator: " ").map(String.init))
    #expect(words?.joined(separator: " ") == meant)
  }
}
