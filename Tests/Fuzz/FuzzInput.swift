import Executive

@testable import HiveStorage

/// A fuzzer's input, cut into the files of a hive and, for the fuzzer of changes, a script.
///
///     0  bits 0-1: logs beside the hive (0 to 2); bit 2: checksums and hashes are left as they are
///     1  pages of 4096 bytes of the primary file's bins
///     2  sectors of 512 bytes of the first log
///     3  steps of 4 bytes of the script
///     4  the script, the base block's first sector, the bins, the logs: the last takes what is left
///
/// `make_corpus.py` writes the same form. A file that fails its checksum is refused at once, and no mutation repairs
/// one: unless bit 2 is set they are made right here, so that what lies behind them is reached.
struct FuzzInput {
  static let headerSize = 4
  static let stepSize = 4

  private(set) var script: [UInt8]
  private(set) var primary: [UInt8]
  private(set) var logs: [[UInt8]] = []

  init(_ input: UnsafeRawBufferPointer) {
    var rest = input.dropFirst(Self.headerSize)
    func take(_ count: Int) -> [UInt8] {
      let taken = Array(rest.prefix(count))
      rest = rest.dropFirst(count)
      return taken
    }
    let head = Array(input.prefix(Self.headerSize)) + [UInt8](repeating: 0, count: Self.headerSize)
    script = take(Int(head[3]) * Self.stepSize)
    let sector = take(BaseBlock.sectorSize)
    let logCount = Int(head[0] & 3)
    let bins = take(logCount == 0 ? rest.count : Int(head[1]) * HiveImage.pageSize)
    primary = sector.isEmpty ? [] : sector + [UInt8](repeating: 0, count: BaseBlock.size - sector.count) + bins
    if logCount > 0 { logs.append(take(logCount == 1 ? rest.count : Int(head[2]) * BaseBlock.sectorSize)) }
    if logCount > 1 { logs.append(Array(rest)) }
    guard head[0] & 4 == 0 else { return }
    Self.mendSector(&primary)
    for index in logs.indices {
      Self.mendSector(&logs[index])
      Self.mendEntries(&logs[index])
    }
  }

  private static func mendSector(_ file: inout [UInt8]) {
    guard file.count >= BaseBlock.sectorSize else { return }
    var sector = BaseBlockSector(file)
    sector.updateChecksum()
    file.replaceSubrange(0..<BaseBlock.sectorSize, with: sector.bytes)
  }

  /// Gives every entry of a log of the new format the hashes that it would have.
  private static func mendEntries(_ log: inout [UInt8]) {
    var start = BaseBlock.sectorSize
    while start + 40 <= log.count, load(start, log) == HvleLog.signatureHvle {
      let size = Int(load(start + 4, log))
      guard size >= 40, size % 4 == 0, start + size <= log.count else { return }
      var (body, header) = (Marvin32(), Marvin32())
      log.withUnsafeBytes { bytes in
        body.update(UnsafeRawBufferPointer(rebasing: bytes[start + 40..<start + size]))
      }
      store(body.value, at: start + 24, in: &log)
      log.withUnsafeBytes { bytes in header.update(UnsafeRawBufferPointer(rebasing: bytes[start..<start + 32])) }
      store(header.value, at: start + 32, in: &log)
      start += size
    }
  }

  private static func load(_ offset: Int, _ bytes: [UInt8]) -> UInt32 {
    (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
  }

  private static func store(_ value: UInt64, at offset: Int, in bytes: inout [UInt8]) {
    for byte in 0..<8 { bytes[offset + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * byte)) }
  }
}

/// Ends the program with what does not hold, for the fuzzer to keep the input.
func require(_ isTrue: Bool, _ what: @autoclosure () -> String) {
  if !isTrue { fatalError(what()) }
}
