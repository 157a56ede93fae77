internal import Executive

extension Hive {
  /// The size of a hive that was rewritten.
  package struct Rewritten: Sendable, Hashable {
    package let statistics: Statistics
    package let keys: Int
    package let values: Int
    /// What was done about the damage of the one before, if that was wanted.
    package fileprivate(set) var repairs: [HiveRepair] = []
  }

  /// Makes `device` this hive, rewritten cell by cell: without holes, and with every order, count and hint as it must
  /// be. What the base block says, names, times, class names, flags, security, the order of values and their data stay.
  /// The hive is checked before anything is written.
  ///
  /// `progress` is told how many bytes the new hive has. Throws at the first damage that a copy would not have.
  /// Versions that nobody writes any more become 1.3.
  package func compact(
    to device: any HiveDevice, progress: (_ bytes: Int) -> Void = { _ in }
  ) throws(HiveError) -> Rewritten {
    var copy = TreeCopy(start: rootKey, deepest: Self.deepestStored)
    return try rewrite(&copy, to: device, progress: progress)
  }

  /// As `compact`, with everything that can be read of a damaged hive, of which `checker` has found what is wrong. Keys
  /// that are in no list are taken back where a list was damaged, by their parent fields.
  ///
  /// Throws `damaged` when there is no root to begin with, or when the result is not clean for want of a rule.
  package func repair(
    to device: any HiveDevice, after checker: borrowing HiveChecker, progress: (_ bytes: Int) -> Void = { _ in }
  ) throws(HiveError) -> Rewritten {
    var unlisted: [CellIndex: [CellIndex]] = [:]
    for orphan in checker.orphans {
      if let parent = try? keyNode(at: orphan).parent { unlisted[parent, default: []].append(orphan) }
    }
    var copy = TreeCopy(start: try root(among: checker.orphans), deepest: Self.deepestStored)
    copy.salvage = Salvage(unlisted: unlisted)
    var rewritten = try rewrite(&copy, to: device, progress: progress)
    rewritten.repairs = copy.salvage?.repairs(checker.findings, in: self) ?? []
    return rewritten
  }

  /// The root; where the base block leads to none, the only key of `cells` that says it is the root.
  private func root(among cells: [CellIndex]) throws(HiveError) -> CellIndex {
    do throws(HiveError) {
      _ = try keyNode(at: rootKey)
      return rootKey
    } catch {
      let roots = cells.filter { (try? keyNode(at: $0).flags.contains(.hiveEntry)) ?? false }
      guard roots.count == 1 else { throw error }
      return roots[0]
    }
  }

  private func rewrite(
    _ copy: inout TreeCopy, to device: any HiveDevice, progress: (_ bytes: Int) -> Void
  ) throws(HiveError) -> Rewritten {
    let node = try keyNode(at: copy.start)
    let name = try keyName(at: copy.start)
    let form = MemoryDevice(name: device.name)
    try Self.format(
      device: form, minorVersion: max(3, minorVersion),
      rootName: name.isEmpty ? "ROOT" : UnicodeName(units: Array(name.units.prefix(Self.longestKeyName))),
      time: node.lastWriteTime)
    try form.write(image.buffer(at: 0, count: BaseBlock.size), at: 0)
    try form.write(rewrittenSector(binsSize: form.size() - BaseBlock.size).bytes, at: 0)
    var hive = try Hive(device: form, access: .readWrite)
    copy.isOfWholeHive = true
    try hive.replaceContent(of: hive.rootKey, by: &copy, of: self, time: node.lastWriteTime, progress: progress)
    let checker = HiveChecker(hive)
    if let finding = checker.findings.first {
      throw .damaged(
        structure: finding.structure, offset: finding.offset, problem: "in the hive as it would be written, \(finding)")
    }
    try hive.write(to: device)
    return Rewritten(statistics: try hive.statistics(), keys: checker.keys, values: checker.values)
  }

  /// The base block of a clean hive whose root is its first cell; everything else that it says stays.
  private func rewrittenSector(binsSize: Int) -> BaseBlockSector {
    var sector = baseSector
    for (field, value) in [
      (BaseBlock.Field.signature, BaseBlock.signatureRegf), (BaseBlock.Field.fileType, BaseBlock.FileType.primary),
      (BaseBlock.Field.minor, UInt32(max(3, minorVersion))), (BaseBlock.Field.fileFormat, 1),
      (BaseBlock.Field.clusteringFactor, 1), (BaseBlock.Field.rootCell, UInt32(HiveBin.headerSize)),
      (BaseBlock.Field.binsSize, UInt32(binsSize)),
    ] as [(Int, UInt32)] { sector[field] = value }
    // A hive as it lies, whose logs were no use: newer than they, should they ever come beside it.
    let isFinished = sector.primarySequence == sector.secondarySequence
    let sequence = isFinished ? sector.primarySequence : sector.primarySequence &+ 1
    sector.setSequence(primary: sequence, secondary: sequence)
    return sector
  }
}
