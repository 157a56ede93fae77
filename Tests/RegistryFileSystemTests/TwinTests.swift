import ConfigurationManager
import Executive
import HiveStorage
import Testing

@testable import RegistryFileSystem

/// SEMANTICS 2.7: values of a damaged hive that have one name.
@Suite struct TwinTests {
  /// The root has two values `v1`, and a key `V1` when the values are to be hidden by it.
  private func fixture(isHidden: Bool) throws -> Fixture {
    let device = MemoryDevice()
    try Hive.format(device: device, minorVersion: 5)
    var hive = try Hive(device: device, access: .readWrite, logs: LogPair(MemoryDevice(), MemoryDevice()))
    func set(_ name: UnicodeName, _ text: String) throws -> CellIndex {
      try hive.setValue(of: hive.rootKey, named: name.units.span, type: .binary, data: Array(text.utf8), time: .now())
    }
    _ = try set("v1", "first")
    let second = try set("v2", "second")
    if isHidden { _ = try hive.createKey(under: hive.rootKey, named: ("V1" as UnicodeName).units.span, time: .now()) }
    try hive.commit()
    var bytes = device.bytes
    // The name of a value begins 20 bytes behind the size of its cell.
    bytes[second.fileOffset + 4 + 20 + 1] = 0x31
    return try Fixture(MemoryDevice(bytes))
  }

  @Test(arguments: [false, true]) func theSecondIsReadAndRemovedAndNotWritten(isHidden: Bool) throws {
    let fixture = try fixture(isHidden: isHidden)
    let suffix = isHidden ? "%val" : ""
    let second = "v1\(suffix)%dup2"
    #expect(try fixture.list() == (isHidden ? ["V1"] : []) + ["v1\(suffix)", second])
    #expect(try fixture.cat(second) == "second")
    let node = try fixture.fs.lookUp(second, in: 1).nodeID
    #expect(throws: Errno.unclean) { try fixture.put([1], to: second) }
    #expect(throws: Errno.unclean) { try fixture.setAttribute("user.reg.type", Array("REG_SZ".utf8), of: node) }
    #expect(throws: Errno.unclean) { try fixture.setAttribute("user.reg.data", [1], of: node) }
    try fixture.echo("x\n", to: "other")
    for (from, to, errno) in [(second, "new", .unclean), ("other", second, .invalid)] as [(String, String, Errno)] {
      #expect(throws: errno) { _ = try fixture.fs.rename(from, in: 1, to: to, in: 1, flags: 0, by: fixture.caller) }
    }
    #expect(try fixture.cat("v1\(suffix)") == "first" && fixture.cat(second) == "second" && fixture.cat("other") == "x\n")
    try fixture.fs.unlink(second, in: 1, by: fixture.caller)
    #expect(try fixture.cat("v1\(suffix)") == "first")
    #expect(try fixture.list() == (isHidden ? ["V1"] : []) + ["other", "v1\(suffix)"])
  }
}
