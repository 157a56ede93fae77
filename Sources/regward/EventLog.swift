internal import Glibc

/// A log as lines: from the beginning, and, when it is followed, what comes behind, also in the file that takes its place.
struct EventLog: ~Copyable {
  private let path: String
  private var descriptor: Int32
  private var waiting: [UInt8] = []
  private var position = 0
  /// Another file has the name: this one is read to its end once more, for what came before that was seen.
  private var isReplaced = false
  /// Of the line that was given last, counted from 1 in each file.
  private(set) var lineNumber = 0

  init(_ path: String) throws(MountFailure) {
    self.path = path
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system("cannot open \(path)", errno) }
  }

  deinit { close(descriptor) }

  /// The next line, without its end; nil at the end of the file. What stands there without a line feed is a line only when `isLast`.
  mutating func next(isLast: Bool) throws(MountFailure) -> [UInt8]? {
    while true {
      if let end = waiting[position...].firstIndex(of: 0x0A) {
        defer { position = end + 1 }
        lineNumber += 1
        return Array(waiting[position..<end])
      }
      waiting.removeFirst(position)
      position = 0
      guard try more() else { break }
    }
    guard isLast, !waiting.isEmpty else { return nil }
    defer { waiting = [] }
    lineNumber += 1
    return waiting
  }

  private mutating func more() throws(MountFailure) -> Bool {
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    var count = read(descriptor, &buffer, buffer.count)
    while count < 0, errno == EINTR { count = read(descriptor, &buffer, buffer.count) }
    guard count >= 0 else { throw .system("cannot read \(path)", errno) }
    waiting += buffer.prefix(count)
    return count > 0
  }

  /// At the end of the file: whether there is more to be read at once, for another file has its name now, or it was cut to less than
  /// was read. What was not a whole line is given up then.
  mutating func turnOver() -> Bool {
    var (here, there) = (stat(), stat())
    guard fstat(descriptor, &here) == 0, stat(path, &there) == 0 else { return false }
    if here.st_dev == there.st_dev, here.st_ino == there.st_ino {
      guard lseek(descriptor, 0, SEEK_CUR) > here.st_size else { return false }
      lseek(descriptor, 0, SEEK_SET)
    } else if !isReplaced {
      isReplaced = true
      return true
    } else {
      let next = open(path, O_RDONLY | O_CLOEXEC)
      guard next >= 0 else { return false }
      close(descriptor)
      descriptor = next
    }
    waiting = []
    position = 0
    lineNumber = 0
    isReplaced = false
    return true
  }
}
