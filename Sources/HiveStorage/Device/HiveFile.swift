internal import Glibc

/// A hive's files: the primary file, locked, and the logs beside it.
package struct HiveFile: Sendable {
  package let device: FileDevice
  /// Take our changes; nil for reading.
  package let logs: LogPair?
  /// Every other log that lies beside the hive.
  package let otherLogs: [FileDevice]
  package let access: Hive.Access

  /// Opens the hive at `path`, following symbolic links: the logs lie beside the file itself. Their names are found
  /// without regard to case. But for `.readWrite` nothing is made and nothing written.
  ///
  /// Our changes go to `.LOG1` and `.LOG2`, also for versions whose Windows had a `.LOG` only. Throws `locked`, `device`
  /// and `notAHive`.
  package init(path: String, access: Hive.Access) throws(HiveError) {
    self.access = access
    guard let resolved = realpath(path, nil) else { throw .device(operation: "open", name: path, errno: errno) }
    defer { Glibc.free(resolved) }
    let real = String(cString: resolved)
    device = try FileDevice(path: real, mode: access == .readWrite ? .writing : .reading)
    try device.lock(exclusive: access == .readWrite)
    let slash = real.lastIndex(of: "/") ?? real.startIndex
    let directory = real[..<slash].isEmpty ? "/" : String(real[..<slash])
    let base = String(real[real.index(after: slash)...])
    var found = try Self.logs(of: base, in: directory)
    guard access == .readWrite else {
      logs = nil
      var others: [FileDevice] = []
      for name in found.values.sorted() { others.append(try FileDevice(path: directory + "/" + name, mode: .reading)) }
      otherLogs = others
      return
    }
    var start = [UInt8](repeating: 0, count: BaseBlock.sectorSize)
    if try device.size() >= BaseBlock.size { try device.read(at: 0, into: &start) }
    guard BaseBlockSector(start)[BaseBlock.Field.signature] == BaseBlock.signatureRegf else {
      // `Hive` will say what is wrong; nothing is left beside a file that is no hive.
      logs = nil
      otherLogs = []
      return
    }
    var ours: [FileDevice] = []
    for suffix in [".log1", ".log2"] {
      let name = found.removeValue(forKey: suffix)
      ours.append(try FileDevice(path: directory + "/" + (name ?? base + suffix.uppercased()), mode: .creating))
      if name == nil { try Self.sync(directory: directory) }
    }
    logs = LogPair(ours[0], ours[1])
    var others: [FileDevice] = []
    for name in found.values.sorted() { others.append(try FileDevice(path: directory + "/" + name, mode: .writing)) }
    otherLogs = others
  }

  /// The names of the logs in `directory`, by their suffix in lower case.
  private static func logs(of base: String, in directory: String) throws(HiveError) -> [String: String] {
    guard let stream = opendir(directory) else { throw .device(operation: "open", name: directory, errno: errno) }
    defer { closedir(stream) }
    var found: [String: String] = [:]
    let wanted = base.lowercased()
    while let entry = readdir(stream) {
      // SAFETY: d_name holds a C string that lives until the next readdir of this stream.
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      let lower = name.lowercased()
      for suffix in [".log", ".log1", ".log2"] where lower == wanted + suffix {
        // Two that differ in case only: the one spelled as Windows does.
        if found[suffix] == nil || name.hasSuffix(suffix.uppercased()) { found[suffix] = name }
      }
    }
    return found
  }

  /// Makes the name of the new file at `path` survive power loss.
  package static func syncName(of path: String) throws(HiveError) {
    let slash = path.lastIndex(of: "/")
    try sync(directory: slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? ".")
  }

  private static func sync(directory: String) throws(HiveError) {
    let descriptor = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .device(operation: "open", name: directory, errno: errno) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw .device(operation: "sync", name: directory, errno: errno) }
  }
}

extension Hive {
  package init(_ file: HiveFile) throws(HiveError) {
    try self.init(device: file.device, access: file.access, logs: file.logs, otherLogs: file.otherLogs)
  }
}
