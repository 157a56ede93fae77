/// One entry of a new-format log ("HvLE") as it is written: the pages of one change.
struct LogEntry {
  /// Pages that follow each other in the bins, where they lie.
  struct Run {
    /// Bytes from the start of the bins.
    let binsOffset: Int
    let bytes: UnsafeRawBufferPointer
  }

  let sequence: UInt32
  /// Of the base block; only bit 0 is written.
  let flags: UInt32
  let binsSize: Int
  let runs: [Run]

  /// Writes the entry at `offset` of `log`, behind its first sector where `head` is one. It ends on a multiple of 4096
  /// bytes of the file, as Windows pads it; returns where. One write, and the pages are not copied for it.
  func write(head: BaseBlockSector? = nil, to log: any HiveDevice, at offset: Int) throws(HiveError) -> Int {
    let start = head == nil ? 0 : BaseBlock.sectorSize
    let list = HvleLog.Field.pages + 8 * runs.count
    let used = start + list + runs.reduce(0) { $0 + $1.bytes.count }
    let end = (offset + used + HiveImage.pageSize - 1) & ~(HiveImage.pageSize - 1)
    // Head, header and list of runs, and the zeros behind the pages.
    let ownSize = start + list + end - offset - used
    try withUnsafeTemporaryAllocation(byteCount: ownSize, alignment: 8) { (own) throws(HiveError) in
      own.initializeMemory(as: UInt8.self, repeating: 0)
      if let head { head.bytes.withUnsafeBytes { own.copyMemory(from: $0) } }
      let header = UnsafeMutableRawBufferPointer(rebasing: own[start..<start + list])
      let padding = UnsafeRawBufferPointer(rebasing: own[(start + list)...])
      fill(header, size: end - offset - start, padding)
      try withUnsafeTemporaryAllocation(of: UnsafeRawBufferPointer.self, capacity: runs.count + 2) {
        (pieces) throws(HiveError) in
        pieces.initializeElement(at: 0, to: UnsafeRawBufferPointer(rebasing: own[..<(start + list)]))
        for (number, run) in runs.enumerated() { pieces.initializeElement(at: number + 1, to: run.bytes) }
        pieces.initializeElement(at: runs.count + 1, to: padding)
        try log.write(UnsafeBufferPointer(pieces), at: offset)
      }
    }
    return end
  }

  private func fill(_ header: UnsafeMutableRawBufferPointer, size: Int, _ padding: UnsafeRawBufferPointer) {
    func put(_ value: UInt32, _ field: Int) { header.storeBytes(of: value.littleEndian, toByteOffset: field, as: UInt32.self) }
    func put(_ hash: Marvin32, _ field: Int) {
      header.storeBytes(of: hash.value.littleEndian, toByteOffset: field, as: UInt64.self)
    }
    put(HvleLog.signatureHvle, HvleLog.Field.signature)
    put(UInt32(size), HvleLog.Field.size)
    put(flags & 1, HvleLog.Field.flags)
    put(sequence, HvleLog.Field.sequence)
    put(UInt32(binsSize), HvleLog.Field.binsSize)
    put(UInt32(runs.count), HvleLog.Field.pageCount)
    for (number, run) in runs.enumerated() {
      put(UInt32(run.binsOffset), HvleLog.Field.pages + 8 * number)
      put(UInt32(run.bytes.count), HvleLog.Field.pages + 8 * number + 4)
    }
    var body = Marvin32()
    body.update(UnsafeRawBufferPointer(rebasing: header[HvleLog.Field.pages...]))
    for run in runs { body.update(run.bytes) }
    body.update(padding)
    put(body, HvleLog.Field.bodyHash)
    var start = Marvin32()
    start.update(UnsafeRawBufferPointer(rebasing: header[..<HvleLog.Field.headerHash]))
    put(start, HvleLog.Field.headerHash)
  }
}
