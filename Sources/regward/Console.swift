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

  static func reason(_ code: Int32) -> String { String(cString: strerror(code)) }
}
