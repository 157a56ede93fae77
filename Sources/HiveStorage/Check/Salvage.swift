/// What is found and done while a damaged hive is copied.
struct Salvage {
  var trail = KeyTrail()
  /// Keys that are in no list, by the key that their parent field names.
  let unlisted: [CellIndex: [CellIndex]]
  private var notes: [(action: HiveRepair.Action, finding: HiveFinding, place: Int?)] = []

  init(unlisted: [CellIndex: [CellIndex]]) { self.unlisted = unlisted }

  mutating func note(_ action: HiveRepair.Action, _ finding: HiveFinding, at place: Int?) {
    notes.append((action, finding, place))
  }

  /// Everything that was not copied as it was, with `findings`, by which the hive was found damaged: what of these lies
  /// in keys that were not copied is dropped with them; the rest needed nothing but to be written anew.
  func repairs(_ findings: [HiveFinding], in hive: borrowing Hive) -> [HiveRepair] {
    var rules: [Int: [HiveFinding.Rule]] = [:]
    for finding in findings { rules[finding.offset, default: []].append(finding.rule) }
    var repairs: [HiveRepair] = []
    var told: Set<Int> = []
    for note in notes {
      var finding = note.finding
      // The checker may have another name for it.
      if let known = rules[finding.offset], !known.contains(finding.rule) {
        finding = HiveFinding(known[0], finding.structure, at: finding.offset, finding.problem)
      }
      finding.key = note.place.map { trail.path(of: $0, in: hive) }
      repairs.append(HiveRepair(action: note.action, finding: finding))
      told.insert(finding.offset)
    }
    // In the place of a root that was not where the base block says, another was copied.
    let copied = trail.cells.union([hive.rootKey])
    for finding in findings where !told.contains(finding.offset) {
      let isCopied = finding.cell.map(copied.contains) ?? true
      repairs.append(HiveRepair(action: isCopied ? .mended : .dropped, finding: finding))
    }
    return repairs
  }
}
