import ConfigurationManager
import Executive
import Synchronization
import Testing

@testable import RegistryFileSystem

/// How long the kernel may keep what a directory lists; SEMANTICS 8.5.
@Suite struct ListingCacheTests {
  private func caching(_ node: UInt64, _ fixture: Fixture) throws -> ListingCache {
    let stream = try fixture.fs.openDirectory(node, by: fixture.caller)
    fixture.fs.closeDirectory(stream, by: fixture.caller)
    return stream.caching
  }

  /// A key `k` whose listing the kernel has.
  private func prepared(_ fixture: Fixture) throws -> UInt64 {
    let node = try fixture.fs.makeDirectory("k", in: 1, by: fixture.caller).nodeID
    #expect(try caching(node, fixture) == .new)
    #expect(try caching(node, fixture) == .kept)
    return node
  }

  @Test func theRootsListingIsNotKept() throws {
    // It follows `Select\\Current`, which is no change of the root.
    let fixture = try Fixture()
    #expect(try caching(1, fixture) == .none)
    #expect(try caching(1, fixture) == .none)
  }

  @Test func namesWithTypesAreNotKept() throws {
    let fixture = try Fixture(listsTypes: true)
    let node = try fixture.fs.makeDirectory("k", in: 1, by: fixture.caller).nodeID
    #expect(try caching(node, fixture) == .none)
  }

  @Test(arguments: ["create\tk/new", "set\tk\t0076\t1\t", "rename\tk\tK2", "link\tk/l\t\\REGISTRY\\MACHINE\\X", "restore"])
  func whatTheKernelDoesNotSeeIsReadAnew(change: String) throws {
    let fixture = try Fixture()
    let node = try prepared(fixture)
    fixture.attributesDropped.withLock { $0.removeAll() }
    _ = try fixture.fs.attributes(of: node)
    if change == "restore" {
      try fixture.fs.restore(try fixture.fs.key(of: node), by: fixture.caller) { () throws(NTStatus) in }
    } else {
      #expect(try fixture.say(change) == "ok\n")
    }
    // A value that is set is told by the key's time.
    if change.hasPrefix("set") {
      #expect(fixture.attributesDropped.withLock { $0.contains(node) })
      return
    }
    #expect(try caching(node, fixture) == .new)
    #expect(try caching(node, fixture) == .kept)
  }

  /// It may be that which the key had when the kernel read it.
  @Test func aTimeThatIsGivenSaysNothing() throws {
    let fixture = try Fixture()
    let node = try prepared(fixture)
    let time = try fixture.fs.attributes(of: node).modified
    _ = try fixture.fs.setAttributes(of: node, file: nil, size: nil, modified: time, by: fixture.caller)
    #expect(try caching(node, fixture) == .new)
  }

  /// The name of a value that could not be set goes without a change of the key.
  @Test func aValueThatCameToNothingIsReadAnew() throws {
    let fixture = try Fixture()
    let node = try prepared(fixture)
    let file = try fixture.fs.create("v", in: node, flags: writeOnly, by: fixture.caller).file
    #expect(try caching(node, fixture) == .kept, "the kernel knows of what it makes")
    fixture.denied.withLock { _ = $0.insert("v") }
    #expect(throws: Errno.self) {
      try Array("x".utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.caller) }
    }
    fixture.fs.release(file)
    #expect(try caching(node, fixture) == .new)
  }

  /// SEMANTICS 8.3: a change is not answered while another thread is telling the kernel what both have changed.
  @Test func nobodyGoesOnBeforeTheKernelIsTold() throws {
    let fixture = try Fixture()
    let node = try fixture.fs.makeDirectory("k", in: 1, by: fixture.caller).nodeID
    try fixture.echo("x\n", to: "v", in: node)
    _ = try fixture.fs.lookUp("v", in: node)
    _ = try fixture.fs.attributes(of: node)
    let directory = try #require(fixture.fs.inodes.node(node))
    let held = Mutex<[Bool]>([])
    fixture.whileDropping.withLock { hook in
      hook = { held.withLock { $0.append(directory.telling.withLockIfAvailable { _ in } == nil) } }
    }
    fixture.fs.dropTimes(of: try fixture.fs.key(of: node))
    // Of the key, and of the value.
    #expect(held.withLock { $0 } == [true, true])
    #expect(directory.telling.withLockIfAvailable { _ in } != nil)
  }

  /// The kernel may have the beginning from another one, and asks for the rest alone, also when what came before is deleted meanwhile.
  @Test func anOpenDirectoryHasItsListingFromTheStart() throws {
    let fixture = try Fixture()
    let node = try prepared(fixture)
    for name in ["a", "b", "c"] { try fixture.echo("x\n", to: name, in: node) }
    let stream = try fixture.fs.openDirectory(node, by: fixture.caller)
    try fixture.fs.unlink("a", in: node, by: fixture.caller)
    #expect(stream.isFilled && stream.count == 5)
    #expect(stream.withEntry(at: 3) { String(cString: $1) } == "b")
  }

  /// What one stream began, another goes on with where both list the same, and nowhere else: never is a listing of two trees.
  @Test func anOffsetIsOneOfAListing() throws {
    let fixture = try Fixture()
    let node = try prepared(fixture)
    for name in ["a", "b"] { try fixture.echo("x\n", to: name, in: node) }
    let first = try fixture.fs.openDirectory(node, by: fixture.caller)
    let second = try fixture.fs.openDirectory(node, by: fixture.caller)
    #expect(try second.position(ofOffset: first.offset(ofPosition: 3)) == 3)
    try fixture.fs.unlink("a", in: node, by: fixture.caller)
    try fixture.echo("x\n", to: "a", in: node)
    let third = try fixture.fs.openDirectory(node, by: fixture.caller)
    #expect(throws: Errno.stale) { try third.position(ofOffset: first.offset(ofPosition: 3)) }
    #expect(try third.position(ofOffset: 0) == 0 && first.offset(ofPosition: 1) > 0)
  }
}
