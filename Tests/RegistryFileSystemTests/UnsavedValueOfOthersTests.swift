import Synchronization
import Testing

@testable import RegistryFileSystem

/// A value that somebody is making is its key's, before it is in the hive; SEMANTICS 6.2 and 10.1.
@Suite struct UnsavedValueOfOthersTests {
  @Test func whoMayNotSetItMayNotTakeItAway() throws {
    let fixture = try Fixture()
    let there = try fixture.fs.makeDirectory("there", in: 1, by: fixture.caller).nodeID
    let made = try fixture.fs.create("v", in: 1, flags: writeOnly, by: fixture.caller)
    fixture.denied.withLock { _ = $0.insert("v") }
    #expect(throws: Errno.accessDenied) { try fixture.fs.unlink("v", in: 1, by: fixture.caller) }
    for (name, place) in [("w", 1), ("w", there), (".v.swp", 1), (".v.swp", there)] as [(String, UInt64)] {
      #expect(throws: Errno.accessDenied) {
        try fixture.fs.rename("v", in: 1, to: name, in: place, flags: 0, by: fixture.caller)
      }
    }
    fixture.denied.withLock { $0 = [] }
    fixture.fs.release(made.file)
    #expect(try fixture.list() == ["there", "v"])
    try fixture.fs.unlink("v", in: 1, by: fixture.caller)
    #expect(try fixture.list() == ["there"])
  }

  /// The kernel still has the name of a value that came to nothing: who writes to it is told to look again, not that he has written.
  @Test func whatCameToNothingIsNotWrittenTo() throws {
    let fixture = try Fixture()
    let made = try fixture.fs.create("v", in: 1, flags: writeOnly, by: fixture.caller)
    fixture.denied.withLock { _ = $0.insert("v") }
    #expect(throws: Errno.accessDenied) {
      try Array("x".utf8).withUnsafeBytes { try fixture.fs.write(made.file, $0, offset: 0, by: fixture.caller) }
    }
    fixture.fs.release(made.file)
    fixture.denied.withLock { $0 = [] }
    for flags in [writeOnly, writeOnly | truncate, readWrite] {
      #expect(throws: Errno.stale) { try fixture.fs.open(made.entry.nodeID, flags: flags, by: fixture.caller) }
    }
    try fixture.echo("y\n", to: "v")
    #expect(try fixture.cat("v") == "y\n")
  }
}
