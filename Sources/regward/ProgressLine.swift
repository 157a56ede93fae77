internal import Glibc

/// One line on standard error that tells how far a long work is, written over itself.
final class ProgressLine {
  /// Bytes of work below which nobody waits long enough to look.
  private static let large = 8 << 20

  private var shown = -1

  /// Nil where nobody is to be told: not `isWanted`, and no terminal or little work.
  init?(isWanted: Bool, bytes: Int) {
    guard isWanted || bytes >= Self.large && isatty(STDERR_FILENO) == 1 else { return nil }
  }

  func show(_ done: Int, of all: Int) {
    let percent = all > 0 ? min(100, done * 100 / all) : 100
    guard percent != shown else { return }
    shown = percent
    Console.write(Array("\r\(percent)%".utf8), to: STDERR_FILENO)
  }

  func clear() { Console.write(Array("\r     \r".utf8), to: STDERR_FILENO) }
}
