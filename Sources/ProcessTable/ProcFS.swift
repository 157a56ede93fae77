internal import Glibc

/// Constants that Swift's Glibc module does not show (O_PATH and AT_STATX_DONT_SYNC of asm-generic/fcntl.h and
/// linux/fcntl.h: the same on all of Swift's Linuxes).
private let pathOnly: Int32 = 0o1000_0000
private let doNotSynchronize: Int32 = 0x4000

/// One task's directory under /proc, held open: everything read through it is about the same task, whatever number is
/// given to another one meanwhile.
struct TaskDirectory: ~Copyable {
  private let descriptor: Int32

  private init(descriptor: Int32) { self.descriptor = descriptor }

  /// The directory of a thread or process id; nil when there is no such task or it is hidden from us.
  static func open(_ id: Int32) -> TaskDirectory? {
    guard id > 0 else { return nil }
    let descriptor = Glibc.open("/proc/\(id)", pathOnly | O_DIRECTORY | O_CLOEXEC)
    return descriptor < 0 ? nil : TaskDirectory(descriptor: descriptor)
  }

  deinit { close(descriptor) }

  /// A file's bytes, at most `limit` of them; nil when it cannot be read, `cut` when there are more.
  func read(_ name: String, limit: Int) -> (bytes: [UInt8], cut: Bool)? {
    let file = openat(descriptor, name, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while bytes.count <= limit {
      let count = Glibc.read(file, &chunk, chunk.count)
      if count < 0 {
        if errno == EINTR { continue }
        return nil
      }
      if count == 0 { return (bytes, false) }
      bytes.append(contentsOf: chunk.prefix(count))
    }
    return (Array(bytes.prefix(limit)), true)
  }

  func text(_ name: String, limit: Int = 65536) -> String? {
    read(name, limit: limit).map { String(decoding: $0.bytes, as: UTF8.self) }
  }

  /// Where a symbolic link leads, as the kernel writes it.
  func link(_ name: String) -> String? {
    var target = [UInt8](repeating: 0, count: 4097)
    let count = target.withUnsafeMutableBytes { bytes in
      bytes.withMemoryRebound(to: CChar.self) { characters in
        characters.baseAddress.map { readlinkat(descriptor, name, $0, characters.count) } ?? -1
      }
    }
    guard count > 0, count < target.count else { return nil }
    return String(decoding: target.prefix(count), as: UTF8.self)
  }

  /// The file behind the magic link `exe`, not the file that its text names.
  ///
  /// Asked without synchronising (fstatat passes the flag on): the executable may lie on a file system that waits for
  /// the very answer which this is needed for (identity.md, 6 (b)). A kernel that refuses the flag leaves the process
  /// without an executable, so not exempt.
  func executable() -> ExecutableFile? {
    var found = stat()
    guard fstatat(descriptor, "exe", &found, doNotSynchronize) == 0 else { return nil }
    return ExecutableFile(
      device: UInt64(found.st_dev), inode: UInt64(found.st_ino), ownerID: found.st_uid, mode: found.st_mode,
      links: UInt32(clamping: found.st_nlink))
  }
}

/// `Name:` lines of /proc/PID/status.
struct TaskStatus {
  private let lines: [Substring]

  init(_ text: String) { lines = text.split(separator: "\n") }

  /// The first number after `name:`; nil when the line is not there.
  func number(_ name: String) -> Int32? {
    guard let line = lines.first(where: { $0.hasPrefix(name + ":") }) else { return nil }
    let field = line.dropFirst(name.count + 1).split(whereSeparator: { $0 == "\t" || $0 == " " }).first
    return field.flatMap { Int32($0) }
  }
}

/// The fields of /proc/PID/stat after the command name, which may itself hold blanks and parentheses.
struct TaskStat {
  private let fields: [Substring]

  init?(_ text: String) {
    guard let end = text.lastIndex(of: ")") else { return nil }
    fields = text[text.index(after: end)...].split(whereSeparator: { $0 == " " || $0 == "\n" })
  }

  /// A field by its number in proc_pid_stat(5), from 3 on.
  func field<Number: FixedWidthInteger>(_ number: Int) -> Number? {
    let index = number - 3
    return fields.indices.contains(index) ? Number(fields[index]) : nil
  }
}
