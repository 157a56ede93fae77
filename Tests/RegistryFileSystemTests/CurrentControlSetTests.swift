import ConfigurationManager
import Executive
import HiveStorage
import RegistryFileSystem
import Testing

/// SEMANTICS 1.10.
@Suite struct CurrentControlSetTests {
  private let fixture: Fixture
  private var fs: RegistryFileSystem { fixture.fs }

  init() throws {
    fixture = try Fixture()
    for name in ["ControlSet001", "ControlSet002", "Select"] {
      _ = try fixture.fs.makeDirectory(name, in: 1, by: fixture.caller)
    }
    try select("1")
  }

  private func select(_ number: String, type: String = "dword") throws {
    let select = try fs.lookUp("Select", in: 1).nodeID
    try fixture.echo(number + "\n", to: "Current%" + type, in: select)
  }

  private func target() throws -> String {
    let link = try fs.lookUp("currentCONTROLset", in: 1)
    return String(decoding: try fs.target(of: link.nodeID).dropLast(), as: UTF8.self)
  }

  @Test func itIsAListedLinkToTheSelectedControlSetAndFollowsAtOnce() throws {
    #expect(try fixture.list().sorted() == ["ControlSet001", "ControlSet002", "CurrentControlSet", "Select"])
    let entry = try fs.lookUp("CurrentControlSet", in: 1)
    #expect(entry.attributes.kind == .link && entry.attributes.size == 13)
    // Neither name nor attributes stay with the kernel: a value elsewhere changes them.
    #expect(!entry.isExactSpelling && !entry.attributes.isCacheable)
    #expect(try target() == "ControlSet001")
    try select("1000")
    #expect(try fs.target(of: entry.nodeID) == Array("ControlSet1000".utf8) + [0])
    #expect(try fs.attributes(of: entry.nodeID).size == 14)
    #expect(try fs.lookUp("CurrentControlSet", in: 1).nodeID == entry.nodeID)
  }

  @Test func withoutASelectionThereIsNone() throws {
    let node = try fs.lookUp("CurrentControlSet", in: 1).nodeID
    try fs.unlink("Current", in: fs.lookUp("Select", in: 1).nodeID, by: fixture.caller)
    #expect(throws: Errno.noEntry) { _ = try fs.lookUp("CurrentControlSet", in: 1) }
    #expect(throws: Errno.noEntry) { _ = try fs.target(of: node) }
    #expect(try !fixture.list().contains("CurrentControlSet"))
    try select("1", type: "sz")
    #expect(throws: Errno.noEntry) { _ = try fs.lookUp("CurrentControlSet", in: 1) }
  }

  @Test func onlyTheRootOfAHiveHasOne() throws {
    let inner = try fs.makeDirectory("Inner", in: 1, by: fixture.caller).nodeID
    let select = try fs.makeDirectory("Select", in: inner, by: fixture.caller).nodeID
    try fixture.echo("1\n", to: "Current%dword", in: select)
    #expect(throws: Errno.noEntry) { _ = try fs.lookUp("CurrentControlSet", in: inner) }
  }

  @Test func aKeyOfThatNameComesBeforeIt() throws {
    // As a restored hive may have it: through the mount nobody makes one.
    try fixture.registry.createKey(named: "CurrentControlSet", in: fixture.registry.root, by: fixture.caller) { key, _ in
      fixture.registry.close(key)
    }
    #expect(try fs.lookUp("CurrentControlSet", in: 1).attributes.kind == .directory)
    #expect(try fixture.list().filter { $0 == "CurrentControlSet" }.count == 1)
  }

  @Test func itHidesAValueOfItsNameAsAKeyDoes() throws {
    try fixture.echo("text\n", to: "CurrentControlSet%val")
    #expect(try fs.lookUp("CurrentControlSet", in: 1).attributes.kind == .link)
    #expect(try fixture.list().contains("CurrentControlSet%val"))
    #expect(try fixture.cat("CurrentControlSet%val") == "text\n")
  }

  @Test func itIsNeitherRemovedNorRenamedNorMadeOver() throws {
    let caller = fixture.caller
    try fixture.echo("text\n", to: "v")
    #expect(throws: Errno.notPermitted) { try fs.unlink("CurrentControlSet", in: 1, by: caller) }
    #expect(throws: Errno.notDirectory) { try fs.removeDirectory("CurrentControlSet", in: 1, by: caller) }
    #expect(throws: Errno.exists) { _ = try fs.makeDirectory("currentcontrolset", in: 1, by: caller) }
    #expect(throws: Errno.notPermitted) { _ = try fs.rename("CurrentControlSet", in: 1, to: "x", in: 1, flags: 0, by: caller) }
    #expect(throws: Errno.notPermitted) { _ = try fs.rename("v", in: 1, to: "CurrentControlSet", in: 1, flags: 0, by: caller) }
    #expect(throws: Errno.notPermitted) {
      _ = try fs.rename("ControlSet002", in: 1, to: "CurrentControlSet", in: 1, flags: 0, by: caller)
    }
    for line in ["rename\tControlSet002\tCurrentControlSet", "link\tCurrentControlSet\t\\REGISTRY\\MACHINE\\TEST\\Select"] {
      #expect(try fixture.say(line).hasPrefix(#"error 17 CurrentControlSet is there already"#), "\(line)")
    }
    #expect(try target() == "ControlSet001")
  }

  @Test func ccsOffLeavesItOut() throws {
    let plain = RegistryFileSystem(
      registry: fixture.registry,
      presentation: Presentation(userID: 0, groupID: 0, umask: 0, isReadOnly: false, showsCurrentControlSet: false),
      largestText: 1 << 20, handler: fixture)
    #expect(throws: Errno.noEntry) { _ = try plain.lookUp("CurrentControlSet", in: 1) }
    let stream = try plain.openDirectory(1, by: fixture.caller)
    try plain.fill(stream, of: 1, by: fixture.caller)
    #expect(stream.count == 5)
  }
}
