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
