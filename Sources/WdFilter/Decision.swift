package import ConfigurationManager
internal import Executive
package import ProcessTable

/// What the filter makes of one operation, and everything that has to be said about it.
package struct Decision: Sendable {
  package enum Verdict: Sendable { case allow, deny }

  package enum Reason: String, Sendable {
    /// No rule says anything.
    case untouched
    /// A rule's Operation bit.
    case watched
    case hardened
    /// A hardened key lies below a name that would go away or come to be.
    case hardenedBelow
    case canary
    /// A rule's Denied bit.
    case denied
    /// A rule with a Denied bit lies below, or at the key's values.
    case deniedBelow
    case tamperProtection
    /// No rule refuses, but the sync client does, or its silence.
    case syncClient
  }

  package var verdict = Verdict.allow
  package var reason = Reason.untouched
  /// Would be refused were the rule not in audit mode.
  package var isAudited = false
  /// Would be refused were the process not exempt.
  package var isExempt = false
  /// The OR of all rules that match.
  package var matchedRules: RuleBits = []
  /// Of them, what belongs to this operation.
  package var finalKeyRules: RuleBits = []
  /// The rules' names, first the one that decided.
  package var ruleIDs: [String] = []
  package var source: RuleSource?
  package var hashes: [RuleHash] = []
  /// The caller; nil when unknown, or when nobody had to be asked for.
  package var process: ProcessContext?
  /// What the policy makes of the caller, for people.
  package var explanation = ""
  /// Of the rules that decided: what is told after the operation is theirs too, whatever came into force meanwhile.
  package var rulesVersion: UInt64 = 0
  /// The caller's rules hold NotifyRegistryOperationSync: the sync client is to be asked first.
  package var asksSyncClient = false
  /// The value as it was before is to be reported.
  package var retrievesOldValue = false

  static let untouched = Decision()

  /// Something is to be reported once the operation was done.
  package var reportsOutcome: Bool { verdict == .allow && reason != .untouched }
}

extension RuleSet {
  /// Judges an operation by these rules and nothing else. The process is looked up only when a rule matches; a process
  /// that cannot be found is never exempt.
  package func decide(_ operation: RegistryOperation, process lookUp: () -> ProcessContext?) -> Decision {
    guard let row = FilteredClass.row(of: operation.preClass) else { return .untouched }
    let findings = find(operation, row)
    guard findings.touchesAnything else { return .untouched }
    let process = lookUp()
    return conclude(findings, row, process)
  }

  /// What the tree says about an operation: of one name, or of the two of a rename.
  private struct Findings {
    var match = RuleMatch()
    /// Rules below that count for this operation.
    var below = ProtectionBelow()
    /// The Denied bits that refuse it.
    var refusing: RuleBits

    var touchesAnything: Bool {
      match.hardened >= 0 || !match.hits.isEmpty || below.hardened >= 0 || below.enforced >= 0 || below.audited >= 0
    }
  }

  private func find(_ operation: RegistryOperation, _ row: FilteredClass) -> Findings {
    // Nothing asks for the operation: the walk is for the hardening list alone.
    let refusing = row.denied.union(.tamperProtectionActive)
    let asked = monitoredBits.isDisjoint(with: row.flag.union(.tamperProtectionActive))
      ? RuleBits.tamperProtectionActive : row.flag.union(.tamperProtectionActive)
    let isStrict = subtree == .strict && mode != .off
    var findings = Findings(refusing: refusing)
    switch operation {
    case .setValueKey(let key, let valueName, _), .deleteValueKey(let key, let valueName):
      matcher.match(key.completeName, .value(valueName), wanted: asked, into: &findings.match)
    case .deleteKey(let key):
      matcher.match(key.completeName, .key, wanted: asked, into: &findings.match)
      // Only rules that name this key as an ancestor: a key that can be deleted has no subkeys, so what a `**` may put
      // below it is not there.
      if isStrict { findings.below = findings.match.below }
    case .renameKey(let key, let newName):
      // A rename takes the old name away like a delete and brings the new one like a create.
      var old = RuleMatch()
      matcher.match(
        key.completeName, .key, wanted: isStrict ? asked.union(.deleteDenied) : asked, into: &old)
      var new = RuleMatch()
      matcher.match(
        Self.name(of: key, renamedTo: newName), .key, wanted: isStrict ? asked.union(.createDenied) : asked, into: &new)
      findings.match = Self.union(old, new)
      if isStrict {
        findings.refusing.formUnion([.deleteDenied, .createDenied])
        // The other bit of each side does not count there: Delete at the new name, Create at the old.
        findings.match.enforced = Self.refusals(old.enforced, new.enforced)
        findings.match.audited = Self.refusals(old.audited, new.audited)
        for match in [old, new] {
          findings.below.merge(match.below)
          findings.below.merge(match.floatingBelow)
        }
      }
    default:
      matcher.match(operation.completeName, .key, wanted: asked, into: &findings.match)
    }
    return findings
  }

  private static func refusals(_ old: RuleBits, _ new: RuleBits) -> RuleBits {
    old.subtracting(.createDenied).union(new.subtracting(.deleteDenied))
  }

