package import ConfigurationManager
internal import Executive
package import ProcessTable
package import Sigma

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
    /// Query hardening: a value that such a process does not get to see.
    case queryDenied
    /// A Sigma rule that the policy has deny.
    case sigma
    /// No rule refuses, but the sync client does, or its silence.
    case syncClient
  }

  /// Changed only where the sync client has another opinion, as are `reason` and `isAudited`.
  package internal(set) var verdict: Verdict
  package internal(set) var reason: Reason
  /// Would be refused were the rule not in audit mode.
  package internal(set) var isAudited: Bool
  /// Would be refused were the process not exempt.
  package let isExempt: Bool
  /// The OR of all rules that match.
  package let matchedRules: RuleBits
  /// Of them, what belongs to this operation.
  package let finalKeyRules: RuleBits
  /// The caller's rules hold NotifyRegistryOperationSync: the sync client is to be asked first.
  package let asksSyncClient: Bool
  /// The value as it was before is to be reported.
  package let retrievesOldValue: Bool
  /// The caller; nil when unknown, or when nobody had to be asked for.
  package let process: ProcessContext?
  /// The rules that judged; nil when none had anything to say. What people are told is made from them when it is asked for:
  /// most decisions are only obeyed.
  private let rules: RuleSet?
  /// The payload that decided; -1 for none. Those of query hardening come after the matcher's (`RuleSet.id(of:)`).
  private let payload: Int32
  /// Payloads that matched, the one that decided maybe among them.
  private let hits: [Int32]
  private let hardened: Int32

  init(
    verdict: Verdict = .allow, reason: Reason = .untouched, isAudited: Bool = false, isExempt: Bool = false,
    matchedRules: RuleBits = [], finalKeyRules: RuleBits = [], retrievesOldValue: Bool = false,
    asksSyncClient: Bool = false, payload: Int32 = -1, hits: [Int32] = [], hardened: Int32 = -1,
    of rules: RuleSet? = nil, process: ProcessContext? = nil
  ) {
    self.verdict = verdict
    self.reason = reason
    self.isAudited = isAudited
    self.isExempt = isExempt
    self.matchedRules = matchedRules
    self.finalKeyRules = finalKeyRules
    self.retrievesOldValue = retrievesOldValue
    self.asksSyncClient = asksSyncClient
    self.process = process
    self.rules = rules
    self.payload = payload
    self.hits = hits
    self.hardened = hardened
  }

  /// `RuleSet.version` of the rules that judged; 0 when none had anything to say.
  package var rulesVersion: UInt64 { rules?.version ?? 0 }

  /// The rules' names, first the one that decided.
  package var ruleIDs: [String] {
    guard let rules else { return [] }
    var ids: [String] = []
    forEachParticipant { payload in
      let id = rules.id(of: payload)
      if !ids.contains(id) { ids.append(id) }
    }
    return ids
  }

  /// The Sigma rule that decided.
  package var sigmaRule: SigmaRule? { reason == .sigma ? rules?.sigmaRule(of: payload) : nil }

  /// Where the rule that decided was written.
  package var source: RuleSource? { rules?.source(of: payload) }

  package var hashes: [RuleHash] {
    guard let rules else { return [] }
    var hashes: [RuleHash] = []
    forEachParticipant { payload in
      guard let hash = rules.hash(of: payload), !hashes.contains(hash) else { return }
      hashes.append(hash)
    }
    return hashes
  }

  /// What the policy makes of the caller, for people.
  package var explanation: String { rules.map { ProcessStanding.explanation(of: process, under: $0) } ?? "" }

  /// Every payload that took part, once, first the one that decided.
  private func forEachParticipant(_ body: (Int32) -> Void) {
    guard payload >= 0 else { return }
    body(payload)
    for hit in hits where hit != payload { body(hit) }
    if hardened >= 0, hardened != payload { body(hardened) }
  }

  static let untouched = Decision()

  /// Something is to be reported once the operation was done: a rule watches it, or would have refused it. What an exempt process
  /// does unwatched is nobody's event.
  package var reportsOutcome: Bool { verdict == .allow && (isAudited || !finalKeyRules.isDisjoint(with: .anyOperation)) }
}

