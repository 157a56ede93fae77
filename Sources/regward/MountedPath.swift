internal import Glibc

/// A path on a mount of ours, and what its daemon answers about it.
struct MountedPath {
  let mountPoint: String
  /// Below the mount point, without a slash in front.
  let relative: String

  /// The path need not be there. Throws when it lies on no mount of ours.
  init(_ path: String) throws(MountFailure) {
    let absolute = FilePath.resolveExisting(path)
    guard let mountPoint = MountTable.mount(of: absolute, among: MountTable.read()) else {
      throw MountFailure("\(path) lies on no regward mount", status: MountFailure.systemStatus)
    }
    self.mountPoint = mountPoint
    relative = String(absolute.dropFirst(mountPoint.count).drop { $0 == "/" })
  }

  /// As it is named, not what a link there leads to: the parent resolved, the last component kept.
  init(itself path: String) throws(MountFailure) {
    let cut = path.lastIndex(of: "/")
    let last = cut.map { path[path.index(after: $0)...] } ?? path[...]
    let parent = cut.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    guard !last.isEmpty, last != ".", last != ".." else {
      self = try MountedPath(path)
      return
    }
    guard let folder = try? MountedPath(parent) else {
      // The mount point itself.
      self = try MountedPath(path)
      return
    }
    mountPoint = folder.mountPoint
    relative = folder.relative.isEmpty ? String(last) : folder.relative + "/" + last
  }

  /// Sends a verb and its arguments to the daemon, as this process: the kernel says who asks. Throws the daemon's refusal, with the
  /// exit status 1.
  func ask(_ verb: String, _ arguments: String...) throws(MountFailure) -> String {
    try ask(verb, arguments)
  }

  func ask(_ verb: String, _ arguments: [String]) throws(MountFailure) -> String {
    let line = ([verb] + arguments).joined(separator: "\t")
    guard !line.utf8.contains(0x0A), arguments.allSatisfy({ !$0.utf8.contains(0x09) }) else {
      throw MountFailure("a name with a tab or a line feed cannot be asked about", status: MountFailure.systemStatus)
    }
    let descriptor = open(mountPoint + "/%ctl/cmd", O_RDWR | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system("cannot ask \(mountPoint)", errno) }
    defer { close(descriptor) }
    guard Console.write(Array((line + "\n").utf8), to: descriptor), let answer = FileText.read(descriptor) else {
      throw .system("cannot ask \(mountPoint)", errno)
    }
    let text = String(decoding: answer, as: UTF8.self)
    guard text.hasPrefix("error ") else { return text }
    // `error 13 what is wrong`
    let parts = text.split(separator: " ", maxSplits: 2)
    let reason = parts.last.map { $0.hasSuffix("\n") ? $0.dropLast() : $0 } ?? ""
    throw MountFailure("\(relative.isEmpty ? mountPoint : relative): \(reason)", status: 1)
  }
}
