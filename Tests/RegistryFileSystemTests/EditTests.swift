import ConfigurationManager
import Executive
import HiveStorage
import RegistryFileSystem
import Synchronization
import Testing

/// The commands that `regward import` is made of (SEMANTICS.md 1.8, 11.11), and what removed values are for those who have them open.
@Suite struct EditTests {
  private func say(_ lines: String, _ fixture: Fixture, by caller: Caller? = nil) throws -> String {
    let caller = caller ?? fixture.caller
    let directory = try fixture.fs.lookUp("%ctl", in: 1)
    let command = try fixture.fs.lookUp("cmd", in: directory.nodeID)
    let file = try fixture.fs.open(command.nodeID, flags: readWrite, by: caller).file
    defer { fixture.fs.release(file) }
    try Array(lines.utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: caller) }
    return String(decoding: try fixture.fs.read(file, offset: 0, size: 1 << 20, by: caller), as: UTF8.self)
  }

  @Test func aKeyAndAValueAreMadeExactly() throws {
    let fixture = try Fixture()
    #expect(try say("create\tA\ncreate\tA/B\nset\tA/B\t0061\t4\t0102030405\nset\tA/B\t\t1\t7800\n", fixture) == "ok\nok\nok\nok\n")
    let a = try fixture.fs.lookUp("A", in: 1).nodeID
    let b = try fixture.fs.lookUp("B", in: a).nodeID
    #expect(try fixture.list(b) == ["@", "a"])
    #expect(fixture.sets.withLock { $0 } == ["a=REG_DWORD:5", "=REG_SZ:2"])
    #expect(try say("delete-value\ta/b\t0041\n", fixture) == "ok\n")
    #expect(try fixture.list(b) == ["@"])
    #expect(fixture.namesDropped.withLock { $0 } > 0)
  }

  /// What comes behind a refusal in one write may rest on it.
  @Test func aRefusalEndsTheLinesOfItsWrite() throws {
    let fixture = try Fixture()
    fixture.denied.withLock { _ = $0.insert("no") }
    let answer = try say("create\tA\nset\tA\t006e006f\t1\t\ncreate\tB\n", fixture)
    #expect(answer.hasPrefix("ok\nerror 13 a rule refuses it"))
    #expect(answer.split(separator: "\n").count == 2)
    #expect(try fixture.list() == ["A"])
  }

  @Test(arguments: [
    ("create\tA/B\n", "error 2 "), ("create\tA%dword\n", "error 22 "), ("set\tA\t0061\t1\t\n", "error 2 "),
    ("set\t\t061\t1\t\n", "error 22 "), ("set\t\t0061\tREG_SZ\t\n", "error 22 "), ("set\t\t0061\t1\t0\n", "error 22 "),
    ("set\t\t0061\t1\tzz\n", "error 22 "), ("set\t\t0061\t1\n", "error 22 "), ("delete-value\t\t0061\n", "error 2 "),
    ("set\t\t\(String(repeating: "0061", count: 16384))\t1\t\n", "error 36 "),
  ])
  func whatIsNotRightIsRefused(line: String, answer: String) throws {
    let fixture = try Fixture()
    #expect(try say(line, fixture).hasPrefix(answer))
    #expect(try fixture.list() == [])
  }

  /// A line is held until it ends: who may change nothing gets little room for it.
  @Test func aStrangersLineIsShort() throws {
    let fixture = try Fixture()
    let line = "why \(String(repeating: "x", count: 1 << 16))\n"
    #expect(throws: Errno.invalid) { try say(line, fixture, by: Caller(threadID: 2, userID: 1000, groupID: 1000)) }
    #expect(try say(line, fixture).hasPrefix("why "))
  }

  @Test(arguments: ["create\tA\n", "set\t\t0061\t1\t\n", "delete-value\t\t0061\n"])
  func theWriteBitsAreAsked(line: String) throws {
    let fixture = try Fixture()
    try fixture.echo("x\n", to: "kept")
    #expect(try say(line, fixture, by: Caller(threadID: 2, userID: 1000, groupID: 1000)).hasPrefix("error 13 Permission denied"))
    #expect(try fixture.list() == ["kept"])
  }

  @Test func aLongLineComesInPieces() throws {
    let fixture = try Fixture()
    #expect(try say("set\t\t0061\t3\t\(String(repeating: "ab", count: 300_000))\n", fixture) == "ok\n")
    #expect(fixture.sets.withLock { $0 } == ["a=REG_BINARY:300000"])
    #expect(throws: Errno.invalid) { try say(String(repeating: "x", count: 3 << 20), fixture) }
  }

  /// Who has the value open: its pages are dropped, its size and type are the new ones.
  @Test func whoReadsIsToldOfASet() throws {
    let fixture = try Fixture()
    try fixture.echo("old\n", to: "v")
    let entry = try fixture.fs.lookUp("v", in: 1)
    let file = try fixture.fs.open(entry.nodeID, flags: readOnly, by: fixture.caller).file
    defer { fixture.fs.release(file) }
    #expect(try fixture.fs.read(file, offset: 0, size: 99, by: fixture.caller) == Array("old\n".utf8))
    #expect(try say("set\t\t0076\t4\t07000000\n", fixture) == "ok\n")
    #expect(fixture.pagesDropped.withLock { $0 } == [entry.nodeID])
    #expect(try fixture.fs.attributes(of: entry.nodeID).size == 2)
    #expect(try fixture.fs.read(file, offset: 0, size: 99, by: fixture.caller) == Array("7\n".utf8))
    #expect(try fixture.type(of: "v") == "REG_DWORD")
  }

  /// 5.13
  @Test func aRemovedValueIsReadOn() throws {
    let fixture = try Fixture()
    try fixture.echo("content\n", to: "v")
    let entry = try fixture.fs.lookUp("v", in: 1)
    let file = try fixture.fs.open(entry.nodeID, flags: readOnly, by: fixture.caller).file
    defer { fixture.fs.release(file) }
    fixture.denied.withLock { _ = $0.insert("v") }
    #expect(throws: Errno.accessDenied) { try fixture.fs.unlink("v", in: 1, by: fixture.caller) }
    fixture.denied.withLock { $0.removeAll() }
    try fixture.fs.unlink("v", in: 1, by: fixture.caller)
    #expect(try fixture.fs.attributes(of: entry.nodeID).links == 0)
    #expect(try fixture.fs.attributes(of: entry.nodeID).size == 8)
    #expect(try fixture.fs.read(file, offset: 0, size: 99, by: fixture.caller) == Array("content\n".utf8))
  }

  /// 5.13
  @Test func aValueThatIsWrittenOverIsReadOn() throws {
    let fixture = try Fixture()
    try fixture.echo("old\n", to: "v")
    try fixture.echo("new\n", to: "w")
    let file = try fixture.fs.open(try fixture.fs.lookUp("v", in: 1).nodeID, flags: readOnly, by: fixture.caller).file
    defer { fixture.fs.release(file) }
    _ = try fixture.fs.rename("w", in: 1, to: "v", in: 1, flags: 0, by: fixture.caller)
    #expect(try fixture.fs.read(file, offset: 0, size: 99, by: fixture.caller) == Array("old\n".utf8))
    #expect(try fixture.cat("v") == "new\n")
  }

  /// 2.11
  @Test func aNameOverTheLimitIsTooLong() throws {
    let fixture = try Fixture()
    #expect(throws: Errno.nameTooLong) { _ = try fixture.fs.lookUp(String(repeating: "n", count: 1025), in: 1) }
    #expect(throws: Errno.noEntry) { _ = try fixture.fs.lookUp(String(repeating: "n", count: 1024), in: 1) }
  }
}
