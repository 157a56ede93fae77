/// A transaction log whose first sector holds: a copy of the base block, of a log's type.
struct LogHead {
  enum Format {
    /// `DIRT`, Windows up to 8: one set of pages.
    case old
    /// `HvLE`, Windows 8.1 and later, and our own: entries one after the other.
    case new
  }

  let device: any HiveDevice
  let sector: BaseBlockSector
  let format: Format
  /// Bytes.
  let size: Int

  /// Throws `damaged` with what is wrong, naming the log, and `device`.
  init(_ device: any HiveDevice) throws(HiveError) {
    self.device = device
    size = try device.size()
    guard size >= 2 * BaseBlock.sectorSize else {
      throw Self.problem(device, 0, size == 0 ? "it is empty" : "\(size) bytes are too short for one")
    }
    var head = [UInt8](repeating: 0, count: 2 * BaseBlock.sectorSize)
    try device.read(at: 0, into: &head)
    sector = BaseBlockSector(head)
    guard sector[BaseBlock.Field.signature] == BaseBlock.signatureRegf else {
      throw Self.problem(device, 0, "the signature \"regf\" is missing")
    }
    guard sector.isChecksumRight else {
      throw Self.problem(device, BaseBlock.Field.checksum, "the checksum of its base block is wrong")
    }
    guard sector.primarySequence == sector.secondarySequence else {
      throw Self.problem(
        device, BaseBlock.Field.primarySequence,
        "its sequence numbers \(sector.primarySequence) and \(sector.secondarySequence) differ")
    }
    switch sector[BaseBlock.Field.fileType] {
    case BaseBlock.FileType.newLog: format = .new
    case BaseBlock.FileType.oldLogs:
      guard BaseBlockSector(head.dropFirst(BaseBlock.sectorSize))[0] == DirtLog.signatureDirt else {
        throw Self.problem(device, BaseBlock.sectorSize, "the signature \"DIRT\" is missing")
      }
      format = .old
    case let type: throw Self.problem(device, BaseBlock.Field.fileType, "file type \(type) is not a log's")
    }
  }

  /// In new logs the number of the first entry that belongs to this run of the log.
  var sequence: UInt32 { sector.primarySequence }

  func problem(_ offset: Int, _ text: String) -> HiveError { Self.problem(device, offset, text) }

  private static func problem(_ device: any HiveDevice, _ offset: Int, _ text: String) -> HiveError {
    .damaged(structure: "log \(device.name)", offset: offset, problem: text)
  }
}