extension RuleSet {
  /// Judges an operation by these rules and nothing else. The process is looked up only when a rule matches; a process
  /// that cannot be found is never exempt.
  /// `currentControlSet` as for `EventEncoder`.
  package func decide(
    _ operation: RegistryOperation, currentControlSet: UInt32? = nil, process lookUp: () -> ProcessContext?
  ) -> Decision {
    judge(operation, currentControlSet, nil, lookUp)
  }

  /// The same decision with the way to it; counts nowhere as a hit. Reading a value is judged by query hardening.
  package func explain(
    _ operation: RegistryOperation, currentControlSet: UInt32? = nil, process: ProcessContext?
  ) -> Explanation {
    let trace = DecisionTrace()
    let decision: Decision
    if case .queryValueKey(_, let valueName) = operation {
      decision = judgeQuery(of: valueName, trace) { process }
    } else {
      decision = judge(operation, currentControlSet, trace) { process }
    }
    trace.note(.mode, "policy \(mode.rawValue), subtree \(subtree.rawValue), version \(version)")
    trace.note(.verdict, decision.summary)
    return Explanation(steps: trace.steps, decision: decision)
  }

  private func judge(
    _ operation: RegistryOperation, _ currentControlSet: UInt32?, _ trace: DecisionTrace?, _ lookUp: () -> ProcessContext?
  ) -> Decision {
    guard let row = FilteredClass.row(of: operation.preClass) else {
      trace?.note(.operation, "\(operation.preClass.name) is a class that the filter does not judge")
      return .untouched
    }
    trace?.note(.operation, Self.words(row, operation))
    var findings = Findings(refusing: row.denied.union(.tamperProtectionActive))
    find(operation, row, trace, &findings)
    let isAccused = sigma?.mayAccuse(operation, currentControlSet: currentControlSet) == true
    if sigma != nil, !isAccused { trace?.note(.sigma, "no rule that denies fires") }
    guard findings.touchesAnything || isAccused else {
      trace?.note(.process, "not asked for: no rule matches")
      return .untouched
    }
    let process = lookUp()
    return conclude(findings, row, process, trace) {
      isAccused ? accuser(of: operation, by: process, currentControlSet, trace) : nil
    }
  }

  /// What the tree says about an operation: of one name, or of the two of a rename.
  private struct Findings {
    var match = RuleMatch()
    /// The OR of all rules that match, also of bits that do not count at their place.
    var matched: RuleBits = []
    /// Rules below that count for this operation.
    var below = ProtectionBelow()
    /// The Denied bits that refuse it.
    var refusing: RuleBits

    var touchesAnything: Bool {
      match.hardened >= 0 || !match.hits.isEmpty || below.hardened >= 0 || below.enforced >= 0 || below.audited >= 0
    }

    mutating func take(
      _ named: ProtectionBelow, _ floating: ProtectionBelow, _ reach: FilteredClass.Reach
    ) {
      if reach == .name { return }
      below.merge(named)
      if reach == .everythingBelow { below.merge(floating) }
    }
  }

  /// The value that makes a link key point somewhere.
  private static let linkTarget = UnicodeName("SymbolicLinkValue")