  private static func union(_ old: RuleMatch, _ new: RuleMatch) -> RuleMatch {
    var both = old
    both.hits += new.hits.filter { !old.hits.contains($0) }
    both.enforced.formUnion(new.enforced)
    both.audited.formUnion(new.audited)
    both.canary = max(old.canary, new.canary)
    if both.hardened < 0 || new.hardened >= 0 && new.hardened < both.hardened { both.hardened = new.hardened }
    return both
  }

  /// The complete name of a key after a rename: its parent's, and the new last component.
  static func name(of key: KeyReference, renamedTo newName: UnicodeName) -> UnicodeName {
    let units = key.completeName.units
    let parent = units.lastIndex(of: 0x5C).map { units[..<$0] } ?? []
    return UnicodeName(units: Array(parent)).appending(newName)
  }

  /// A reason to say something, and how strong it is.
  private struct Candidate {
    enum Strength: Int, Comparable {
      case nothing, watched, exempt, audited, denied
      static func < (a: Strength, b: Strength) -> Bool { a.rawValue < b.rawValue }
    }
    var strength = Strength.nothing
    var reason = Decision.Reason.untouched
    var payload: Int32 = -1

    /// Of two equally strong reasons the first one offered stays.
    mutating func offer(_ strength: Strength, _ reason: Decision.Reason, _ payload: Int32) {
      guard strength > self.strength else { return }
      self = Candidate(strength: strength, reason: reason, payload: payload)
    }
  }

  private func conclude(_ findings: Findings, _ row: FilteredClass, _ process: ProcessContext?) -> Decision {
    let standing = ProcessStanding(of: process, under: self)
    let match = findings.match
    var best = Candidate()

    func offerHardened(_ payload: Int32, _ reason: Decision.Reason) {
      guard payload >= 0 else { return }
      if standing.isExemptFromHardening {
        best.offer(.exempt, reason, payload)
      } else {
        best.offer(mode == .audit ? .audited : .denied, reason, payload)
      }
    }
    func offerRefusal(_ bits: RuleBits, audited: Bool) {
      let strength = audited ? Candidate.Strength.audited : .denied
      if bits.contains(.tamperProtectionActive) {
        best.offer(strength, .tamperProtection, hit(match, .tamperProtectionActive, audited))
      } else if !bits.isDisjoint(with: findings.refusing) {
        best.offer(
          standing.isExemptFromDenied ? .exempt : strength, .denied, hit(match, findings.refusing, audited))
      }
    }
    func offerBelow(_ payload: Int32, audited: Bool) {
      guard payload >= 0 else { return }
      let bits = matcher.payloads[Int(payload)].bits
      let isExempt = standing.isExemptFromDenied && !bits.contains(.tamperProtectionActive)
      best.offer(isExempt ? .exempt : audited ? .audited : .denied, .deniedBelow, payload)
    }

    // Nobody is exempt from the canary, and no mode switches it off.
    if match.canary >= 0 { best.offer(.denied, .canary, match.canary) }
    offerHardened(match.hardened, .hardened)
    offerRefusal(match.enforced, audited: false)
    offerHardened(findings.below.hardened, .hardenedBelow)
    offerBelow(findings.below.enforced, audited: false)
    offerRefusal(match.audited, audited: true)
    offerBelow(findings.below.audited, audited: true)
    let matched = match.enforced.union(match.audited)
    if !matched.isDisjoint(with: row.operation) {
      let watcher = match.hits.first { !matcher.payloads[Int($0)].bits.isDisjoint(with: row.operation) }
      best.offer(.watched, .watched, watcher ?? -1)
    }
    guard best.strength != .nothing, best.payload >= 0 else { return .untouched }

    var decision = Decision()
    decision.verdict = best.strength == .denied ? .deny : .allow
    decision.reason = best.reason
    decision.isAudited = best.strength == .audited
    decision.isExempt = best.strength == .exempt
    decision.matchedRules = matched
    decision.finalKeyRules = matched.intersection(row.flag)
    decision.retrievesOldValue = !matched.isDisjoint(with: row.retrieve)
    decision.rulesVersion = version
    decision.process = process
    decision.explanation = standing.explanation
    decision.asksSyncClient = standing.rules.contains(.notifyRegistryOperationSync)
    var others = match.hits.filter { $0 != best.payload }
    if match.hardened >= 0, match.hardened != best.payload { others.append(match.hardened) }
    decision.source = source(of: best.payload)
    for payload in [best.payload] + others {
      let id = id(of: payload)
      if !decision.ruleIDs.contains(id) { decision.ruleIDs.append(id) }
      let hash = matcher.payloads[Int(payload)].hash
      if !decision.hashes.contains(hash) { decision.hashes.append(hash) }
    }
    return decision
  }

  /// The first payload that holds one of `bits`.
  private func hit(_ match: RuleMatch, _ bits: RuleBits, _ audited: Bool) -> Int32 {
    match.hits.first {
      let payload = matcher.payloads[Int($0)]
      return payload.isAudited == audited && !payload.bits.isDisjoint(with: bits)
    } ?? match.hits.first ?? -1
  }

  private func id(of payload: Int32) -> String {
    let payload = matcher.payloads[Int(payload)]
    return payload.kind == .hardened ? hardened[Int(payload.rule)].id : monitored[Int(payload.rule)].id
  }

  private func source(of payload: Int32) -> RuleSource {
    let payload = matcher.payloads[Int(payload)]
    return payload.kind == .hardened ? hardened[Int(payload.rule)].source : monitored[Int(payload.rule)].source
  }
}
