internal import Executive
package import Notifications
internal import Sigma

/// Where a rule was written.
package struct RuleSource: Hashable, Sendable, CustomStringConvertible {
  package let file: String
  package let line: Int
  /// 0 where nobody said.
  package let column: Int

  package init(file: String, line: Int, column: Int = 0) {
    self.file = file
    self.line = line
    self.column = column
  }

  package static let builtIn = RuleSource(file: "built-in", line: 0)

  package var description: String { line > 0 ? "\(file):\(line)" : file }
}

/// Whether rules refuse, only log what they would refuse, or are not asked. In the order of strength.
package enum RuleMode: String, Sendable, CaseIterable, Comparable {
  case off, audit, enforce

  package static func < (a: RuleMode, b: RuleMode) -> Bool { a.strength < b.strength }

  private var strength: Int {
    switch self {
    case .off: 0
    case .audit: 1
    case .enforce: 2
    }
  }
}

/// How far a protected key reaches upwards.
package enum SubtreeMode: String, Sendable, CaseIterable {
  /// Ancestors, and names that would become ancestors, are judged too (wdfilter.md 4, rows 1 to 3).
  case strict
  /// The driver's own check: the names themselves.
  case faithful
}

/// One key of the hardening list.
package struct HardenedKey: Hashable, Sendable {
  package enum Match: String, Sendable, CaseIterable {
    /// The key and everything below it.
    case component
    /// Every name that begins so: the driver's own comparison.
    case stringPrefix = "string-prefix"
  }

  package let pattern: KeyPattern
  package let match: Match
  package let source: RuleSource
  /// The key that must always be refused; the self-test at start-up asks for it.
  package let isCanary: Bool

  package init(pattern: KeyPattern, match: Match = .component, source: RuleSource, isCanary: Bool = false) {
    self.pattern = pattern
    self.match = match
    self.source = source
    self.isCanary = isCanary
  }

  /// Every key that `other` matches is hardened by this one.
  package func covers(_ other: KeyPattern) -> Bool { pattern.withDescendants.covers(other) }

  /// How the key is called in refusals and events.
  package var id: String { "hardened: \(pattern.text)" }
}

/// The hardening list of the product (MpRegCreateHardeningList): there whatever the policy says.
package enum HardeningList {
  package static let canaryService = "MpHardCodedBlockHive"

  package static let services = ["WdNisDrv", "WdNisSvc", "WdBoot", "WinDefend", "WdFilter", canaryService]

  /// Who changes it chooses the control set that counts: the services would be protected in one that nobody reads
  /// (wdfilter.md 4, row 6).
  static let select = #"HKLM\SYSTEM\Select"#

  package static var keys: [HardenedKey] {
    let services = services.compactMap { service in
      KeyPattern(service: service).map {
        HardenedKey(pattern: $0, source: .builtIn, isCanary: service == canaryService)
      }
    }
    guard let select = try? KeyPattern(select) else { return services }
    return services + [HardenedKey(pattern: select, source: .builtIn)]
  }
}

/// What a rule says about the values of its key.
package struct ValueRule: Hashable, Sendable {
  /// nil: any value, the default value included, whose own name is empty.
  package let name: String?
  package let rules: RuleBits

  package init(name: String?, rules: RuleBits) {
    self.name = name
    self.rules = rules
  }
}

/// One monitored key (MP_KEY_ENTRY).
package struct MonitoredRule: Hashable, Sendable {
  package let id: String
  package let key: KeyPattern
  package let mode: RuleMode
  package let rules: RuleBits
  package let values: [ValueRule]
  /// nil: derived from the id and the rule word.
  package let hash: RuleHash?
  package let source: RuleSource

  package init(
    id: String, key: KeyPattern, mode: RuleMode = .enforce, rules: RuleBits, values: [ValueRule] = [],
    hash: RuleHash? = nil, source: RuleSource
  ) {
    self.id = id
    self.key = key
    self.mode = mode
    self.rules = rules
    self.values = values
    self.hash = hash
    self.source = source
  }
}

