import Foundation
import HiveStorage

/// The sample hives beside the project, when they are there.
enum SharedHives {
  private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().appending(path: "shared/hives")

  static var isThere: Bool { FileManager.default.fileExists(atPath: folder.path) }

  /// Paths of everything that may be a hive, packed or not, sorted; logs and texts are none.
  static let paths: [String] = {
    let all = FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? []
    return all.filter { path in
      let name = path.split(separator: "/").last.map(String.init) ?? ""
      let plain = name.hasSuffix(".xz") ? String(name.dropLast(3)) : name
      var isFolder: ObjCBool = false
      _ = FileManager.default.fileExists(atPath: folder.appending(path: path).path, isDirectory: &isFolder)
      return !isFolder.boolValue && !path.hasPrefix("GOLDEN/")
        && ![".md", ".txt", ".tsv", ".LOG", ".LOG1", ".LOG2", ".dump"].contains { plain.uppercased().hasSuffix($0.uppercased()) }
    }.sorted()
  }()

  /// The hive as it lies in the file, also one that is dirty or damaged; nil for a file that is no hive.
  static func hive(_ path: String) throws -> Hive? {
    let file = folder.appending(path: path)
    let bytes = path.hasSuffix(".xz") ? try unpacked(file) : [UInt8](try Data(contentsOf: file))
    do { return try Hive(device: MemoryDevice(name: path, bytes), access: .inspection) } catch { return nil }
  }

  private static func unpacked(_ file: URL) throws -> [UInt8] {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["xz", "-dc", file.path]
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return [UInt8](output)
  }
}
