/// The specification of the filter once more, in strings, lists and loops: nothing is compiled, nothing is remembered, and
/// nothing of the engine is used. Comments quote the sentence that a line stands for; numbers are sections of wdfilter.md.
struct DecisionModel {
  enum Kind: String, CaseIterable {
    case create, createLink, setValue, setLinkTarget, deleteValue, deleteLinkTarget, deleteKey, rename, setInformation
    case setSecurity, restore, replace, load, unload
  }

  enum Mode: Int, CaseIterable { case off, audit, enforce }

  struct Rule {
    /// Components below the root, `*` and `**` among them.
    var key: String
    var mode: Mode
    /// The key's client list.
    var bits: UInt32
    /// The key's value list; a nil name is any value.
    var values: [(name: String?, bits: UInt32)]
  }

  struct HardenedKey {
    var key: String
    var isStringPrefix = false
    var isCanary = false
  }

  /// Flags and rules of a known process.
  struct Caller {
    var flags: UInt32
    var rules: UInt32
  }

  struct Outcome: Equatable {
    var isDenied = false
    var reason = "untouched"
    var isAudited = false
    var isExempt = false
    var matchedRules: UInt32 = 0
    var finalKeyRules: UInt32 = 0
    var retrievesOldValue = false
  }

  var mode: Mode
  var isStrict: Bool
  var hardened: [HardenedKey]
  var rules: [Rule]

  // MARK: 3.1

  private static let tamperProtectionActive: UInt32 = 0x400000
  private static let createDenied: UInt32 = 0x10000
  private static let deleteDenied: UInt32 = 0x40000
  private static let setValueDenied: UInt32 = 0x80000
  private static let everyDenied: UInt32 = 0x3F0000 | tamperProtectionActive

  /// "The flag asked for is Operation | Denied: create 0x10001, rename 0x20004, delete key 0x40010, set value 0x80100, delete
  /// value 0x40800, restore 0x204000, replace 0x108000."
  private static func flag(_ kind: Kind) -> (operation: UInt32, denied: UInt32) {
    switch kind {
    case .create, .createLink: (0x1, 0x10000)
    case .rename: (0x4, 0x20000)
    case .deleteKey: (0x10, 0x40000)
    case .setValue, .setLinkTarget: (0x100, 0x80000)
    case .deleteValue, .deleteLinkTarget: (0x800, 0x40000)
    case .restore: (0x4000, 0x200000)
    case .replace: (0x8000, 0x100000)
    // 4 row 8: "SetKeySecurity judged as SetValueDenied ∨ DeleteDenied on the key".
    case .setSecurity: (0, setValueDenied | deleteDenied)
    // 4 row 4: "content arrives with a loaded hive: load is judged …; unload likewise": what comes is created and set, what
    // goes is deleted.
    case .load: (0, createDenied | setValueDenied)
    case .unload: (0, deleteDenied)
    // No bit is about it: for the hardening list, and for TamperProtectionActive, "denied for every process".
    case .setInformation: (0, 0)
    }
  }

  /// "SetValueRetrieveKeyValueInfo 0x400", "DeleteValueRetrieveKeyValueInfo 0x2000".
  private static func retrieve(_ kind: Kind) -> UInt32 {
    switch kind {
    case .setValue, .setLinkTarget: 0x400
    case .deleteValue, .deleteLinkTarget: 0x2000
    default: 0
    }
  }

  private static func isAboutValue(_ kind: Kind) -> Bool { flag(kind).operation & 0x900 != 0 }

  /// Bits about values: in a key's own list they mean any value of the key (policy.md, `run-keys`). DeleteDenied is not one of
  /// them: "of a key in a key's list, of a value in a value's list".
  private static let aboutValues: UInt32 = 0x100 | 0x400 | 0x800 | 0x2000 | setValueDenied | tamperProtectionActive

  // MARK: 3.2

  /// 3: "the caller is none of System, MsMpEng, Friendly, MpServiceSid". 4 row 11: "no exemption without a known process".
  private static func isExemptFromHardening(_ caller: Caller?) -> Bool {
    guard let caller else { return false }
    return caller.flags & (0x8 | 0x20 | 0x10) != 0
  }

  /// "Exempt from Denied bits: process rule AllowAllRegistryOperations, flags Excluded, Friendly, MpServiceSid."
  private static func isExemptFromDenied(_ caller: Caller?) -> Bool {
    guard let caller else { return false }
    return caller.rules & 0x400 != 0 || caller.flags & (0x1 | 0x20 | 0x10) != 0
  }

  // MARK: Names

  /// 4 row 6: "one canonical form" of all control sets. 3.3: "case-insensitive".
  private static func components(_ name: String) -> [String] {
    var parts = name.uppercased().split(separator: "\\").map { String($0) }
    if parts.count > 3, parts[2] == "SYSTEM", parts[3].hasPrefix("CONTROLSET"), parts[3].count >= 13,
      parts[3].dropFirst(10).allSatisfy({ "0123456789".contains($0) })
    {
      parts[3] = "CURRENTCONTROLSET"
    }
    return parts
  }

