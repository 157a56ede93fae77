internal import Glibc

/// One mounted file system, as the kernel lists it.
struct MountEntry: Hashable {
  let mountPoint: String
  let type: String
}

/// The mounts that this process sees.
enum MountTable {
  static func read() -> [MountEntry] { parse(FileText.read("/proc/self/mounts") ?? []) }

  /// The lines of `/proc/self/mounts`, in their order: device, mount point, type, … parted by blanks.
  static func parse(_ text: [UInt8]) -> [MountEntry] {
    text.split(separator: 0x0A).compactMap { line in
      let fields = line.split(separator: 0x20)
      guard fields.count >= 3 else { return nil }
      return MountEntry(
        mountPoint: String(decoding: unescape(fields[1]), as: UTF8.self),
        type: String(decoding: fields[2], as: UTF8.self))
    }
  }

  static let type = "fuse.regward"

  /// The regward mount that `path`, absolute and without links, lies on; nil when the innermost mount is another's.
  static func mount(of path: String, among entries: [MountEntry]) -> String? {
    var best: MountEntry?
    for entry in entries where isInside(path, entry.mountPoint) {
      // The later of two at one place lies on top.
      if let best, best.mountPoint.utf8.count > entry.mountPoint.utf8.count { continue }
      best = entry
    }
    return best?.type == type ? best?.mountPoint : nil
  }

  static func isInside(_ path: String, _ folder: String) -> Bool {
    folder == "/" || path == folder || path.hasPrefix(folder + "/")
  }

  /// `\040` and the like, three octal digits.
  private static func unescape(_ field: ArraySlice<UInt8>) -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = field
    while let byte = rest.popFirst() {
      let digits = rest.prefix(3)
      if byte == 0x5C, digits.count == 3, digits.allSatisfy({ (0x30...0x37).contains($0) }) {
        bytes.append(digits.reduce(0) { $0 &* 8 &+ ($1 - 0x30) })
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return bytes
  }
}

/// Whole small files.
enum FileText {
  /// Nil when it cannot be read.
  static func read(_ path: String) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    return read(descriptor)
  }

  static func read(_ descriptor: Int32) -> [UInt8]? {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 16384)
    while true {
      let count = Glibc.read(descriptor, &chunk, chunk.count)
      if count == 0 { return bytes }
      if count > 0 {
        bytes.append(contentsOf: chunk.prefix(count))
      } else if errno != EINTR {
        return nil
      }
    }
  }
}
