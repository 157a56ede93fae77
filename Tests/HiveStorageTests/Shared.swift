import Foundation
import Testing

/// The sample hives and the reference reader beside the project, when they are there.
enum Shared {
  static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().appending(path: "shared")

  static var isThere: Bool { FileManager.default.fileExists(atPath: folder.appending(path: "tools/golden.py").path) }

  /// The bytes of a sample that is not packed.
  static func hive(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: folder.appending(path: "hives").appending(path: name)))
  }

  /// What the command prints, and its exit status.
  static func run(_ command: String, _ arguments: [String]) throws -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = [command] + arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
  }
}

/// The reference reader's strict check of a hive we wrote; nothing where the reader is absent.
func check(_ bytes: [UInt8], name: String) throws {
  guard Shared.isThere else { return }
  let path = FileManager.default.temporaryDirectory.appending(path: "regward-\(UUID().uuidString)-\(name)")
  try Data(bytes).write(to: path)
  defer { try? FileManager.default.removeItem(at: path) }
  let tool = Shared.folder.appending(path: "tools/golden.py").path
  let (status, output) = try Shared.run("python3", [tool, "check", path.path])
  #expect(status == 0, "\(output.prefix(2000))")
}
