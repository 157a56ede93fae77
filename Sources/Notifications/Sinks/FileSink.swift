internal import Glibc
internal import Synchronization

/// Appends each event to a file, or to standard error, as one line.
///
/// Lines are kept back until the queue is empty or 64 KiB are together, then written at once. A line stands in the file whole
/// or not at all: of a write that the file took in part, the rest of the line it tore is kept and goes out first; the lines
/// after it are lost. Losses are counted and told in the next line that the file takes, as `regward.lost`.
package final class FileSink: NotificationSink {
  /// Why a log cannot be opened.
  package struct OpenError: Error, Hashable, Sendable {
    package let path: String
    package let errno: Int32

    package init(path: String, errno: Int32) {
      self.path = path
      self.errno = errno
    }
  }

  private struct State: Sendable {
    var descriptor: Int32
    /// Whole lines that wait.
    var lines: [UInt8] = []
    var lineCount: UInt64 = 0
    /// The rest of a line that the file has taken in part.
    var remainder: [UInt8] = []
    /// What the lines that wait do not tell yet.
    var untold = EventEncoder.Loss()
    /// What they do, each with the end of its line in `lines`, to be told again should that line be lost.
    var told: [(end: Int, loss: EventEncoder.Loss)] = []

    mutating func clear() {
      lines.removeAll(keepingCapacity: true)
      lineCount = 0
      told.removeAll()
    }
  }

  private static let bufferSize = 64 * 1024

  package let name: String
  /// Nil for standard error.
  private let path: String?
  private let encoder: EventEncoder
  private let state: Mutex<State>
  private let mustReopen = Atomic(false)
  private let acceptedCount = Atomic<UInt64>(0)
  private let lostCount = Atomic<UInt64>(0)
  private let errorCount = Atomic<UInt64>(0)

  /// Opens `path` for appending, 0600 when it is new.
  package init(path: String, encoder: EventEncoder = EventEncoder()) throws(OpenError) {
    let descriptor = Self.open(path)
    guard descriptor >= 0 else { throw OpenError(path: path, errno: errno) }
    self.path = path
    name = path
    self.encoder = encoder
    state = Mutex(State(descriptor: descriptor))
  }

  /// Writes to this process' standard error. Whoever reads it may be slow: only the sink's thread waits.
  package init(standardErrorBy encoder: EventEncoder) throws(OpenError) {
    let descriptor = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)
    guard descriptor >= 0 else { throw OpenError(path: "stderr", errno: errno) }
    path = nil
    name = "stderr"
    self.encoder = encoder
    state = Mutex(State(descriptor: descriptor))
  }

  deinit { state.withLock { _ = close($0.descriptor) } }

  /// Lines that stand in the file; lines lost here (not those that the queue dropped); failed writes and opens.
  package var counters: SinkCounters {
    SinkCounters(
      accepted: acceptedCount.load(ordering: .relaxed), lost: lostCount.load(ordering: .relaxed),
      errors: errorCount.load(ordering: .relaxed))
  }

  /// Goes over to a new file at `path` with the next line (logrotate's USR2). Returns at once, on any thread; when the open
  /// fails then, the old file stays.
  package func reopen() { mustReopen.store(true, ordering: .releasing) }

  package func deliver(_ event: borrowing Event, dropped: UInt64) {
    state.withLock { state in
      state.untold.dropped += dropped
      state.lines.append(contentsOf: encoder.line(for: event, loss: state.untold))
      state.lineCount += 1
      if !state.untold.isNone { state.told.append((state.lines.count, state.untold)) }
      state.untold = EventEncoder.Loss()
      if state.lines.count >= Self.bufferSize { writeOut(&state) }
    }
  }

  package func flush() { state.withLock { writeOut(&$0) } }

  private func writeOut(_ state: inout State) {
    guard !state.lines.isEmpty || !state.remainder.isEmpty else { return }
    if mustReopen.exchange(false, ordering: .acquiring) { replaceDescriptor(&state) }
    let remainderCount = state.remainder.count
    let bytes = state.remainder + state.lines
    let (written, failure) = Self.write(bytes, to: state.descriptor)
    if let failure {
      errorCount.add(1, ordering: .relaxed)
      state.untold.errno = failure
    }
    guard written < bytes.count else {
      acceptedCount.add(state.lineCount, ordering: .relaxed)
      return state.clear()
    }
    guard written > remainderCount else {
      state.remainder.removeFirst(written)
      lose(state.lineCount, after: 0, of: &state)
      return state.clear()
    }
    // The line that is torn counts as accepted: its rest goes out before anything else.
    let end = bytes[(written - 1)...].firstIndex(of: 0x0A).map { $0 + 1 } ?? bytes.count
    state.remainder = Array(bytes[written..<end])
    let accepted = bytes[remainderCount..<end].reduce(into: UInt64(0)) { $0 += $1 == 0x0A ? 1 : 0 }
    acceptedCount.add(accepted, ordering: .relaxed)
    lose(state.lineCount - accepted, after: end - remainderCount, of: &state)
    state.clear()
  }

  /// Counts the last `count` lines, those that end after `end`, as lost, and what they told as not told.
  private func lose(_ count: UInt64, after end: Int, of state: inout State) {
    lostCount.add(count, ordering: .relaxed)
    state.untold.failed += count
    for told in state.told where told.end > end { state.untold.add(told.loss) }
  }

  private func replaceDescriptor(_ state: inout State) {
    guard let path else { return }
    let descriptor = Self.open(path)
    guard descriptor >= 0 else {
      errorCount.add(1, ordering: .relaxed)
      state.untold.errno = errno
      return
    }
    // The last chance of a torn line's rest: the new file begins with a whole line.
    if !state.remainder.isEmpty { _ = Self.write(state.remainder, to: state.descriptor) }
    state.remainder.removeAll()
    close(state.descriptor)
    state.descriptor = descriptor
  }

  /// Not blocking: a pipe without a reader, or full, is an error and not a place to wait. Without effect on plain files.
  ///
  /// Nor is what others put in the log's place written to, at the beginning or after a rotation: through a symbolic link only a
  /// device is opened (ELOOP), and a file of somebody else (EPERM), or that has another name as well (EMLINK), is none of ours.
  private static func open(_ path: String) -> Int32 {
    var place = stat()
    let isLink = lstat(path, &place) == 0 && place.st_mode & S_IFMT == S_IFLNK
    let descriptor = Glibc.open(
      path, O_WRONLY | O_APPEND | (isLink ? 0 : O_CREAT | O_NOFOLLOW) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0o600)
    guard descriptor >= 0, fstat(descriptor, &place) == 0, place.st_mode & S_IFMT == S_IFREG else { return descriptor }
    let refusal = isLink ? ELOOP : place.st_uid != geteuid() ? EPERM : place.st_nlink > 1 ? EMLINK : 0
    guard refusal != 0 else { return descriptor }
    close(descriptor)
    errno = refusal
    return -1
  }

  /// How many bytes the file took, and the error that stopped it. Ours is a thread without signals: no SIGPIPE.
  private static func write(_ bytes: [UInt8], to descriptor: Int32) -> (written: Int, failure: Int32?) {
    bytes.withUnsafeBytes { buffer in
      var written = 0
      while written < buffer.count {
        let count = Glibc.write(descriptor, buffer.baseAddress?.advanced(by: written), buffer.count - written)
        if count > 0 {
          written += count
        } else if count == 0 || errno != EINTR {
          return (written, count == 0 ? EIO : errno)
        }
      }
      return (written, nil)
    }
  }
}

extension EventEncoder.Loss {
  mutating func add(_ other: Self) {
    dropped += other.dropped
    failed += other.failed
    if errno == 0 { errno = other.errno }
  }
}
