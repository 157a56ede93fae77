package import ProcessTable

/// A path of an executable, or a pattern of one: `*` and `?` stay within a component, `**` does not (so the driver's
/// prefix wildcard is `/folder/**`).
package struct ExecutablePattern: Hashable, Sendable {
  package let text: String
  private let units: [UInt8]
  /// How many of the units come before the first wildcard.
  private let literalCount: Int

  /// nil unless `text` is an absolute path.
  package init?(_ text: String) {
    guard text.hasPrefix("/") else { return nil }
    self.init(text, units: text)
  }

  /// A file of that name in any folder; nil for a path.
  package init?(fileName: String) {
    guard !fileName.isEmpty, !fileName.contains("/") else { return nil }
    self.init(fileName, units: "/**/" + fileName)
  }

  private init(_ text: String, units path: String) {
    self.text = text
    units = Array(path.utf8)
    literalCount = units.firstIndex { $0 == UInt8(ascii: "*") || $0 == UInt8(ascii: "?") } ?? units.count
  }

  /// It may name more than one file.
  package var isGlob: Bool { literalCount < units.count }

  /// Most patterns are plain paths, or ruled out by their beginning: no memory is needed for those.
  func matches(_ path: String) -> Bool {
    guard path.utf8.starts(with: units.prefix(literalCount)) else { return false }
    return isGlob ? matchesGlob(path) : path.utf8.count == literalCount
  }

  /// Keeps for each prefix of the path whether the pattern so far takes just that: the work is the product of the
  /// lengths, whatever the pattern.
  private func matchesGlob(_ path: String) -> Bool {
    let path = Array(path.utf8)
    let slash = UInt8(ascii: "/")
    var reached = [Bool](repeating: false, count: path.count + 1)
    reached[0] = true
    var index = 0
    while index < units.count {
      let unit = units[index]
      index += 1
      if unit == UInt8(ascii: "*") {
        let crossesSlashes = index < units.count && units[index] == unit
        if crossesSlashes { index += 1 }
        for position in path.indices where reached[position] && (crossesSlashes || path[position] != slash) {
          reached[position + 1] = true
        }
      } else {
        for position in path.indices.reversed() {
          let fits = unit == UInt8(ascii: "?") ? path[position] != slash : path[position] == unit
          reached[position + 1] = reached[position] && fits
        }
        reached[0] = false
      }
    }
    return reached[path.count]
  }
}

/// One entry of the policy's `processes`.
package struct ProcessRule: Hashable, Sendable {
  package let id: String
  package let when: ProcessPattern
  /// nil: the entry says nothing about flags, and a later one may.
  package let flags: ProcessFlags?
  package let rules: ProcessRules?
  package let source: RuleSource

  package init(id: String, when: ProcessPattern, flags: ProcessFlags?, rules: ProcessRules?, source: RuleSource) {
    self.id = id
    self.when = when
    self.flags = flags
    self.rules = rules
    self.source = source
  }

  /// It frees a process from rules.
  package var givesPrivileges: Bool {
    !(flags ?? []).isDisjoint(with: .privileges) || (rules ?? []).contains(.allowAllRegistryOperations)
  }
}

/// One entry of the policy's `exclusions` (MpSetProcessExempt's list): its processes are Excluded.
package struct ExcludedExecutable: Hashable, Sendable {
  package let pattern: ExecutablePattern
  package let source: RuleSource

  package init(pattern: ExecutablePattern, source: RuleSource) {
    self.pattern = pattern
    self.source = source
  }
}

