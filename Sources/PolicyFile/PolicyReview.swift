internal import WdFilter

/// What is right by itself and says nothing beside the rest: shadowed rules and entries, Denied bits under a hardened key, a
/// hash that two rules have.
struct PolicyReview {
  private(set) var warnings: [PolicyProblem] = []

  /// Comparisons with the hardening list that are worth the time.
  private static let maximumComparisons = 1_000_000

  init(_ parts: PolicyParts, _ rules: RuleSet) {
    shadows(parts.monitored)
    hashes(parts.monitored)
    documents(parts.documentRules)
    if parts.monitored.count * rules.hardened.count <= Self.maximumComparisons {
      hardened(parts.monitored, rules.hardened)
    }
  }

  /// One list of bits: a key's own, or that of an entry for values.
  private struct Word {
    let owner: MonitoredEntry
    let isOfKey: Bool
    let value: String?
    let bits: RuleBits

    /// Whatever `other` says is said here.
    func covers(_ other: Word) -> Bool {
      guard owner.rule.mode >= other.owner.rule.mode else { return false }
      if isOfKey != other.isOfKey {
        // A key's list speaks of any value too, but for DeleteDenied.
        return isOfKey && bits.subtracting(.deleteDenied).isSuperset(of: other.bits)
      }
      if !isOfKey, let value, value.lowercased() != other.value?.lowercased() { return false }
      return bits.isSuperset(of: other.bits)
    }
  }

  private mutating func shadows(_ entries: [MonitoredEntry]) {
    var earlier: [KeyPattern.Canonical: [Word]] = [:]
    for entry in entries where entry.rule.mode != .off {
      let key = entry.rule.key.canonical
      let before = earlier[key] ?? []
      var own: [Word] = []
      if !entry.rule.rules.isEmpty {
        own.append(Word(owner: entry, isOfKey: true, value: nil, bits: entry.rule.rules))
      }
      own += entry.rule.values.map { Word(owner: entry, isOfKey: false, value: $0.name, bits: $0.rules) }
      let covering = own.map { word in before.first { $0.covers(word) } }
      if !own.isEmpty, let first = covering.first??.owner, covering.allSatisfy({ $0 != nil }) {
        warn(
          entry.place,
          "'\(entry.rule.id)' adds nothing: '\(first.rule.id)' (\(first.rule.source)) says all of it for the same key")
      } else {
        let values = own.filter { !$0.isOfKey }
        for (index, word) in values.enumerated() where index < entry.values.count {
          let others = before + own.filter(\.isOfKey) + values[..<index]
          guard let other = others.first(where: { $0.covers(word) }) else { continue }
          warn(entry.values[index], "this entry adds nothing: '\(other.owner.rule.id)' says all of it for the same key")
        }
      }
      earlier[key] = before + own
    }
  }

  private mutating func hashes(_ entries: [MonitoredEntry]) {
    var taken: [RuleHash: MonitoredEntry] = [:]
    for entry in entries {
      guard let hash = entry.rule.hash else { continue }
      if let first = taken[hash] {
        warn(
          entry.hash ?? entry.place,
          "the hash is that of '\(first.rule.id)' (\(first.rule.source)) too: events cannot tell them apart")
      } else {
        taken[hash] = entry
      }
    }
  }

  /// A process carries one rule.
  private mutating func documents(_ entries: [DocumentOpenEntry]) {
    var taken: [String: RuleSource] = [:]
    for entry in entries {
      if let first = taken[entry.imageName.lowercased()] {
        let place = PolicyPlace(file: entry.source.file, line: entry.source.line, column: entry.source.column)
        warn(place, "this entry adds nothing: \(first) has an extension for \(entry.imageName)")
      } else {
        taken[entry.imageName.lowercased()] = entry.source
      }
    }
  }

  private mutating func hardened(_ entries: [MonitoredEntry], _ hardened: [HardenedKey]) {
    for entry in entries where entry.rule.mode != .off {
      let denied = entry.rule.values.reduce(entry.rule.rules) { $0.union($1.rules) }
        .intersection(.anyDenied).subtracting(.tamperProtectionActive)
      guard !denied.isEmpty, let above = hardened.first(where: { $0.covers(entry.rule.key) }) else { continue }
      warn(
        entry.place,
        "\(denied.names.joined(separator: ", ")) under a hardened key: '\(above.id)' (\(above.source)) refuses every "
          + "change there already, to all but MsMpEng, MpServiceSid and Friendly processes")
    }
  }

  private mutating func warn(_ place: PolicyPlace, _ message: String) {
    warnings.append(
      PolicyProblem(severity: .warning, file: place.file, line: place.line, column: place.column, message: message))
  }
}
