internal import Glibc

/// Messages for people, on standard error or, once a daemon has none, in the system's log.
enum Console {
  /// `regward: MESSAGE`, each line of it.
  static func tell(_ message: String, inSystemLog: Bool = false) {
    if inSystemLog {
      withVaList([message]) { vsyslog(LOG_ERR, "%s", $0) }
      return
    }
    let text = message.split(separator: "\n").map { "regward: \($0)\n" }.joined()
    write(Array(text.utf8), to: STDERR_FILENO)
  }

  @discardableResult
  static func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
    bytes.withUnsafeBytes { buffer in
      var done = 0
      while done < buffer.count {
        let count = Glibc.write(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done)
        if count > 0 { done += count } else if errno != EINTR { return false }
      }
      return true
    }
  }

  /// Paths and names are anybody's: control characters must not reach a terminal.
  static func printable(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.map { scalar in
      scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) ? "\u{FFFD}" : scalar
    }))
  }

  /// `1 thread`, `2 threads`; `plural` where an s does not make it.
  static func count(_ number: some BinaryInteger, _ noun: String, _ plural: String? = nil) -> String {
    "\(number) \(number == 1 ? noun : plural ?? noun + "s")"
  }

  /// Columns of the terminal that standard output is; nil when it is none.
  static var width: Int? {
    guard isatty(STDOUT_FILENO) == 1 else { return nil }
    var size = winsize()
    guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }

  static func reason(_ code: Int32) -> String { String(cString: strerror(code)) }
}