  private static func text(_ name: String) -> String { components(name).joined(separator: "\\") }

  /// How a rule's key stands to a name: a rule can match a name and live below it, too.
  private struct Place: OptionSet {
    let rawValue: Int
    /// "Only an entry that consumes the whole name matches."
    static let here = Place(rawValue: 1)
    /// Keys below the name match, at a place that the rule names.
    static let below = Place(rawValue: 2)
    /// Keys below the name match, where a `**` that already took something may put them.
    static let maybeBelow = Place(rawValue: 4)
  }

  /// 3.3: "a literal, or skips exactly n components, or any number, also none".
  private static func place(_ pattern: ArraySlice<String>, _ name: ArraySlice<String>, taken: Bool = false) -> Place {
    guard let wanted = pattern.first else { return name.isEmpty ? .here : [] }
    guard let component = name.first else {
      let isBelow: Place = taken ? .maybeBelow : .below
      return pattern.allSatisfy { $0 == "**" } ? [.here, isBelow] : isBelow
    }
    if wanted == "**" {
      return place(pattern.dropFirst(), name, taken: taken).union(place(pattern, name.dropFirst(), taken: true))
    }
    return wanted == "*" || wanted == component ? place(pattern.dropFirst(), name.dropFirst(), taken: taken) : []
  }

  // MARK: 3, the main callback

  func judge(_ kind: Kind, key: String, value: String, newName: String, by caller: Caller?) -> Outcome {
    var refusals: [Refusal] = []
    let isRename = kind == .rename
    // "Rename: the object's name and parent + new name. Others: the object's name."
    let renamed = isRename ? String(key[..<(key.lastIndex(of: "\\") ?? key.startIndex)]) + "\\" + newName : ""
    let names = isRename ? [key, renamed] : [key]

    // "Hardened keys." 3.4: "a canary that must always be denied".
    let covering = hardened.filter { entry in names.contains { covers(entry, $0) } }
    if covering.contains(where: \.isCanary) { refusals.append(Refusal("canary", .denied)) }
    // policy.md: "audit (log what would be refused, refuse nothing) | off".
    let hardening: Strength = Self.isExemptFromHardening(caller) ? .exempt : mode == .audit ? .audited : .denied
    // "A match is STATUS_ACCESS_DENIED, whatever the operation."
    if !covering.isEmpty, mode != .off { refusals.append(Refusal("hardened", hardening)) }

    // "Monitored keys."
    let matches: [Match]
    if isRename {
      // 3.3: "Rename matches the old and the new name; a match of either denies, rules are ORed." 4 row 1: away from the old
      // name like a delete, to the new one like a create.
      matches =
        entries(kind, key, value, alsoDenied: isStrict ? Self.deleteDenied : 0)
        + entries(kind, renamed, value, alsoDenied: isStrict ? Self.createDenied : 0)
    } else {
      // 4 row 2: restore "counts as create + delete + set on the whole subtree"; row 3: replace the same at the hive's root.
      let isWholesale = kind == .restore || kind == .replace
      matches = entries(kind, key, value, alsoDenied: isStrict && isWholesale ? Self.everyDenied : 0)
    }
    let reached = names.flatMap { self.reached(kind, $0) }
    for isAudited in [false, true] {
      let direct = matches.filter { $0.isAudited == isAudited }
      let strength: Strength = isAudited ? .audited : .denied
      // "TamperProtectionActive in the matched rules → denied for every process without exception."
      if direct.contains(where: { $0.refusing & Self.tamperProtectionActive != 0 }) {
        refusals.append(Refusal("tamperProtection", strength))
      }
      // "The matched rules hold the operation's Denied bit and the process is not exempt → denied."
      if direct.contains(where: { $0.refusing != 0 }) {
        refusals.append(Refusal("denied", Self.isExemptFromDenied(caller) ? .exempt : strength))
      }
      // 4 row 1: "does a rule live below". SEMANTICS 6.4: "A Denied bit below counts like a hardened key."
      if !isAudited, mode != .off, names.contains(where: { isHardenedBelow(kind, $0) }) {
        refusals.append(Refusal("hardenedBelow", hardening))
      }
      for below in reached where below.isAudited == isAudited {
        let isExempt = Self.isExemptFromDenied(caller) && below.bits & Self.tamperProtectionActive == 0
        refusals.append(Refusal("deniedBelow", isExempt ? .exempt : strength))
      }
    }

    // "OR the rules."
    let matched = matches.reduce(0) { $0 | $1.bits }
    // "Otherwise, if they hold the Operation bit → a call context is made."
    if matched & Self.flag(kind).operation != 0 { refusals.append(Refusal("watched", .watched)) }
    // Whatever refuses comes before what only would; of equals the first that was asked.
    var strongest: Refusal?
    for refusal in refusals where refusal.strength.rawValue > strongest?.strength.rawValue ?? -1 { strongest = refusal }
    guard let strongest else { return Outcome() }
    let flag = Self.flag(kind)
    return Outcome(
      isDenied: strongest.strength == .denied, reason: strongest.reason, isAudited: strongest.strength == .audited,
      isExempt: strongest.strength == .exempt, matchedRules: matched,
      // "FinalKeyRules in a notification = matched rules ∧ that flag."
      finalKeyRules: matched & (flag.operation | flag.denied),
      // "with the old value's type and data when the Retrieve bit is set".
      retrievesOldValue: matched & Self.retrieve(kind) != 0)
  }

