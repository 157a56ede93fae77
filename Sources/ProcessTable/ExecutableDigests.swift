internal import Executive
internal import Glibc
internal import Synchronization

/// SHA-256 of executables, remembered by device, inode, change time and size.
package final class ExecutableDigests: Sendable {
  /// In bytes; larger files have no digest here.
  static let sizeLimit: Int64 = 256 << 20
  /// Of files remembered.
  static let capacity = 256

  private struct Key: Hashable {
    let device: UInt64
    let inode: UInt64
    let changeTime: Int64
    let size: Int64
  }

  private struct Known {
    var digests: [Key: String] = [:]
    /// In the order in which they came; the first goes first.
    var order: [Key] = []
  }

  private let known = Mutex(Known())

  package init() {}

  func digest(of file: ExecutableFile, _ directory: TaskDirectory) -> String? {
    let key = Key(device: file.device, inode: file.inode, changeTime: file.changeTime, size: file.size)
    if let digest = known.withLock({ $0.digests[key] }) { return digest }
    guard file.size <= Self.sizeLimit, !directory.executableIsOnUserspaceFileSystem(),
      let digest = directory.digest("exe"),
      // What was read is what the key says, not a version in between.
      let after = directory.executable(), after.isUnchanged(file)
    else { return nil }
    known.withLock { known in
      guard known.digests.updateValue(digest, forKey: key) == nil else { return }
      known.order.append(key)
      if known.order.count > Self.capacity { known.digests[known.order.removeFirst()] = nil }
    }
    return digest
  }
}

/// Which file system a file lies on, found out without asking that file system.
enum FileSystems {
  /// A FUSE file system: perhaps this very mount, perhaps one that never answers. Also when it cannot be told.
  ///
  /// By the number of the mount, not of the device: files of btrfs have devices that no mount has. `viewer` is a process that has
  /// the mount in its namespace.
  static func isUserspace(_ descriptor: Int32, viewer: TaskDirectory?) -> Bool {
    guard let information = TaskDirectory.open(getpid())?.text("fdinfo/\(descriptor)"),
      let mount = TaskStatus(information).number("mnt_id"), let mounts = viewer?.text("mountinfo", limit: 1 << 22)
    else { return true }
    let prefix = "\(mount) "
    guard let line = mounts.split(separator: "\n").first(where: { $0.hasPrefix(prefix) }) else { return true }
    let fields = line.split(separator: " ")
    guard let dash = fields.firstIndex(of: "-"), dash + 1 < fields.count else { return true }
    return fields[dash + 1].hasPrefix("fuse")
  }
}

/// Walks a path without ever asking a FUSE file system: one component at a time, looking at the device before going on.
enum TrustedFile {
  private static let pathOnly: Int32 = 0o1000_0000
  private static let emptyPath: Int32 = 0x1000
  private static let doNotSynchronize: Int32 = 0x4000

  /// The path without symbolic links, `.` and `..`; nil unless it leads to a regular file of root's that neither group nor
  /// others may write, through folders in which nobody else can put another file in its place.
  static func resolve(_ path: String) -> String? {
    var descriptor = open("/", pathOnly | O_DIRECTORY | O_CLOEXEC)
    defer { close(descriptor) }
    var done: [Substring] = []
    var rest = Array(path.split(separator: "/").reversed())
    var links = 0
    var device: UInt64?
    var found = stat()
    let own = TaskDirectory.open(getpid())
    while let component = rest.popLast() {
      if component == "." { continue }
      if component == ".." { done = done.dropLast() }
      let next = openat(descriptor, String(component), pathOnly | O_NOFOLLOW | O_CLOEXEC)
      guard next >= 0 else { return nil }
      guard fstatat(next, "", &found, emptyPath | doNotSynchronize) == 0 else {
        close(next)
        return nil
      }
      if device != UInt64(found.st_dev) {
        device = UInt64(found.st_dev)
        if FileSystems.isUserspace(next, viewer: own) {
          close(next)
          return nil
        }
      }
      if found.st_mode & S_IFMT == S_IFLNK {
        links += 1
        let target = readLink(next)
        close(next)
        guard links <= 40, let target, !target.isEmpty else { return nil }
        rest += target.split(separator: "/").reversed()
        if target.hasPrefix("/") {
          close(descriptor)
          descriptor = open("/", pathOnly | O_DIRECTORY | O_CLOEXEC)
          device = nil
          done = []
        }
        continue
      }
      if found.st_mode & S_IFMT == S_IFDIR, !belongsToRoot(found) {
        close(next)
        return nil
      }
      if component != ".." { done.append(component) }
      close(descriptor)
      descriptor = next
    }
    guard fstatat(descriptor, "", &found, emptyPath | doNotSynchronize) == 0, found.st_mode & S_IFMT == S_IFREG,
      found.st_uid == 0, found.st_mode & 0o022 == 0
    else { return nil }
    return "/" + done.joined(separator: "/")
  }

  /// Who cannot write a folder cannot exchange what lies in it; with the sticky bit, only what is his.
  private static func belongsToRoot(_ folder: stat) -> Bool {
    folder.st_uid == 0 && (folder.st_mode & 0o022 == 0 || folder.st_mode & S_ISVTX != 0)
  }

  private static func readLink(_ descriptor: Int32) -> String? {
    var target = [UInt8](repeating: 0, count: 4097)
    let count = target.withUnsafeMutableBytes { bytes in
      bytes.withMemoryRebound(to: CChar.self) { characters in
        characters.baseAddress.map { readlinkat(descriptor, "", $0, characters.count) } ?? -1
      }
    }
    guard count > 0, count < target.count else { return nil }
    return String(decoding: target.prefix(count), as: UTF8.self)
  }
}
