/// What write(2) and truncate(2) do to a file's bytes; a gap is filled with NULs.
enum TextChange {
  /// Bytes between a text's end and what is written behind it, which nobody has written: they would cost memory for nothing.
  static let largestGap = 16 << 20

  static func write(_ bytes: UnsafeRawBufferPointer, at start: Int, in text: inout [UInt8]) {
    if start > text.count { resize(&text, to: start) }
    let overlap = min(bytes.count, text.count - start)
    text.replaceSubrange(start..<start + overlap, with: bytes)
  }

  static func resize(_ text: inout [UInt8], to size: Int) {
    if size < text.count {
      text.removeSubrange(size...)
    } else {
      text.append(contentsOf: repeatElement(0, count: size - text.count))
    }
  }
}
