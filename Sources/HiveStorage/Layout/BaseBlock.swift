internal import Executive

/// The first 4096 bytes of a primary file; the first 512 of them open a log, too (HBASE_BLOCK).
enum BaseBlock {
  static let size = 4096
  static let sectorSize = 512

  static let signatureRegf: UInt32 = 0x6667_6572

  enum Field {
    static let signature = 0
    static let primarySequence = 4
    static let secondarySequence = 8
    static let lastWritten = 12
    static let major = 20
    static let minor = 24
    static let fileType = 28
    static let fileFormat = 32
    static let rootCell = 36
    static let binsSize = 40
    static let clusteringFactor = 44
    static let fileName = 48
    /// Bit 0: transactions are pending; bit 1: layered keys.
    static let flags = 144
    static let checksum = 508
  }

  enum FileType {
    static let primary: UInt32 = 0
    /// The logs of Vista to 8, and of Windows 2000 and before.
    static let oldLogs: ClosedRange<UInt32> = 1...2
    static let newLog: UInt32 = 6
  }
}

/// The base block's first sector, on its own, with its fields.
struct BaseBlockSector {
  private(set) var bytes: [UInt8]

  /// `bytes` holds at least 512.
  init(_ bytes: some Collection<UInt8>) {
    self.bytes = Array(bytes.prefix(BaseBlock.sectorSize))
    precondition(self.bytes.count == BaseBlock.sectorSize)
  }

  subscript(field: Int) -> UInt32 {
    get {
      UInt32(bytes[field]) | UInt32(bytes[field + 1]) << 8 | UInt32(bytes[field + 2]) << 16
        | UInt32(bytes[field + 3]) << 24
    }
    set { for byte in 0..<4 { bytes[field + byte] = UInt8(truncatingIfNeeded: newValue >> UInt32(8 * byte)) } }
  }

  var lastWritten: FileTime {
    get {
      FileTime(
        rawValue: UInt64(self[BaseBlock.Field.lastWritten]) | UInt64(self[BaseBlock.Field.lastWritten + 4]) << 32)
    }
    set {
      self[BaseBlock.Field.lastWritten] = UInt32(truncatingIfNeeded: newValue.rawValue)
      self[BaseBlock.Field.lastWritten + 4] = UInt32(truncatingIfNeeded: newValue.rawValue >> 32)
    }
  }

  /// XOR of the 127 dwords before the checksum; 0 and 0xFFFFFFFF are stepped aside from.
  var computedChecksum: UInt32 {
    var sum: UInt32 = 0
    for field in stride(from: 0, to: BaseBlock.Field.checksum, by: 4) { sum ^= self[field] }
    return sum == 0 ? 1 : sum == 0xFFFF_FFFF ? 0xFFFF_FFFE : sum
  }

  var isChecksumRight: Bool { self[BaseBlock.Field.checksum] == computedChecksum }

  mutating func updateChecksum() { self[BaseBlock.Field.checksum] = computedChecksum }

  var primarySequence: UInt32 { self[BaseBlock.Field.primarySequence] }
  var secondarySequence: UInt32 { self[BaseBlock.Field.secondarySequence] }

  mutating func setSequence(primary: UInt32, secondary: UInt32) {
    self[BaseBlock.Field.primarySequence] = primary
    self[BaseBlock.Field.secondarySequence] = secondary
    updateChecksum()
  }
}
