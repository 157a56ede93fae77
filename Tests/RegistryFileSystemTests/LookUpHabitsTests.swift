import ConfigurationManager
import Testing

@testable import RegistryFileSystem

/// A listing carries look-ups for who asks about what he lists.
@Suite struct LookUpHabitsTests {
  @Test func whoHasAskedWillAskAgain() {
    let habits = LookUpHabits()
    #expect(!habits.expects(.file, by: 70, at: 5000))
    habits.note(.file, by: 70, at: 5000)
    #expect(habits.expects(.file, by: 70, at: 5000 + LookUpHabits.memory - 1))
    #expect(!habits.expects(.directory, by: 70, at: 5000), "asked about values, not about keys")
    #expect(!habits.expects(.file, by: 70 + 64, at: 5000), "another thread of the same place")
    #expect(!habits.expects(.file, by: 70, at: 5000 + LookUpHabits.memory), "long ago")
    // Milliseconds in 32 bits begin anew after 49 days.
    habits.note(.link, by: 70, at: .max - 10)
    #expect(habits.expects(.directory, by: 70, at: 10))
  }

  @Test func anUnknownThreadHasNoHabits() {
    let habits = LookUpHabits()
    #expect(!habits.expects(.file, by: 0, at: 100))
  }

  @Test func aLookUpOfTheKernelsIsAQuestionAndAListingsOwnIsNone() throws {
    let fixture = try Fixture()
    try fixture.echo("x\n", to: "v")
    _ = try fixture.fs.makeDirectory("k", in: 1, by: fixture.caller)
    _ = try fixture.fs.lookUp("v", in: 1)
    #expect(!fixture.fs.listsLookUps(of: .file, for: fixture.caller))
    _ = try fixture.fs.lookUp("v", in: 1, by: fixture.caller)
    #expect(fixture.fs.listsLookUps(of: .file, for: fixture.caller))
    #expect(!fixture.fs.listsLookUps(of: .directory, for: fixture.caller))
    _ = try fixture.fs.lookUp("k", in: 1, by: fixture.caller)
    #expect(fixture.fs.listsLookUps(of: .directory, for: fixture.caller))
  }
}

/// A listing's look-ups go by number as long as nothing has changed.
@Suite struct ListedLookUpTests {
  private func listed(_ fixture: Fixture, _ stream: DirectoryStream) -> [String: Entry] {
    var found: [String: Entry] = [:]
    for index in 2..<stream.count {
      let name = stream.withEntry(at: index) { String(cString: $1) } ?? ""
      found[name] = fixture.fs.lookUp(entryAt: index, of: stream, in: 1)
    }
    return found
  }

  private func prepared() throws -> Fixture {
    let fixture = try Fixture()
    for name in ["a", "b", "@", "k"] { try fixture.echo("text of \(name)\n", to: name == "k" ? "k%val" : name) }
    _ = try fixture.fs.makeDirectory("k", in: 1, by: fixture.caller)
    return fixture
  }

  @Test(arguments: [false, true])
  func theyAreWhatTheNamesLookUp(changed: Bool) throws {
    let fixture = try prepared()
    let stream = try fixture.fs.openDirectory(1, by: fixture.caller)
    try fixture.fs.fill(stream, of: 1, by: fixture.caller)
    if changed {
      // Another value in b's place, and a longer text.
      try fixture.fs.unlink("b", in: 1, by: fixture.caller)
      try fixture.echo("x\n", to: "c")
      try fixture.echo("a longer text of a\n", to: "a")
    }
    let found = listed(fixture, stream)
    #expect(Set(found.keys) == (changed ? ["a", "@", "k", "k%val"] : ["a", "b", "@", "k", "k%val"]))
    for (name, entry) in found {
      let asked = try fixture.fs.lookUp(name, in: 1)
      #expect(entry.nodeID == asked.nodeID && entry.generation == asked.generation, "\(name)")
      #expect(entry.attributes.size == asked.attributes.size && entry.attributes.inode == asked.attributes.inode, "\(name)")
      #expect(entry.attributes.kind == asked.attributes.kind && entry.isExactSpelling == asked.isExactSpelling, "\(name)")
    }
  }
}
