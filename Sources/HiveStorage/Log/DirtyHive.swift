/// A primary file that is dirty, and the logs that did not help.
struct DirtyHive {
  let device: any HiveDevice
  let sector: BaseBlockSector
  private(set) var passedOver: [HiveError] = []

  init(device: any HiveDevice, sector: BaseBlockSector) {
    self.device = device
    self.sector = sector
  }

  /// Its fields can be believed.
  var hasBaseBlock: Bool {
    sector.isChecksumRight && sector[BaseBlock.Field.signature] == BaseBlock.signatureRegf
  }

  var cause: String {
    hasBaseBlock
      ? "sequence numbers \(sector.primarySequence) and \(sector.secondarySequence) differ"
      : "the base block's checksum is wrong"
  }

  /// Notes why a log is not used. A device that failed is no reason: another try may have it.
  mutating func passOver(_ error: HiveError) throws(HiveError) {
    guard case .damaged = error else { throw error }
    passedOver.append(error)
  }
}
