import ConfigurationManager
import Executive
import Synchronization
import Testing

@testable import RegistryFileSystem

/// What the kernel holds of a value that nobody has open outlives its node.
@Suite struct RestingValueTests {
  /// Looks up so many other values that all those which are not open rest.
  private func restAll(_ fixture: Fixture) throws {
    let directory =
      try (try? fixture.fs.lookUp("others", in: 1)) ?? fixture.fs.makeDirectory("others", in: 1, by: fixture.caller)
    let key = try #require(
      try fixture.registry.lookUp("others", in: fixture.registry.root, among: .keys) { object -> KeyControlBlock? in
        if case .key(let key, _) = object { key } else { nil }
      })
    defer { fixture.registry.close(key) }
    for number in 0..<1100 {
      try fixture.registry.setValue(
        of: key, named: UnicodeName("\(number)"), to: RegistryValue(type: .sz, data: []), by: fixture.caller)
      _ = try fixture.fs.lookUp("\(number)", in: directory.nodeID)
    }
  }

  @Test func aRestedValueIsReadAndSetByItsNumber() throws {
    let fixture = try Fixture()
    let directory = try fixture.fs.makeDirectory("k", in: 1, by: fixture.caller).nodeID
    try fixture.echo("one\n", to: "Name", in: directory)
    let entry = try fixture.fs.lookUp("name", in: directory)
    try restAll(fixture)
    _ = try fixture.fs.rename("k", in: 1, to: "moved", in: 1, flags: 0, by: fixture.caller)
    #expect(try fixture.fs.attributes(of: entry.nodeID).size == 4)
    #expect(try fixture.fs.getAttribute("user.reg.name", of: entry.nodeID, by: fixture.caller) == Array("Name".utf8))
    let file = try fixture.fs.open(entry.nodeID, flags: readWrite | truncate, by: fixture.caller).file
    try Array("three\n".utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.caller) }
    _ = try fixture.fs.flush(file, by: fixture.caller)
    fixture.fs.release(file)
    #expect(try fixture.cat("NAME", in: directory) == "three\n")
    let again = try fixture.fs.lookUp("Name", in: directory)
    #expect(again.nodeID == entry.nodeID && again.generation == entry.generation)
  }

  /// A request has it in its hands meanwhile: a second node of the same value would not know what the first is told.
  @Test func aValueThatARequestHoldsKeepsItsNode() throws {
    let fixture = try Fixture()
    try fixture.echo("x\n", to: "held")
    let id = try fixture.fs.lookUp("held", in: 1).nodeID
    let held = try #require(fixture.fs.inodes.node(id))
    try restAll(fixture)
    #expect(fixture.fs.inodes.node(id) === held)
  }

  @Test func theKernelsPagesAreAsGoodAsBefore() throws {
    let fixture = try Fixture()
    try fixture.echo("a\n", to: "filled")
    try fixture.echo("b\n", to: "stale")
    let filled = try fixture.fs.lookUp("filled", in: 1).nodeID
    let stale = try fixture.fs.lookUp("stale", in: 1).nodeID
    for node in [filled, stale] { fixture.fs.release(try fixture.fs.open(node, flags: readOnly, by: fixture.caller).file) }
    try fixture.echo("other\n", to: "stale")
    try restAll(fixture)
    for (node, keeps) in [(filled, true), (stale, false)] {
      let opened = try fixture.fs.open(node, flags: readOnly, by: fixture.caller)
      #expect(opened.keepsCache == keeps)
      fixture.fs.release(opened.file)
    }
  }

  @Test func aValueMadeWithoutATypeStillTakesTheOtherOnes() throws {
    let fixture = try Fixture()
    try fixture.echo("1\n", to: "n%dword")
    try fixture.echo("7\n", to: "tmp")
    try restAll(fixture)
    _ = try fixture.fs.rename("tmp", in: 1, to: "n", in: 1, flags: 0, by: fixture.caller)
    #expect(try fixture.type(of: "n") == "REG_DWORD")
  }

  @Test func attributesAreDroppedWithTheKeysTimeEachTimeTheyWereTold() throws {
    let fixture = try Fixture()
    try fixture.echo("x\n", to: "a")
    let node = try fixture.fs.lookUp("a", in: 1).nodeID
    // The directory that is made drops them once.
    try restAll(fixture)
    for _ in 0..<2 {
      #expect(try fixture.fs.attributes(of: node).isCacheable)
      try restAll(fixture)
      fixture.attributesDropped.withLock { $0 = [] }
      try fixture.echo("y\n", to: "b")
      #expect(fixture.attributesDropped.withLock { $0.contains(node) })
    }
  }

  @Test func theOtherViewOfADeletedValueIsGoneToo() throws {
    let fixture = try Fixture()
    try fixture.echo("x\n", to: "v")
    let raw = try fixture.fs.lookUp("v%raw", in: 1).nodeID
    try restAll(fixture)
    try fixture.fs.unlink("v", in: 1, by: fixture.caller)
    #expect(try fixture.fs.attributes(of: raw).links == 0)
    // Not the key's default value, whose name is empty.
    try fixture.echo("default\n", to: "@")
    #expect(throws: Errno.noEntry) { try fixture.fs.open(raw, flags: readOnly, by: fixture.caller) }
    #expect(throws: Errno.noEntry) { try fixture.fs.getAttribute("user.reg.type", of: raw, by: fixture.caller) }
    #expect(throws: Errno.noEntry) { try fixture.fs.listAttributes(of: raw) }
  }

  @Test func aForgottenValueLeavesItsPlaceAndGivesItsKeyBack() throws {
    let fixture = try Fixture()
    let directory = try fixture.fs.makeDirectory("k", in: 1, by: fixture.caller).nodeID
    try fixture.echo("x\n", to: "v", in: directory)
    try fixture.echo("y\n", to: "w", in: directory)
    let value = try fixture.fs.lookUp("v", in: directory)
    let other = try fixture.fs.lookUp("w", in: directory).nodeID
    try restAll(fixture)
    let key = try id(of: "k", fixture)
    for node in [value.nodeID, other] {
      // echo's and this test's.
      fixture.fs.forget(node, count: 2)
      #expect(throws: Errno.noEntry) { try fixture.fs.attributes(of: node) }
    }
    // Takes the place of the last one, whose number must not lead there any more.
    let view = try fixture.fs.lookUp("v%raw", in: directory).nodeID
    #expect(view == other)
    let again = try fixture.fs.lookUp("w", in: directory).nodeID
    #expect(again != other)
    #expect(try id(of: "k", fixture) == key)
    for node in [view, again, directory] { fixture.fs.forget(node, count: 1) }
    #expect(try id(of: "k", fixture) != key)
  }

  /// The number of a key's control block, which a key that nobody holds any more does not get again.
  private func id(of name: UnicodeName, _ fixture: Fixture) throws -> UInt64? {
    try fixture.registry.lookUp(name, in: fixture.registry.root, among: .keys) { object -> UInt64? in
      guard case .key(let key, _) = object else { return nil }
      defer { fixture.registry.close(key) }
      return key.id
    }
  }
}
