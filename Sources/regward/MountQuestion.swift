internal import Glibc

/// One line to a mount's `/%ctl/cmd`, and its answer.
enum MountQuestion {
  /// The mount point that `path` lies below, and the rest of the path.
  static func place(of path: String) throws(MountFailure) -> (mountPoint: String, rest: String) {
    let absolute = FilePath.resolveExisting(path)
    guard let mountPoint = MountTable.mount(of: absolute, among: MountTable.read()) else {
      throw MountFailure("\(path) lies on no regward mount", status: MountFailure.systemStatus)
    }
    return (mountPoint, String(absolute.dropFirst(mountPoint.count).drop { $0 == "/" }))
  }

  /// Neither tabs nor line feeds can be asked about: they part the fields and end the question.
  static func ask(_ mountPoint: String, _ fields: [String]) throws(MountFailure) -> String {
    guard !fields.contains(where: { $0.utf8.contains(0x0A) || $0.utf8.contains(0x09) }) else {
      throw MountFailure("a name with a line feed or a tab cannot be asked about", status: MountFailure.systemStatus)
    }
    let descriptor = open(mountPoint + "/%ctl/cmd", O_RDWR | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system("cannot ask \(mountPoint)", errno) }
    defer { close(descriptor) }
    let line = fields.joined(separator: "\t") + "\n"
    guard Console.write(Array(line.utf8), to: descriptor), let answer = FileText.read(descriptor) else {
      throw .system("cannot ask \(mountPoint)", errno)
    }
    let text = String(decoding: answer, as: UTF8.self)
    // `error`, the errno's number, and what is wrong.
    guard text.hasPrefix("error ") else { return text }
    let words = text.split(separator: " ", maxSplits: 2).last ?? ""
    throw MountFailure(String(words.prefix { $0 != "\n" }), status: MountFailure.systemStatus)
  }
}