  private enum Strength: Int { case watched, exempt, audited, denied }

  private struct Refusal {
    let reason: String
    let strength: Strength
    init(_ reason: String, _ strength: Strength) {
      self.reason = reason
      self.strength = strength
    }
  }

  // MARK: 3.4

  private func covers(_ entry: HardenedKey, _ name: String) -> Bool {
    let key = Self.text(entry.key)
    let name = Self.text(name)
    // "The driver matches by bare string prefix"; here "component boundary" unless `match: string-prefix`.
    return entry.isStringPrefix ? name.hasPrefix(key) : name == key || name.hasPrefix(key + "\\")
  }

  private func isHardenedBelow(_ kind: Kind, _ name: String) -> Bool {
    reach(kind) != [] && hardened.contains { Self.text($0.key).hasPrefix(Self.text(name) + "\\") }
  }

  // MARK: 3.3

  private struct Match {
    let bits: UInt32
    let refusing: UInt32
    let isAudited: Bool
  }

  /// policy.md: a rule's own mode; "audit: nothing is enforced", whatever a single rule says.
  private func effectiveMode(_ rule: Rule) -> Mode { rule.mode.rawValue < mode.rawValue ? rule.mode : mode }

  /// MpRegMatchData(key, value name, flags): the entries that match and hold one of the bits that are asked for.
  private func entries(_ kind: Kind, _ name: String, _ value: String, alsoDenied: UInt32) -> [Match] {
    let flag = Self.flag(kind)
    let denied = flag.denied | Self.tamperProtectionActive | alsoDenied
    var found: [Match] = []
    for rule in rules where effectiveMode(rule) != .off {
      guard Self.place(Self.components(rule.key)[...], Self.components(name)[...]).contains(.here) else { continue }
      var words: [UInt32] = []
      if Self.isAboutValue(kind) {
        // "For set and delete value, the entry's value list is used and the value name must match too; a value entry without
        // a name means any value (the default value included)."
        for entry in rule.values where entry.name == nil || entry.name?.uppercased() == value.uppercased() {
          words.append(entry.bits)
        }
        words.append(rule.bits & Self.aboutValues)
      } else {
        // "For every other class the entry's client list is used."
        words.append(rule.bits)
        if kind == .setSecurity {
          // 4 row 8: "security first, then edit": the values can be set then, so what forbids that counts here.
          words += rule.values.map { $0.bits & (Self.setValueDenied | Self.tamperProtectionActive) }
        }
      }
      for bits in words where bits & (flag.operation | denied) != 0 {
        found.append(Match(bits: bits, refusing: bits & denied, isAudited: effectiveMode(rule) == .audit))
      }
    }
    return found
  }

  // MARK: 4

  /// Which rules below a name an operation reaches.
  private func reach(_ kind: Kind) -> Place {
    // 4: "subtree: faithful restores the driver's own narrower check for rows 1 to 3": what moves, replaces or deletes a key.
    if !isStrict, [.rename, .restore, .replace, .deleteKey].contains(kind) { return [] }
    switch kind {
    // Rows 1 to 5: what moves, replaces or hides all that is below a name, whatever it may be.
    case .rename, .restore, .replace, .load, .unload, .createLink, .setLinkTarget, .deleteLinkTarget:
      return [.below, .maybeBelow]
    // SEMANTICS 6.4: "Deleting … above a protected key". Only a key without subkeys can be deleted, so what a ** might put
    // below it is not there.
    case .deleteKey: return .below
    default: return []
    }
  }

  /// Denied bits below a name, and those of its values, which go with it.
  private func reached(_ kind: Kind, _ name: String) -> [(bits: UInt32, isAudited: Bool)] {
    let reach = reach(kind)
    guard reach != [] else { return [] }
    var found: [(bits: UInt32, isAudited: Bool)] = []
    for rule in rules where effectiveMode(rule) != .off {
      let place = Self.place(Self.components(rule.key)[...], Self.components(name)[...])
      var words: [UInt32] = []
      if place.contains(.here) { words += rule.values.map(\.bits) + [rule.bits & Self.aboutValues] }
      if !place.isDisjoint(with: reach) { words += rule.values.map(\.bits) + [rule.bits] }
      for bits in words where bits & Self.everyDenied != 0 { found.append((bits, effectiveMode(rule) == .audit)) }
    }
    return found
  }
}
