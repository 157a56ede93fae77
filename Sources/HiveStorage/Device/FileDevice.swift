internal import Executive
internal import Glibc
internal import Synchronization

/// A regular file as a device.
package final class FileDevice: HiveDevice {
  package let name: String
  private let descriptor: Int32
  /// The file as we left it or first read it.
  private let known = Mutex<FileState?>(nil)

  /// How a file is opened. A file that is made is its owner's alone (0600), whatever the umask or a hive beside it says:
  /// a hive may hold secrets that its keys' descriptors guard.
  package enum Mode: Sendable {
    case reading
    case writing
    /// Makes the file when there is none.
    case creating
    /// Makes the file; throws when there is one.
    case new
  }

  /// Throws `device` with the errno, and `notAHive` for what is no regular file.
  package init(path: String, mode: Mode) throws(HiveError) {
    name = path
    // O_NONBLOCK: a FIFO must be refused, not waited for. It means nothing to regular files.
    var flags = O_CLOEXEC | O_NONBLOCK
    switch mode {
    case .reading: flags |= O_RDONLY
    case .writing: flags |= O_RDWR
    case .creating: flags |= O_RDWR | O_CREAT | O_NOFOLLOW
    case .new: flags |= O_RDWR | O_CREAT | O_EXCL
    }
    descriptor = Glibc.open(path, flags, 0o600)
    guard descriptor >= 0 else { throw .device(operation: "open", name: path, errno: errno) }
    guard try status().st_mode & S_IFMT == S_IFREG else { throw .notAHive(problem: "\(path) is not a regular file") }
  }

  deinit { if descriptor >= 0 { Glibc.close(descriptor) } }

  /// The number stays ours, so that nobody else's file is met under it.
  package func close() {
    let null = Glibc.open("/dev/null", O_RDWR | O_CLOEXEC)
    guard null >= 0 else { return }
    dup2(null, descriptor)
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    Glibc.close(null)
  }

  private func failure(_ operation: String) -> HiveError {
    .device(operation: operation, name: name, errno: errno)
  }

  private func status() throws(HiveError) -> stat {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw failure("stat") }
    return status
  }

  /// The file's identity: one file can have many names.
  package func identity() throws(HiveError) -> (device: UInt64, inode: UInt64) {
    let status = try status()
    return (UInt64(status.st_dev), UInt64(status.st_ino))
  }

  /// Bytes that the file's disk has free for us; nil when it cannot be asked.
  func freeBytes() -> Int? {
    var disk = statvfs()
    guard fstatvfs(descriptor, &disk) == 0 else { return nil }
    let (bytes, overflows) = Int(clamping: disk.f_bavail).multipliedReportingOverflow(by: Int(clamping: disk.f_frsize))
    return overflows ? .max : bytes
  }

  /// Keeps others out (`exclusive`) or writers out, until this device is gone; throws `locked` with the holder's
  /// process.
  ///
  /// A lock of the process: it is lost at fork, and when any descriptor of the file is closed in this process.
  package func lock(exclusive: Bool) throws(HiveError) {
    var request = flock()
    request.l_type = Int16(exclusive ? F_WRLCK : F_RDLCK)
    request.l_whence = Int16(SEEK_SET)
    while fcntl(descriptor, F_SETLK, &request) != 0 {
      switch errno {
      case EINTR: continue
      case EACCES, EAGAIN:
        var holder = request
        let isKnown = fcntl(descriptor, F_GETLK, &holder) == 0 && holder.l_type != Int16(F_UNLCK)
        throw .locked(pid: isKnown ? holder.l_pid : 0)
      default: throw failure("lock")
      }
    }
  }

  package func size() throws(HiveError) -> Int { Int(try status().st_size) }

  package func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(HiveError) {
    let parts = min(Self.mostReaders, buffer.count / Self.partWorthAThread, Self.processorCount)
    guard parts > 1 else { return try readAlone(at: offset, into: buffer) }
    let first = Mutex<HiveError?>(nil)
    let size = buffer.count / parts
    var threads: [SystemThread] = []
    for part in 0..<parts {
      let start = part * size
      // SAFETY: the parts do not overlap, and all are read before this function returns.
      nonisolated(unsafe) let piece = UnsafeMutableRawBufferPointer(
        rebasing: buffer[start..<(part == parts - 1 ? buffer.count : start + size)])
      let read = { @Sendable [self] in
        do throws(HiveError) { try readAlone(at: offset + start, into: piece) } catch {
          first.withLock { $0 = $0 ?? error }
        }
      }
      if part < parts - 1, let thread = SystemThread(name: "reader", read) { threads.append(thread) } else { read() }
    }
    for thread in threads { thread.join() }
    if let error = first.withLock({ $0 }) { throw error }
  }

  /// What is in the kernel's cache costs the processor's time: to find memory for it, and to copy it.
  private static let partWorthAThread = 32 << 20
  private static let mostReaders = 4
  private static let processorCount = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))

  private func readAlone(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(HiveError) {
    var done = 0
    while done < buffer.count {
      let count = pread(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, offset + done)
      if count < 0 {
        if errno == EINTR { continue }
        throw failure("read")
      }
      guard count > 0 else {
        throw .damaged(
          structure: "file", offset: offset + done, problem: "it ends, \(buffer.count - done) bytes too early")
      }
      done += count
    }
  }

  package func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(HiveError) {
    var done = 0
    while done < bytes.count {
      let count = pwrite(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, offset + done)
      if count < 0 {
        if errno == EINTR { continue }
        throw failure("write")
      }
      guard count > 0 else { throw .device(operation: "write", name: name, errno: ENOSPC) }
      done += count
    }
  }

  package func write(
    _ pieces: UnsafeBufferPointer<UnsafeRawBufferPointer>, at offset: Int
  ) throws(HiveError) {
    let (first, done) = try begin(pieces, at: offset)
    // What the kernel did not take at once, piece by piece.
    var place = offset
    for (number, piece) in pieces.enumerated() {
      if number >= first {
        let taken = number == first ? done : 0
        try write(UnsafeRawBufferPointer(rebasing: piece.dropFirst(taken)), at: place + taken)
      }
      place += piece.count
    }
  }

  /// IOV_MAX of Linux.
  private static let mostPieces = 1024

  /// One call to the kernel with as many pieces as it takes; where it stopped: a piece, and bytes of that.
  private func begin(
    _ pieces: UnsafeBufferPointer<UnsafeRawBufferPointer>, at offset: Int
  ) throws(HiveError) -> (piece: Int, bytes: Int) {
    let limit = min(pieces.count, Self.mostPieces)
    let written = withUnsafeTemporaryAllocation(of: iovec.self, capacity: limit) { vectors in
      for number in 0..<limit {
        vectors.initializeElement(
          at: number,
          to: iovec(
            iov_base: UnsafeMutableRawPointer(mutating: pieces[number].baseAddress), iov_len: pieces[number].count))
      }
      var count: Int
      repeat { count = pwritev(descriptor, vectors.baseAddress, Int32(limit), offset) } while count < 0 && errno == EINTR
      return count
    }
    guard written >= 0 else { throw failure("write") }
    var (piece, left) = (0, written)
    while piece < pieces.count, left >= pieces[piece].count {
      left -= pieces[piece].count
      piece += 1
    }
    return (piece, left)
  }

  /// Growing takes the disk's space at once, where the file system can: a full disk is told here, not at a write.
  package func resize(to size: Int) throws(HiveError) {
    let old = try self.size()
    if size > old {
      var failure = EINTR
      while failure == EINTR { failure = posix_fallocate(descriptor, old, size - old) }
      if failure == 0 { return }
      guard failure == EOPNOTSUPP || failure == EINVAL || failure == ENOSYS else {
        // A half-done allocation may have grown the file.
        _ = ftruncate(descriptor, old)
        throw .device(operation: "resize", name: name, errno: failure)
      }
    }
    while ftruncate(descriptor, size) != 0 {
      guard errno == EINTR else { throw failure("resize") }
    }
  }

  package func sync() throws(HiveError) {
    while fdatasync(descriptor) != 0 {
      guard errno == EINTR else { throw failure("sync") }
    }
  }

  // MARK: Changes from outside

  package func rememberState() {
    let state = try? state()
    known.withLock { $0 = state }
  }

  package func outsideChange() throws(HiveError) -> OutsideChange? {
    guard let old = known.withLock({ $0 }) else { return nil }
    var there = stat()
    guard stat(name, &there) == 0 else {
      guard errno == ENOENT || errno == ENOTDIR else { throw failure("stat") }
      return .removed
    }
    guard UInt64(there.st_dev) == old.device, UInt64(there.st_ino) == old.inode else { return .replaced }
    return old.change(to: try state())
  }

  private func state() throws(HiveError) -> FileState {
    let status = try status()
    var sector = [UInt8](repeating: 0, count: min(BaseBlock.sectorSize, Int(status.st_size)))
    try read(at: 0, into: &sector)
    return FileState(status, sector: sector)
  }
}
