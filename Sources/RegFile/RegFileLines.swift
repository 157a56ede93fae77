/// The lines of a `.reg` file as UTF-16 units, whatever its encoding.
struct RegFileLines {
  private enum Encoding { case utf16, utf8 }

  private let bytes: [UInt8]
  private let encoding: Encoding
  private var offset: Int
  private let hasMark: Bool
  /// What is no UTF-8 is Windows-1252 then: the file is of a time when it had to be.
  var isANSI = false
  /// Of the line read last, from 1 on.
  private(set) var number = 0

  /// Nil for UTF-16 with the high byte first, which nobody writes.
  init?(_ bytes: [UInt8]) {
    self.bytes = bytes
    if bytes.starts(with: [0xFE, 0xFF]) { return nil }
    encoding = bytes.starts(with: [0xFF, 0xFE]) ? .utf16 : .utf8
    let mark = encoding == .utf16 ? 2 : bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    hasMark = mark > 0
    offset = mark
  }

  struct Line {
    var units: [UInt16]
    /// CR LF, LF, or nothing at the file's end.
    var ending: [UInt16]
  }

  /// Nil at the end.
  mutating func next() throws(RegFileProblem) -> Line? {
    guard offset < bytes.count else { return nil }
    number += 1
    var line = Line(units: [], ending: [])
    switch encoding {
    case .utf16: try readUTF16(&line.units)
    case .utf8: try readUTF8(&line.units)
    }
    for end: UInt16 in [0x0A, 0x0D] where line.units.last == end && (end == 0x0A || !line.ending.isEmpty) {
      line.ending.insert(end, at: 0)
      line.units.removeLast()
    }
    return line
  }

  private mutating func readUTF16(_ units: inout [UInt16]) throws(RegFileProblem) {
    while offset + 1 < bytes.count {
      let unit = UInt16(bytes[offset]) | UInt16(bytes[offset + 1]) << 8
      offset += 2
      units.append(unit)
      if unit == 0x0A { return }
    }
    guard offset == bytes.count else {
      offset = bytes.count
      throw RegFileProblem(line: number, column: units.count + 1, message: "half a UTF-16 character ends the file")
    }
  }

  private mutating func readUTF8(_ units: inout [UInt16]) throws(RegFileProblem) {
    let end = bytes[offset...].firstIndex(of: 0x0A).map { $0 + 1 } ?? bytes.count
    let line = bytes[offset..<end]
    offset = end
    let isBroken = transcode(
      line.makeIterator(), from: UTF8.self, to: UTF16.self, stoppingOnError: true) { units.append($0) }
    guard isBroken else { return }
    guard isANSI, !hasMark else {
      throw RegFileProblem(line: number, column: units.count + 1, message: "what stands here is no UTF-8")
    }
    units = line.map { Windows1252.unit($0) }
  }
}

/// The code page that Windows calls ANSI in the west.
enum Windows1252 {
  /// 0x80 to 0x9F; the five that stand for nothing stay as they are, as Windows has it.
  private static let high: [UInt16] = [
    0x20AC, 0x81, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D, 0x017D,
    0x8F, 0x90, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,
    0x017E, 0x0178,
  ]

  static func unit(_ byte: UInt8) -> UInt16 {
    (0x80...0x9F).contains(byte) ? high[Int(byte) - 0x80] : UInt16(byte)
  }
}