/// All rules of one policy, compiled; never changed, only replaced whole (MpRegUpdateData).
package final class RuleSet: Sendable {
  /// 1 at mount, one up with each update; in every event.
  package let version: UInt64
  package let mode: RuleMode
  package let subtree: SubtreeMode
  /// Watched operations that fail are reported too, with their status (report_failures).
  package let reportsFailures: Bool
  package let sync: SyncConfiguration
  package let queue: QueuePolicy
  /// The policy's entries first, then the product's, so that a refusal names a line of the policy where there is one.
  package let hardened: [HardenedKey]
  package let monitored: [MonitoredRule]
  package let processes: [ProcessRule]
  package let exclusions: [ExcludedExecutable]
  /// Values that are not read by processes with certain flags.
  package let queryDenied: [QueryDeniedValue]
  let queryDeniedNames: [UnicodeName]
  /// Nil where the rules are off.
  package let sigma: SigmaPolicy?
  let matcher: RuleMatcher
  let hits: HitCounters
  /// The OR of all rules (MonitoredKeysRules).
  package let monitoredBits: RuleBits
  // What only a classification asks stands last: what each decision reads lies together (measured, 15 ns).
  let documents: DocumentOpenList
  /// Added by message: their processes are Friendly whatever the entries of the policy say.
  package let friendly: [ProcessRule]
  /// Changed by message.
  let processChanges: [ProcessKey: ProcessChange]

  package init(
    mode: RuleMode = .enforce, subtree: SubtreeMode = .strict, hardened: [HardenedKey] = [],
    monitored: [MonitoredRule] = [], processes: [ProcessRule] = [], exclusions: [ExcludedExecutable] = [],
    documentRules: [DocumentOpenEntry] = [],
    queryDenied: [QueryDeniedValue] = QueryDeniedValue.standard, reportsFailures: Bool = false,
    sync: SyncConfiguration = SyncConfiguration(), queue: QueuePolicy = QueuePolicy(), sigma: SigmaPolicy? = nil,
    version: UInt64 = 1
  ) {
    self.sigma = mode == .off ? nil : sigma
    self.version = version
    self.reportsFailures = reportsFailures
    self.sync = sync
    self.queue = queue
    self.queryDenied = queryDenied
    queryDeniedNames = queryDenied.map { UnicodeName($0.valueName) }
    self.mode = mode
    self.subtree = subtree
    self.hardened = hardened + HardeningList.keys
    self.monitored = monitored
    self.processes = processes
    self.exclusions = exclusions
    documents = DocumentOpenList(documentRules)
    friendly = []
    processChanges = [:]

    var entries: [RuleMatcher.Entry] = []
    for (index, key) in self.hardened.enumerated() where mode != .off || key.isCanary {
      let payload = RulePayload(
        kind: .hardened, rule: Int32(index), bits: [], isAudited: mode == .audit,
        hash: RuleHash(ruleID: key.id, rules: [], valueName: nil), isCanary: key.isCanary)
      let isPrefix = key.match == .stringPrefix && key.pattern.endsInName
      entries.append(
        RuleMatcher.Entry(
          pattern: isPrefix ? key.pattern : key.pattern.withDescendants, isPrefix: isPrefix, key: payload))
    }
    var bits: RuleBits = []
    for (index, rule) in monitored.enumerated() {
      // Audit means that nothing is refused, whatever a single rule asks for.
      let effective = min(mode, rule.mode)
      guard effective != .off else { continue }
      func payload(_ rules: RuleBits, _ valueEntry: Int32, _ valueName: String?) -> RulePayload {
        bits.formUnion(rules)
        return RulePayload(
          kind: .monitored, rule: Int32(index), valueEntry: valueEntry, bits: rules, isAudited: effective == .audit,
          hash: rule.hash ?? RuleHash(ruleID: rule.id, rules: rules, valueName: valueName))
      }
      var entry = RuleMatcher.Entry(pattern: rule.key, key: payload(rule.rules, RulePayload.ofKey, nil))
      entry.values = zip(Int32(0)..., rule.values).map { place, value in
        (value.name.map { UnicodeName($0) }, payload(value.rules, place, value.name ?? "*"))
      }
      let ofAnyValue = rule.rules.intersection(.valueBitsOfKeyList)
      if !ofAnyValue.isEmpty { entry.values.append((nil, payload(ofAnyValue, RulePayload.ofAnyValue, nil))) }
      entries.append(entry)
    }
    monitoredBits = bits
    matcher = RuleMatcher(entries)
    hits = HitCounters(count: matcher.payloads.count + queryDenied.count + (sigma?.denying.rules.count ?? 0))
  }

  /// The rules of a policy with what messages have put beside it: the same tree, and the same counts of hits.
  package init(_ policy: RuleSet, amendedBy amendments: Amendments, version: UInt64) {
    self.version = version
    mode = policy.mode
    subtree = policy.subtree
    reportsFailures = policy.reportsFailures
    sync = policy.sync
    queue = policy.queue
    hardened = policy.hardened
    monitored = policy.monitored
    processes = policy.processes
    exclusions = amendments.exclusions ?? policy.exclusions
    documents = amendments.documentRules.map { DocumentOpenList($0) } ?? policy.documents
    friendly = amendments.friendly
    processChanges = amendments.processes
    queryDenied = policy.queryDenied
    queryDeniedNames = policy.queryDeniedNames
    sigma = policy.sigma
    matcher = policy.matcher
    hits = policy.hits
    monitoredBits = policy.monitoredBits
  }

  package var documentRules: [DocumentOpenEntry] { documents.entries }

  /// A Sigma rule is about operations of a pre class.
  func isWatchedBySigma(_ preClass: NotifyClass) -> Bool {
    sigma.map { $0.watched & preClass.bit != 0 } == true
  }

  /// One that denies is.
  func isJudgedBySigma(_ preClass: NotifyClass) -> Bool {
    sigma.map { $0.judged & preClass.bit != 0 } == true
  }

  /// The classes that these rules need to see, pre and post.
  package var interests: UInt64 {
    FilteredClass.table.reduce(0) { mask, row in
      let isMonitored = !monitoredBits.isDisjoint(with: row.flag.union(.tamperProtectionActive))
      return row.asksHardeningList || isMonitored || isWatchedBySigma(row.pre) ? mask | row.pre.bit | row.post.bit : mask
    }
  }
}