/// What the policy makes of one process.
package struct ProcessStanding: Hashable, Sendable {
  package private(set) var flags: ProcessFlags = []
  package private(set) var rules: ProcessRules = []

  private init() {}

  /// The first matching entry of each kind counts. A nil process is unknown: never exempt.
  init(of process: ProcessContext?, under ruleSet: RuleSet) {
    guard let process else {
      self.init()
      return
    }
    self.init(of: process, under: ruleSet, MatchingEntries.of(process, under: ruleSet))
  }

  fileprivate init(of process: ProcessContext, under ruleSet: RuleSet, _ matching: MatchingEntries) {
    var hasFlags = false
    var hasRules = false
    // By place: an entry that does not match is not copied.
    for place in matching.places {
      let entry = ruleSet.processes[place]
      let counts = !entry.givesPrivileges || Obstacle(process, of: entry.when) == nil
      if let flags = entry.flags, !hasFlags {
        hasFlags = true
        self.flags.formUnion(counts ? flags : flags.subtracting(.privileges))
      }
      if let rules = entry.rules, !hasRules {
        hasRules = true
        self.rules.formUnion(counts ? rules : rules.subtracting(.allowAllRegistryOperations))
      }
    }
    if matching.exclusion != nil,
      Obstacle(process, restsOnExecutable: true, namesExecutable: true) == nil
    {
      flags.insert(.excluded)
    }
    if let place = matching.friendly, Obstacle(process, of: ruleSet.friendly[place].when) == nil { flags.insert(.friendly) }
    if let change = matching.change { change.apply(to: &flags, &rules) }
  }

  /// What keeps a matching entry from counting.
  private enum Obstacle: CustomStringConvertible {
    case doubt(ExemptionDoubt)
    case changeableByOthers
    /// Whoever has a mount namespace of his own gives any path to any file.
    case elsewhere
    /// Whoever runs a program can put code into it, before its first instruction and later, and leave no trace: an executable
    /// proves something only of a user who is trusted anyway.
    case anybody(userID: UInt32)

    init?(_ process: ProcessContext, restsOnExecutable: Bool, namesExecutable: Bool) {
      if let doubt = process.doubts.first {
        self = .doubt(doubt)
      } else if namesExecutable, process.record != nil, process.executableFile?.isAt(process.executable) != true {
        // (A context without a record was made up by somebody who asks what would be.)
        self = .elsewhere
      } else if restsOnExecutable, process.executableFile?.belongsToRoot != true {
        self = .changeableByOthers
      } else if restsOnExecutable, process.userID != 0 {
        self = .anybody(userID: process.userID)
      } else {
        return nil
      }
    }

    init?(_ process: ProcessContext, of pattern: ProcessPattern) {
      self.init(process, restsOnExecutable: pattern.restsOnExecutable, namesExecutable: pattern.executable != nil)
    }

    var description: String {
      switch self {
      case .elsewhere: "its executable is another file than the one that has this path for the mount"
      case .doubt(let doubt): doubt.rawValue
      case .changeableByOthers: "its executable can be changed by others than root"
      case .anybody(let userID): "it runs as uid \(userID), and the entry names neither uid nor gid"
      }
    }
  }

  package var isExemptFromHardening: Bool { !flags.isDisjoint(with: .exemptFromHardening) }

  package var isExemptFromDenied: Bool {
    !flags.isDisjoint(with: .exemptFromDenied) || rules.contains(.allowAllRegistryOperations)
  }

  /// Why the process is exempt or not, for people: one sentence per entry that matches, or why there is none.
  static func explanation(of process: ProcessContext?, under ruleSet: RuleSet) -> String {
    guard let process else { return "the caller is not known, and an unknown caller is never exempt" }
    func remark(_ entry: String, _ obstacle: Obstacle?) -> String {
      obstacle.map { "\(entry) matches, but \($0)" } ?? "\(entry) matches"
    }
    let matching = MatchingEntries.of(process, under: ruleSet)
    var remarks = matching.places.map { place in
      let entry = ruleSet.processes[place]
      return remark(
        "process entry '\(entry.id)' (\(entry.source))",
        entry.givesPrivileges ? Obstacle(process, of: entry.when) : nil)
    }
    if let exclusion = matching.exclusion.map({ ruleSet.exclusions[$0] }) {
      remarks.append(
        remark(
          "exclusion '\(exclusion.pattern.text)' (\(exclusion.source))",
          Obstacle(process, restsOnExecutable: true, namesExecutable: true)))
    }
    if let entry = matching.friendly.map({ ruleSet.friendly[$0] }) {
      remarks.append(remark("friendly process '\(entry.id)' (\(entry.source))", Obstacle(process, of: entry.when)))
    }
    if remarks.isEmpty {
      remarks = ["no process entry of the policy matches \(process.executable ?? "the process"), uid \(process.userID)"]
    }
    if let change = matching.change {
      let taken = change.clearedFlags.names + change.clearedRules.names
      if !taken.isEmpty { remarks.append("SET_PROCESS_INFO has taken \(taken.joined(separator: ", ")) from it") }
    }
    let standing = ProcessStanding(of: process, under: ruleSet)
    let given = standing.flags.names + standing.rules.names
    return remarks.joined(separator: "; ") + (given.isEmpty ? "" : " [\(given.joined(separator: ", "))]")
  }
}

/// The entries of one rule set that one process matches, found out once for each image that it runs: what is asked of a process but its
/// executable and ids is read from /proc, and texts are compared.
final class MatchingEntries: Sendable {
  private let rules: RuleSet
  let places: [Int]
  let exclusion: Int?
  let friendly: Int?
  let change: ProcessChange?

  /// Without `facts`, entries that ask for more than executable, uid and gid do not match.
  init(_ process: ProcessContext, _ facts: ProcessFacts?, under rules: RuleSet) {
    self.rules = rules
    places = rules.processes.indices.filter { rules.processes[$0].when.matches(process, facts) }
    exclusion = process.executable.flatMap { path in rules.exclusions.firstIndex { $0.pattern.matches(path) } }
    friendly = rules.friendly.firstIndex { $0.when.matches(process, facts) }
    change = rules.processChanges[ProcessKey(processID: process.processID, startTicks: process.startTicks)]
  }

  /// Those that the table remembers for the process, if they are of these rules.
  static func of(_ process: ProcessContext, under rules: RuleSet) -> MatchingEntries {
    if let known = process.record?.note as? MatchingEntries, known.rules === rules { return known }
    return MatchingEntries(process, nil, under: rules)
  }
}

extension RuleSet {
  /// What these rules make of a process, for the process table; the order of wdfilter.md 6 is that of the policy's lists.
  package func classify(_ facts: ProcessFacts) -> Classification {
    let matching = MatchingEntries(facts.context, facts, under: self)
    let standing = ProcessStanding(of: facts.context, under: self, matching)
    return Classification(
      documentOpenRule: documents.rule(ofExecutable: facts.context.executable), flags: standing.flags.rawValue,
      rules: standing.rules.rawValue, note: matching)
  }
}