  /// `findings` come in empty; they are not returned because that would copy them.
  private func find(
    _ operation: RegistryOperation, _ row: FilteredClass, _ trace: DecisionTrace?, _ findings: inout Findings
  ) {
    let isStrict = subtree == .strict && mode != .off
    if isStrict { findings.refusing.formUnion(row.strictlyDenied) }
    let wanted = row.operation.union(findings.refusing)
    // Nothing asks for the operation: the walk is for the hardening list alone.
    let asked = monitoredBits.isDisjoint(with: wanted) ? RuleBits.tamperProtectionActive : wanted
    let reach = isStrict || mode != .off && !row.isNarrowerInDriver ? row.reach : .name
    switch operation {
    case .setValueKey(let key, let valueName, _), .deleteValueKey(let key, let valueName):
      matcher.match(key.completeName, .value(valueName), wanted: asked, into: &findings.match)
      // A link's target changes: what is below its name now is elsewhere then.
      if mode != .off, valueName.units.count == Self.linkTarget.units.count, valueName.equalsIgnoringCase(Self.linkTarget) {
        var asKey = RuleMatch()
        matcher.match(key.completeName, .key, wanted: [], into: &asKey)
        findings.take(asKey.below, asKey.floatingBelow, .everythingBelow)
      }
    case .renameKey(let key, let newName):
      // The other bit of each side does not count there: Create at the old name, Delete at the new.
      var old = RuleMatch()
      matcher.match(key.completeName, .key, wanted: asked.subtracting(.createDenied), into: &old)
      var new = RuleMatch()
      matcher.match(
        Self.name(of: key, renamedTo: newName), .key, wanted: asked.subtracting(.deleteDenied), into: &new)
      findings.match = Self.union(old, new)
      // Whoever really refuses is named first: a rule with the other side's bit matches too.
      let refusing = findings.refusing
      var hits = old.hits.filter { holds($0, refusing.subtracting(.createDenied)) }
      for hit in new.hits.filter({ holds($0, refusing.subtracting(.deleteDenied)) }) + findings.match.hits
      where !hits.contains(hit) {
        hits.append(hit)
      }
      findings.match.hits = hits
      findings.matched = findings.match.enforced.union(findings.match.audited)
      findings.match.enforced = Self.refusals(old.enforced, new.enforced)
      findings.match.audited = Self.refusals(old.audited, new.audited)
      findings.take(old.below, old.floatingBelow, reach)
      findings.take(new.below, new.floatingBelow, reach)
    case .createKey(let completeName, _, let options):
      matcher.match(completeName, .key, wanted: asked, into: &findings.match)
      // Whoever comes through a link acts on other keys than the rules below its name speak of.
      findings.take(
        findings.match.below, findings.match.floatingBelow,
        mode != .off && options.contains(.createLink) ? .everythingBelow : .name)
    default:
      matcher.match(
        operation.completeName, .key, wanted: asked, ofValues: row.deniedByValues, into: &findings.match)
      findings.take(findings.match.below, findings.match.floatingBelow, reach)
    }
    findings.matched.formUnion(findings.match.enforced.union(findings.match.audited))
    if let trace { note(findings, row, trace) }
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

  private func conclude(
    _ findings: Findings, _ row: FilteredClass, _ process: ProcessContext?, _ trace: DecisionTrace?, sigma: () -> Int32?
  ) -> Decision {
    let standing = ProcessStanding(of: process, under: self)
    if let trace { note(process, trace) }
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
        best.offer(strength, .tamperProtection, hit(findings.match, .tamperProtectionActive, audited))
      } else if !bits.isDisjoint(with: findings.refusing) {
        best.offer(
          standing.isExemptFromDenied ? .exempt : strength, .denied, hit(findings.match, findings.refusing, audited))
      }
    }
    func offerBelow(_ payload: Int32, _ tamper: Int32, audited: Bool) {
      let strength = audited ? Candidate.Strength.audited : .denied
      if payload >= 0 { best.offer(standing.isExemptFromDenied ? .exempt : strength, .deniedBelow, payload) }
      if tamper >= 0 { best.offer(strength, .deniedBelow, tamper) }
    }

    // Nobody is exempt from the canary, and no mode switches it off.
    if findings.match.canary >= 0 { best.offer(.denied, .canary, findings.match.canary) }
    offerHardened(findings.match.hardened, .hardened)
    offerRefusal(findings.match.enforced, audited: false)
    offerHardened(findings.below.hardened, .hardenedBelow)
    offerBelow(findings.below.enforced, findings.below.enforcedTamper, audited: false)
    if best.strength < .denied, let payload = sigma() {
      best.offer(standing.isExemptFromDenied ? .exempt : mode == .audit ? .audited : .denied, .sigma, payload)
    }
    offerRefusal(findings.match.audited, audited: true)
    offerBelow(findings.below.audited, findings.below.auditedTamper, audited: true)
    let matched = findings.matched
    if !matched.isDisjoint(with: row.operation) {
      let watcher = findings.match.hits.first { !matcher.payloads[Int($0)].bits.isDisjoint(with: row.operation) }
      best.offer(.watched, .watched, watcher ?? -1)
    }
    guard best.strength != .nothing, best.payload >= 0 else { return .untouched }

