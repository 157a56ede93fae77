internal import Executive
internal import Glibc

/// Constants that Swift's Glibc module does not show (O_PATH and AT_STATX_DONT_SYNC of asm-generic/fcntl.h and
/// linux/fcntl.h: the same on all of Swift's Linuxes).
private let pathOnly: Int32 = 0o1000_0000
private let doNotSynchronize: Int32 = 0x4000

/// One task's directory under /proc, held open: everything read through it is about the same task, whatever number is
/// given to another one meanwhile.
final class TaskDirectory: Sendable {
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

  /// SHA-256 of a file, in hexadecimal; nil when it cannot be read.
  func digest(_ name: String) -> String? {
    let file = openat(descriptor, name, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var digest = SHA256()
    var chunk = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = Glibc.read(file, &chunk, chunk.count)
      if count == 0 { return digest.hexDigest() }
      if count < 0 {
        if errno == EINTR { continue }
        return nil
      }
      chunk.withUnsafeBytes { digest.update(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    }
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
      links: UInt32(clamping: found.st_nlink), groupID: found.st_gid,
      changeTime: Int64(found.st_ctim.tv_sec) &* 1_000_000_000 &+ Int64(found.st_ctim.tv_nsec), size: Int64(found.st_size))
  }

  /// The task is on its way out, or its remains: it runs no instruction of its image any more.
  func isExiting() -> Bool { flags().map { $0 & Self.exitingFlag != 0 } ?? false }

  /// No thread of the process runs any more. A leader that has exited shows one thread, itself; where one of its threads has executed
  /// something, that is the leader and runs.
  func hasEnded() -> Bool {
    guard let threads = threadCount(), let flags = flags() else { return true }
    return threads <= 1 && flags & Self.exitingFlag != 0
  }

  /// One of the kernel's own threads, which execute nothing and ask for nothing.
  func isKernelThread() -> Bool { flags().map { $0 & Self.kernelThreadFlag != 0 } ?? false }

  /// PF_EXITING, PF_KTHREAD.
  private static let exitingFlag: UInt32 = 0x4
  private static let kernelThreadFlag: UInt32 = 0x20_0000

  /// Field 9 of /proc/PID/stat.
  private func flags() -> UInt32? { text("stat").flatMap(TaskStat.init)?.field(9) }

  /// Reading the executable could wait for a FUSE daemon, even for ourselves.
  func executableIsOnUserspaceFileSystem() -> Bool {
    let file = openat(descriptor, "exe", pathOnly | O_CLOEXEC)
    guard file >= 0 else { return true }
    defer { close(file) }
    return FileSystems.isUserspace(file, viewer: self)
  }

  /// A thread of the process is being traced, or that cannot be told. Every thread counts: what a tracer writes into one it
  /// writes into all.
  func hasTracer() -> Bool {
    func isTraced(_ status: String) -> Bool { text(status).map(TaskStatus.init)?.number("TracerPid") != 0 }
    if threadCount() == 1 { return isTraced("status") }
    guard let threads = threadIDs() else { return true }
    // One that has ended since cannot be read and is not counted against the rest; the first must be there.
    return isTraced("status")
      || threads.contains { text("task/\($0)/status").map(TaskStatus.init)?.number("TracerPid") ?? 0 != 0 }
  }

  /// The environment is there to read and puts no foreign code into the process.
  func hasPlainEnvironment(unreadableIsPlain: Bool = false) -> Bool {
    guard let environment = read("environ", limit: 1 << 18) else { return unreadableIsPlain }
    if environment.cut { return false }
    return environment.bytes.withUnsafeBytes { bytes in
      var start = 0
      while start < bytes.count {
        let rest = UnsafeRawBufferPointer(rebasing: bytes[start...])
        if Self.loaderVariables.contains(where: { rest.starts(with: $0) }) { return false }
        guard let end = rest.firstIndex(of: 0) else { break }
        start += end + 1
      }
      return true
    }
  }

  private static let loaderVariables = ["LD_PRELOAD=", "LD_AUDIT=", "LD_LIBRARY_PATH="].map { Array($0.utf8) }

  /// How many threads the process has, counting a leader that has exited and is not reaped; nil when it is gone. The kernel adds
  /// them to the links of `task`.
  func threadCount() -> Int? {
    var found = stat()
    guard fstatat(descriptor, "task", &found, doNotSynchronize) == 0 else { return nil }
    return max(0, Int(found.st_nlink) - 2)
  }

  /// The ids of the process's threads; nil when they cannot be read.
  func threadIDs() -> [Int32]? { Self.numbers(openat(descriptor, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) }

  /// The calling thread's id (gettid is hidden from Swift).
  static func ownThreadID() -> Int32? {
    open(getpid())?.link("../thread-self")?.split(separator: "/").last.flatMap { Int32($0) }
  }

  /// Every process that /proc shows.
  static func processIDs() -> [Int32] { numbers(Glibc.open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) ?? [] }

  /// The names of a directory that are numbers; closes it.
  private static func numbers(_ descriptor: Int32) -> [Int32]? {
    guard descriptor >= 0 else { return nil }
    guard let directory = fdopendir(descriptor) else {
      close(descriptor)
      return nil
    }
    defer { closedir(directory) }
    var numbers: [Int32] = []
    while let entry = readdir(directory) {
      let number = withUnsafeBytes(of: &entry.pointee.d_name) { name in
        name.prefix { $0 != 0 }.reduce(Int32?(0)) { number, byte in
          guard let number, byte >= 0x30, byte <= 0x39 else { return nil }
          let (tens, overflow) = number.multipliedReportingOverflow(by: 10)
          return overflow ? nil : tens &+ Int32(byte &- 0x30)
        }
      }
      if let number, number > 0 { numbers.append(number) }
    }
    return numbers
  }
}

/// `Name:` lines of /proc/PID/status.
struct TaskStatus {
  private let lines: [Substring]

  init(_ text: String) { lines = text.split(separator: "\n") }

  /// The numbers after `name:`; none when the line is not there.
  func numbers(_ name: String) -> [UInt32] {
    guard let line = lines.first(where: { $0.hasPrefix(name + ":") }) else { return [] }
    return line.dropFirst(name.count + 1).split(whereSeparator: { $0 == "\t" || $0 == " " }).compactMap { UInt32($0) }
  }

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
