internal import Foundation
internal import HiveSamples
internal import HiveStorage

/// `make-hive-samples OUTDIR [SOURCEDIR]`: writes `OUTDIR/NAME.hiv` for each `SOURCEDIR/NAME.txt`, by default those of the
/// package that this program was built from.
///
/// `make-hive-samples --uniform KEYS VALUES LENGTH FILE`: writes a hive of that size for measuring, see `UniformHive`.
@main
struct MakeHiveSamples {
  static func main() {
    let arguments = CommandLine.arguments.dropFirst()
    if arguments.first == "--uniform" {
      writeUniform(Array(arguments.dropFirst()))
      return
    }
    guard (1...2).contains(arguments.count), let output = arguments.first else {
      fail(usage, status: 64)
    }
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let sources = arguments.count == 2 ? URL(filePath: arguments[2]) : root.appending(path: "hive-samples")
    do {
      try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: true)
      let files = try FileManager.default.contentsOfDirectory(at: sources, includingPropertiesForKeys: nil)
      let texts = files.filter { $0.pathExtension == "txt" }.sorted { $0.path < $1.path }
      guard !texts.isEmpty else { fail("no sample in \(sources.path)", status: 66) }
      for text in texts {
        let name = text.deletingPathExtension().lastPathComponent
        let bytes = try hive(from: text)
        let file = URL(filePath: output).appending(path: name + ".hiv")
        try Data(bytes).write(to: file)
        print(file.path)
      }
    } catch {
      fail("\(error)", status: 1)
    }
  }

  private static let usage = """
    usage: make-hive-samples OUTDIR [SOURCEDIR]
           make-hive-samples --uniform KEYS VALUES LENGTH FILE
    """

  private static func writeUniform(_ arguments: [String]) {
    let sizes = arguments.prefix(3).compactMap { Int($0) }
    guard arguments.count == 4, sizes.count == 3, sizes.allSatisfy({ $0 >= 0 }) else { fail(usage, status: 64) }
    do {
      let hive = UniformHive(keys: sizes[0], values: sizes[1], length: sizes[2])
      try hive.write(to: FileDevice(path: arguments[3], mode: .new))
    } catch {
      fail("\(error)", status: 1)
    }
  }

  private static func hive(from file: URL) throws -> [UInt8] {
    do {
      let sample = try HiveSample(parsing: String(contentsOf: file, encoding: .utf8))
      let device = MemoryDevice(name: file.path)
      try sample.write(to: device)
      return device.bytes
    } catch let error as HiveSample.SyntaxError {
      fail("\(file.path):\(error.line): \(error.problem)", status: 65)
    }
  }

  private static func fail(_ message: String, status: Int32) -> Never {
    FileHandle.standardError.write(Data("make-hive-samples: \(message)\n".utf8))
    exit(status)
  }
}
