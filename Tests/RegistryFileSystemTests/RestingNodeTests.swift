@testable import ConfigurationManager
import Executive
import Foundation
import HiveStorage
import Synchronization
import Testing

@testable import RegistryFileSystem

/// What the kernel holds of a key or value that nobody uses outlives its node.
@Suite struct RestingNodeTests {
  /// Asks so many other values for their attributes, which gives each a node, that all nodes which are not in use rest.
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
      _ = try fixture.fs.attributes(of: fixture.fs.lookUp("\(number)", in: directory.nodeID).nodeID)
    }
  }

  /// Only what is done with it needs a node. Asked again it is told what it has become.
  @Test(arguments: ["v", "v%raw", "V"])
  func aValueThatIsOnlyLookedUpRestsFromTheBeginning(name: String) throws {
    let fixture = try Fixture()
    let root = fixture.registry.root
    func set(_ data: [UInt8]) throws {
      try fixture.registry.setValue(of: root, named: "v", to: RegistryValue(type: .dword, data: data), by: fixture.caller)
    }
    let isRaw = name.hasSuffix("raw")
    try set([7, 0, 0, 0])
    let first = try fixture.fs.lookUp(name, in: 1)
    #expect(first.attributes.size == (isRaw ? 4 : 2))
    #expect(first.attributes.isCacheable && first.isExactSpelling == (name == "v"))
    #expect(fixture.fs.inodes.rests(first.nodeID))
    let second = try fixture.fs.lookUp(name, in: 1)
    #expect(second.nodeID == first.nodeID && second.generation == first.generation)
    try set([232, 3, 0, 0])
    // What the kernel holds is dropped with the key's time, once.
    fixture.fs.dropTimes(of: root)
    #expect(fixture.attributesDropped.withLock { $0 }.contains(first.nodeID))
    #expect(fixture.fs.inodes.takeTold(in: 1) == [])
    let third = try fixture.fs.lookUp(name, in: 1)
    #expect(third.nodeID == first.nodeID && third.attributes.size == (isRaw ? 4 : 5))
    #expect(fixture.fs.inodes.takeTold(in: 1) == [first.nodeID])
    // A node, with what it would have had from the beginning.
    let attributes = try fixture.fs.attributes(of: first.nodeID)
    #expect(attributes.size == third.attributes.size && attributes.inode == third.attributes.inode)
    #expect(attributes.modified == third.attributes.modified && attributes.permissions == third.attributes.permissions)
    fixture.fs.forget(first.nodeID, count: 3)
    #expect(throws: Errno.noEntry) { try fixture.fs.attributes(of: first.nodeID) }
  }

  @Test("a value that was deleted is none to be told of, nor one that is open, nor one that is long")
  func whatNeedsItsNode() throws {
    let fixture = try Fixture()
    try fixture.echo("x\n", to: "v")
    let id = try fixture.fs.lookUp("v", in: 1).nodeID
    let file = try fixture.fs.open(id, flags: writeOnly, by: fixture.caller).file
    #expect(try fixture.fs.lookUp("v", in: 1).attributes.isCacheable == false)
    fixture.fs.release(file)
    try fixture.fs.unlink("v", in: 1, by: fixture.caller)
    #expect(throws: Errno.noEntry) { try fixture.fs.lookUp("v", in: 1) }
    try fixture.registry.setValue(
      of: fixture.registry.root, named: "long", to: RegistryValue(type: .binary, data: Array(repeating: 1, count: 20_000)), by: fixture.caller)
    let long = try fixture.fs.lookUp("long", in: 1)
    #expect(long.attributes.size == 20_000 && !fixture.fs.inodes.rests(long.nodeID))
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
    // The directory rests, and its values held its key.
    #expect(try id(of: "k", fixture) != key)
    // Takes the place of the last one, whose number must not lead there any more.
    let view = try fixture.fs.lookUp("v%raw", in: directory).nodeID
    #expect(view == other)
    let again = try fixture.fs.lookUp("w", in: directory).nodeID
    #expect(again != other)
    let held = try id(of: "k", fixture)
    #expect(try id(of: "k", fixture) == held)
    for node in [view, again, directory] { fixture.fs.forget(node, count: 1) }
    #expect(try id(of: "k", fixture) != held)
  }

  /// The ring of what was told loses the first, the last and one in the middle, and the rest is dropped with the key's time.
  @Test(arguments: [[0], [1], [2], [0, 2], [2, 1], [0, 1, 2]])
  func aForgottenValueIsNotTold(forgotten: [Int]) throws {
    let fixture = try Fixture()
    var nodes: [UInt64] = []
    for name in ["a", "b", "c"] {
      try fixture.registry.setValue(
        of: fixture.registry.root, named: UnicodeName(name), to: RegistryValue(type: .sz, data: []), by: fixture.caller)
      nodes.append(try fixture.fs.lookUp(name, in: 1).nodeID)
    }
    for index in forgotten { fixture.fs.forget(nodes[index], count: 1) }
    // In the place of one that is gone, and told of in the ring of another key.
    let directory = try fixture.fs.makeDirectory("k", in: 1, by: fixture.caller).nodeID
    #expect(fixture.fs.inodes.takeTold(in: 1) == [])
    let left = [0, 1, 2].filter { !forgotten.contains($0) }.map { nodes[$0] }
    #expect(fixture.attributesDropped.withLock { $0.intersection(nodes) } == Set(left))
    fixture.attributesDropped.withLock { $0 = [] }
    for node in left { _ = try fixture.fs.attributes(of: node) }
    fixture.fs.forget(directory, count: 1)
    #expect(Set(fixture.fs.inodes.takeTold(in: 1)) == Set(left))
  }

  /// Values that are open outlive their directory in the kernel; told again, they are dropped again.
  @Test func aForgottenDirectoryLeavesItsValuesToBeToldAgain() throws {
    let fixture = try Fixture()
    let directory = try fixture.fs.makeDirectory("k", in: 1, by: fixture.caller).nodeID
    try fixture.echo("x\n", to: "v", in: directory)
    let value = try fixture.fs.lookUp("v", in: directory).nodeID
    fixture.fs.forget(directory, count: 1)
    let again = try fixture.fs.lookUp("k", in: 1).nodeID
    #expect(fixture.fs.inodes.takeTold(in: again) == [])
    #expect(try fixture.fs.lookUp("v", in: again).nodeID == value)
    #expect(fixture.fs.inodes.takeTold(in: again) == [value])
  }

  // MARK: Keys

  @Test func aRestedKeyIsEnteredByItsNumber() throws {
    let fixture = try Fixture()
    let parent = try fixture.fs.makeDirectory("parent", in: 1, by: fixture.caller).nodeID
    let entry = try fixture.fs.makeDirectory("Child", in: parent, by: fixture.caller)
    let before = try id(of: "parent", fixture)
    try restAll(fixture)
    #expect(try id(of: "parent", fixture) != before, "it did not rest")
    // A longer name gets another cell.
    _ = try fixture.fs.rename(
      "parent", in: 1, to: "a name so long that it fits no cell of before", in: 1, flags: 0, by: fixture.caller)
    try restAll(fixture)
    try fixture.echo("x\n", to: "v", in: entry.nodeID)
    #expect(try fixture.cat("v", in: entry.nodeID) == "x\n")
    #expect(try fixture.list(entry.nodeID) == ["v"])
    #expect(try fixture.fs.getAttribute("user.reg.name", of: parent, by: fixture.caller).count == 45)
    let again = try fixture.fs.lookUp("child", in: parent)
    #expect(again.nodeID == entry.nodeID && again.generation == entry.generation)
    #expect(again.attributes.inode == entry.attributes.inode)
  }

  @Test func aKeyThatWasDeletedWhileItRestedIsGone() throws {
    let fixture = try Fixture()
    let node = try fixture.fs.makeDirectory("gone", in: 1, by: fixture.caller).nodeID
    try restAll(fixture)
    try fixture.registry.lookUp("gone", in: fixture.registry.root, among: .keys) { object in
      if case .key(let key, _) = object { key } else { nil as KeyControlBlock? }
    }.map { key in
      try fixture.registry.deleteKey(key, by: fixture.caller)
      fixture.registry.close(key)
    }
    // In the same cell.
    let other = try fixture.fs.makeDirectory("ersa", in: 1, by: fixture.caller).nodeID
    #expect(other != node)
    #expect(throws: Errno.noEntry) { try fixture.fs.attributes(of: node) }
    fixture.fs.forget(node, count: 1)
    #expect(try fixture.fs.attributes(of: other).kind == .directory)
  }

  /// Also where the directory of the restored key rests, which has no control block then.
  @Test func restoringOverAKeyThatRestsEndsTheKeysBelow() throws {
    let fixture = try Fixture()
    let above = try fixture.fs.makeDirectory("above", in: 1, by: fixture.caller).nodeID
    let over = try fixture.fs.makeDirectory("over", in: above, by: fixture.caller).nodeID
    let below = try fixture.fs.makeDirectory("below", in: over, by: fixture.caller).nodeID
    let deeper = try fixture.fs.makeDirectory("deeper", in: below, by: fixture.caller).nodeID
    try restAll(fixture)
    // As a view of /%ctl has it: by name, and not by the node.
    func key(_ name: UnicodeName, in parent: KeyControlBlock) throws -> KeyControlBlock {
      let found = try fixture.registry.lookUp(name, in: parent, among: .keys) { object -> KeyControlBlock? in
        if case .key(let key, _) = object { key } else { nil }
      }
      return try #require(found)
    }
    let parent = try key("above", in: fixture.registry.root)
    let restored = try key("over", in: parent)
    defer { for held in [restored, parent] { fixture.registry.close(held) } }
    fixture.fs.inodes.keysDeleted(below: restored, isIncluded: false)
    for node in [below, deeper] { #expect(throws: Errno.noEntry) { try fixture.fs.attributes(of: node) } }
    for node in [above, over] { #expect(try fixture.fs.attributes(of: node).kind == .directory) }
  }

  /// What Restore puts there may lie in the cells of what was there.
  @Test func restoringEndsTheKeysBelowAndNoOthers() throws {
    let fixture = try Fixture()
    let file = try hiveFile(keys: ["sub", "new"])
    defer { unlink(file) }
    let beside = try fixture.fs.makeDirectory("beside", in: 1, by: fixture.caller).nodeID
    let inBeside = try fixture.fs.makeDirectory("x", in: beside, by: fixture.caller).nodeID
    let top = try fixture.fs.makeDirectory("top", in: 1, by: fixture.caller).nodeID
    let sub = try fixture.fs.makeDirectory("sub", in: top, by: fixture.caller).nodeID
    let deep = try fixture.fs.makeDirectory("deep", in: sub, by: fixture.caller).nodeID
    try fixture.echo("x\n", to: "v", in: deep)
    let value = try fixture.fs.lookUp("v", in: deep).nodeID
    try restAll(fixture)
    try fixture.registry.lookUp("top", in: fixture.registry.root, among: .keys) { object in
      if case .key(let key, _) = object { key } else { nil as KeyControlBlock? }
    }.map { key in
      try fixture.registry.restoreKey(key, from: file, by: fixture.caller)
      fixture.registry.close(key)
    }
    // Some of them where the old ones lay.
    for number in 0..<20 { _ = try fixture.fs.makeDirectory("k\(number)", in: beside, by: fixture.caller) }
    for node in [sub, deep] { #expect(throws: Errno.noEntry) { try fixture.fs.attributes(of: node) } }
    #expect(try fixture.fs.attributes(of: value).links == 0)
    for node in [top, beside, inBeside] { #expect(try fixture.fs.attributes(of: node).kind == .directory) }
    #expect(try fixture.list(top) == ["new", "sub"])
    #expect(try fixture.fs.lookUp("sub", in: top).nodeID != sub)
  }

  @Test func aRestedKeysTimesAreDroppedWhenItChanges() throws {
    let fixture = try Fixture()
    let node = try fixture.fs.makeDirectory("k", in: 1, by: fixture.caller).nodeID
    try fixture.echo("x\n", to: "b", in: node)
    _ = try fixture.fs.attributes(of: node)
    try restAll(fixture)
    fixture.attributesDropped.withLock { $0 = [] }
    try fixture.echo("y\n", to: "b", in: node)
    #expect(fixture.attributesDropped.withLock { $0.contains(node) })
  }

  @Test func aKeyWhoseParentsLeadInACircleIsNotFoundByItsNumber() throws {
    let device = MemoryDevice(name: "memory", [])
    try Hive.format(device: device, minorVersion: 5)
    var hive = try Hive(device: device, access: .readWrite)
    let cell = try hive.createKey(under: hive.rootKey, named: UnicodeName("loop").units.span, className: nil, time: .now())
    try hive.commit()
    var bytes = device.bytes
    for index in 0..<4 {
      bytes[Int(cell.rawValue) + 4096 + 4 + 16 + index] = UInt8(truncatingIfNeeded: cell.rawValue >> UInt32(8 * index))
    }
    let fixture = try Fixture(MemoryDevice(name: "memory", bytes))
    #expect(throws: NTStatus.registryCorrupt) {
      try fixture.registry.withKey(ofHive: 0, numbered: { UInt64(cell.rawValue) }) { _ in Issue.record("found") }
    }
  }

  // MARK: Small things

  /// The path of a new hive with these keys.
  private func hiveFile(keys: [UnicodeName]) throws -> String {
    let path = "\(NSTemporaryDirectory())regward-\(UUID().uuidString).hiv"
    let device = try FileDevice(path: path, mode: .new)
    try Hive.format(device: device, minorVersion: 5)
    var hive = try Hive(device: device, access: .readWrite)
    for name in keys { _ = try hive.createKey(under: hive.rootKey, named: name.units.span, className: nil, time: .now()) }
    try hive.commit()
    return path
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
