internal import Executive
internal import Glibc

/// One line on standard error that tells how far a long work is, written over itself.
final class ProgressLine {
  /// How long somebody at a terminal waits without being told, nanoseconds.
  private static let patience: UInt64 = 1_000_000_000

  private let work: String
  /// When it is time to tell, by the monotonic clock; nil where nobody is to be told.
  private let begin: UInt64?
  private var shown: Int?

  /// Tells from the start when that `isWanted`, else only on a terminal, and what takes long.
  init(_ work: String, isWanted: Bool) {
    self.work = work
    if isWanted {
      begin = 0
    } else {
      begin = isatty(STDERR_FILENO) == 1 ? MonotonicClock.nanoseconds() + Self.patience : nil
    }
  }

  func show(_ done: Int, of all: Int) {
    guard let begin else { return }
    let percent = all > 0 ? min(100, done * 100 / all) : 100
    guard percent != shown, MonotonicClock.nanoseconds() >= begin else { return }
    shown = percent
    Console.write(Array("\r\(work) \(percent)%".utf8), to: STDERR_FILENO)
  }

  /// Takes the line away.
  func clear() {
    guard shown != nil else { return }
    shown = nil
    Console.write(Array("\r\(String(repeating: " ", count: work.utf8.count + 5))\r".utf8), to: STDERR_FILENO)
  }
}