    if trace == nil {
      hits.raise(best.payload)
      for hit in findings.match.hits where hit != best.payload { hits.raise(hit) }
      if findings.match.hardened >= 0, findings.match.hardened != best.payload { hits.raise(findings.match.hardened) }
    }
    // In one go: a decision that is changed after it was made is copied on its way out.
    return Decision(
      verdict: best.strength == .denied ? .deny : .allow, reason: best.reason, isAudited: best.strength == .audited,
      isExempt: best.strength == .exempt, matchedRules: matched, finalKeyRules: matched.intersection(row.flag),
      retrievesOldValue: !matched.isDisjoint(with: row.retrieve),
      asksSyncClient: standing.rules.contains(.notifyRegistryOperationSync), payload: best.payload,
      hits: findings.match.hits, hardened: findings.match.hardened, of: self, process: process)
  }

  private func holds(_ payload: Int32, _ bits: RuleBits) -> Bool {
    !matcher.payloads[Int(payload)].bits.isDisjoint(with: bits)
  }

  /// The first payload that holds one of `bits`.
  private func hit(_ match: RuleMatch, _ bits: RuleBits, _ audited: Bool) -> Int32 {
    match.hits.first {
      let payload = matcher.payloads[Int($0)]
      return payload.isAudited == audited && !payload.bits.isDisjoint(with: bits)
    } ?? match.hits.first ?? -1
  }

  /// Payloads are counted on: first the matcher's, then one for each value that is not read.
  func payload(ofQueryDenied place: Int) -> Int32 { Int32(matcher.payloads.count + place) }

  private func queryDenied(of payload: Int32) -> QueryDeniedValue? {
    let place = Int(payload) - matcher.payloads.count
    return queryDenied.indices.contains(place) ? queryDenied[place] : nil
  }

  /// Behind those come the Sigma rules that deny.
  private func payload(ofSigma place: Int) -> Int32 { Int32(matcher.payloads.count + queryDenied.count + place) }

  func sigmaRule(of payload: Int32) -> SigmaRule? {
    let place = Int(payload) - matcher.payloads.count - queryDenied.count
    return place < 0 ? nil : sigma?.denying.rules[place]
  }

  private func accuser(
    of operation: RegistryOperation, by process: ProcessContext?, _ currentControlSet: UInt32?, _ trace: DecisionTrace?
  ) -> Int32? {
    guard let sigma else { return nil }
    let (certain, pending) = sigma.accuser(of: operation, by: process, currentControlSet: currentControlSet)
    if let trace {
      func note(_ place: Int, _ word: String) {
        let rule = sigma.denying.rules[place]
        trace.note(.sigma, "'\(rule.id)' (\(rule.source)) \(word): \(rule.title)")
      }
      if let certain { note(certain, "fires") }
      if let pending { note(pending, "fires or not by the data, which is judged when it is set") }
      if certain == nil, pending == nil { trace.note(.sigma, "no rule that denies fires") }
    }
    return certain.map { payload(ofSigma: $0) }
  }

  func id(of payload: Int32) -> String {
    if let entry = queryDenied(of: payload) { return entry.id }
    if let rule = sigmaRule(of: payload) { return rule.id }
    let payload = matcher.payloads[Int(payload)]
    return payload.kind == .hardened ? hardened[Int(payload.rule)].id : monitored[Int(payload.rule)].id
  }

  func source(of payload: Int32) -> RuleSource {
    if let entry = queryDenied(of: payload) { return entry.source }
    if let rule = sigmaRule(of: payload) { return RuleSource(file: rule.file, line: rule.line) }
    let payload = matcher.payloads[Int(payload)]
    return payload.kind == .hardened ? hardened[Int(payload.rule)].source : monitored[Int(payload.rule)].source
  }

  /// nil for a value that is not read and for a Sigma rule: they have none.
  func hash(of payload: Int32) -> RuleHash? {
    Int(payload) < matcher.payloads.count ? matcher.payloads[Int(payload)].hash : nil
  }

  // MARK: Notes

  private func note(_ findings: Findings, _ row: FilteredClass, _ trace: DecisionTrace) {
    let match = findings.match
    if match.hardened >= 0 {
      trace.note(.hardening, "'\(id(of: match.hardened))' (\(source(of: match.hardened))) covers the name")
    } else {
      trace.note(.hardening, "no entry covers the name")
    }
    for hit in match.hits { trace.note(.monitored, words(hit)) }
    if match.hits.isEmpty {
      trace.note(.monitored, "no entry matches that holds one of \(Self.words(row.operation.union(findings.refusing)))")
    }
    for (payload, isAudited) in [
      (findings.below.hardened, false), (findings.below.enforced, false), (findings.below.audited, true),
    ] where payload >= 0 {
      trace.note(
        .below, "'\(id(of: payload))' (\(source(of: payload))) protects something there\(isAudited ? ", audited" : "")")
    }
  }

  private func note(_ process: ProcessContext?, _ trace: DecisionTrace) {
    trace.note(.process, ProcessStanding.explanation(of: process, under: self))
    for doubt in process?.doubts ?? [] { trace.note(.process, "doubt: \(doubt.rawValue)") }
  }

  /// One matched entry: its rule, which of its lists, bits, hash.
  private func words(_ payload: Int32) -> String {
    let entry = matcher.payloads[Int(payload)]
    let rule = monitored[Int(entry.rule)]
    let list: String
    switch entry.valueEntry {
    case RulePayload.ofKey: list = "the key's list"
    case RulePayload.ofAnyValue: list = "the key's list, for any value"
    case let place:
      let name = rule.values[Int(place)].name
      list = name.map { $0.isEmpty ? "the default value" : "value '\($0)'" } ?? "any value"
    }
    return "'\(rule.id)' (\(rule.source)) \(rule.key.text), \(list): \(Self.words(entry.bits)), hash "
      + entry.hash.hexadecimal + (entry.isAudited ? ", audited" : "")
  }

  private static func words(_ bits: RuleBits) -> String {
    "0x\(String(bits.rawValue, radix: 16, uppercase: true)) (\(bits.names.joined(separator: ", ")))"
  }

  private static func words(_ row: FilteredClass, _ operation: RegistryOperation) -> String {
    var text = "\(row.pre.name) \(operation.completeName)"
    if case .renameKey(let key, let newName) = operation { text += " to \(name(of: key, renamedTo: newName))" }
    if let valueName = operation.valueName { text += ", value \(valueName.isEmpty ? "(Default)" : "\(valueName)")" }
    if row.flag.isEmpty { return text + ": asks the hardening list only" }
    return text + ": asks for \(words(row.flag))" + (row.isBeyondDriver ? ", beyond the driver" : "")
  }

}

extension Decision {
  /// `deny: denied, rule 'defender-policy' (policy.yaml:12)`.
  package var summary: String {
    let allowed = isAudited ? "allow (audited: would be refused)" : "allow"
    let because = isExempt ? "exempt from \(reason.rawValue)" : reason.rawValue
    let rule = ruleIDs.first.map { ", rule '\($0)'" } ?? ""
    return (verdict == .deny ? "deny" : allowed) + ": " + because + rule + (source.map { " (\($0))" } ?? "")
  }
}

extension RegistryOperation {
  /// The value that the operation is about.
  var valueName: UnicodeName? {
    switch self {
    case .setValueKey(_, let name, _), .deleteValueKey(_, let name), .queryValueKey(_, let name),
      .enumerateValueKey(_, _, let name):
      name
    default: nil
    }
  }
}
