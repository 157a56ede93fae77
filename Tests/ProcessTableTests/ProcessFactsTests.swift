import Executive
import Glibc
import Synchronization
import Testing

@testable import ProcessTable

@Suite("What a classifier may ask (identity.md)")
struct ProcessFactsTests {
  private final class Seen: Sendable { let facts = Mutex<ProcessFacts?>(nil) }

  private func read(_ id: Int32) -> ProcessFacts? {
    let seen = Seen()
    let table = tableWithoutConnector { facts in
      seen.facts.withLock { $0 = facts }
      return Classification()
    }
    _ = table.context(id)
    return seen.facts.withLock { $0 }
  }

  @Test func nameParentAndDigestAreTheProcesses() throws {
    let child = try Child("/bin/sleep", ["60"])
    let facts = try #require(read(child.id))
    #expect(facts.name == "sleep")
    #expect(facts.parentExecutable == TaskDirectory.open(getpid())?.link("exe"))
    #expect(facts.digest == TaskDirectory.open(child.id)?.digest("exe"))
    #expect(facts.digest?.count == 64)
    #expect(facts.script == nil)
  }

  @Test(.enabled(if: getuid() == 0, "only root can make root's files"))
  func aScriptCountsOnlyWhenNobodyButRootCanWriteIt() throws {
    let folder = try Folder()
    for (mode, counts) in [(0o755, true), (0o775, false), (0o757, false)] as [(mode_t, Bool)] {
      let path = try folder.write("script", "read x\n:\n", mode: mode)
      let shell = try Child("/bin/sh", ["-c", "exec /bin/sh \(path) < /dev/zero"])
      #expect(waitUntil { TaskDirectory.open(shell.id)?.text("cmdline")?.hasPrefix("/bin/sh\0\(path)") == true })
      let facts = try #require(read(shell.id))
      #expect(facts.script == (counts ? path : nil))
    }
  }

  /// In such a folder the interpreter may have read another file than the one that lies there when it is looked at.
  @Test(.enabled(if: getuid() == 0, "only root can make root's files"))
  func aScriptCountsOnlyWhereNobodyElseCanExchangeIt() throws {
    let folder = try Folder()
    let path = try folder.write("script", "read x\n:\n", mode: 0o755)
    for (mode, counts) in [(0o755, true), (0o775, false), (0o757, false), (0o1777, true)] as [(mode_t, Bool)] {
      chmod(folder.path, mode)
      #expect((TrustedFile.resolve(path) == path) == counts, "mode \(String(mode, radix: 8))")
    }
    chmod(folder.path, 0o755)
    chown(folder.path, 7, 7)
    #expect(TrustedFile.resolve(path) == nil)
    chown(folder.path, 0, 0)
  }

  @Test(.enabled(if: getuid() == 0, "only root can make a mount namespace or a root of its own"))
  func whoSeesOtherMountsHasNoScript() throws {
    let folder = try Folder()
    let path = try folder.write("script", "read x\n:\n", mode: 0o755)
    for (before, counts) in [([], true), (["/usr/bin/unshare", "--mount"], false)] {
      let shell = try Child("/bin/sh", ["-c", "exec \(before.joined(separator: " ")) /bin/sh \(path) < /dev/zero"])
      #expect(waitUntil { TaskDirectory.open(shell.id)?.text("cmdline")?.hasPrefix("/bin/sh\0\(path)") == true })
      #expect((read(shell.id)?.script == path) == counts)
    }
  }
}
