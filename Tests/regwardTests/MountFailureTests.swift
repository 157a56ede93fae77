import HiveStorage
import Testing

@testable import regward

/// What is said of a hive that cannot be mounted.
@Suite struct MountFailureTests {
  @Test func aDirtyHiveWithoutLogsHasWaysOut() {
    let failure = MountFailure(.dirty(problem: "no log lies beside it"), hive: "/a/hive")
    #expect(failure.message.hasPrefix("/a/hive: ") && failure.message.contains("no log lies beside it"))
    for way in ["-o ro,force", "regward check --repair"] { #expect(failure.message.contains(way)) }
    #expect(failure.status == MountFailure.mountStatus)
  }

  @Test func aBusyHiveNamesItsProcess() {
    #expect(MountFailure(.locked(pid: 7), hive: "h").message == "h is busy: process 7 has it mounted")
    #expect(MountFailure(.locked(pid: 0), hive: "h").message == "h is in use by another process")
  }
}
