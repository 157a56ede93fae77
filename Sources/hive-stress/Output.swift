internal import Glibc

/// Standard output, unbuffered: what was written is in the pipe when the next operation begins.
enum Output {
  static func tell(_ line: String) { write(Array((line + "\n").utf8)) }

  static func write(_ bytes: [UInt8]) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let written = rest.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
      // Nobody reads any more.
      guard written > 0 else { return }
      rest = rest.dropFirst(written)
    }
  }
}
