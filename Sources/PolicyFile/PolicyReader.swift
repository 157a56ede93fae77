internal import Notifications
internal import WdFilter
internal import Yams

/// Where something stands in a policy.
struct PolicyPlace: Hashable {
  let file: String
  var line: Int
  var column: Int
}

/// A monitored key and the places of what it is made of, for the review.
struct MonitoredEntry {
  let rule: MonitoredRule
  let place: PolicyPlace
  let values: [PolicyPlace]
  let hash: PolicyPlace?
}

/// What the documents of one policy say together, the including ones first.
struct PolicyParts {
  var mode = RuleMode.enforce
  var subtree = SubtreeMode.strict
  var reportsFailures = false
  var sync = SyncConfiguration()
  var queue = QueuePolicy()
  var hardened: [HardenedKey] = []
  /// nil: the driver's own.
  var queryDenied: [QueryDeniedValue]?
  var processes: [ProcessRule] = []
  var monitored: [MonitoredEntry] = []
  var exclusions: [ExcludedExecutable] = []
  var documentRules: [DocumentOpenEntry] = []
  /// As written, and with the rules that were read.
  var sigmaSection: SigmaSection?
  var sigma: SigmaPolicy?
  /// Where an id was given first.
  var processIDs: [String: RuleSource] = [:]
  var monitoredIDs: [String: RuleSource] = [:]

  func ruleSet(version: UInt64) -> RuleSet {
    RuleSet(
      mode: mode, subtree: subtree, hardened: hardened, monitored: monitored.map(\.rule),
      processes: processes, exclusions: exclusions, documentRules: documentRules,
      queryDenied: queryDenied ?? QueryDeniedValue.standard,
      reportsFailures: reportsFailures, sync: sync, queue: queue, sigma: sigma, version: version)
  }
}

/// Walks one document's nodes, collects every problem, and builds rules of what is right.
struct PolicyReader {
  let fileName: String
  private(set) var problems: [PolicyProblem] = []

  init(fileName: String) { self.fileName = fileName }

  struct Place {
    var line: Int
    var column: Int
    init(_ mark: Mark?) {
      line = mark?.line ?? 1
      column = mark?.column ?? 1
    }
  }

  // MARK: Document

  static let known = [
    "version", "mode", "subtree", "report_failures", "include", "hardened", "query_denied", "processes", "monitored",
    "exclusions", "doc_open", "sync", "queue", "sigma",
  ]
  /// What one policy has once, in the file that includes the others.
  private static let once = ["mode", "subtree", "report_failures", "sync", "queue", "sigma"]
  private static let flagNames = ProcessFlags.named.map { ($0.name, $0.bit.rawValue) }

  /// Adds what `text` says to `parts` and gives the files that it includes; there are `problems` if it is not right.
  mutating func read(_ text: String, isIncluded: Bool, into parts: inout PolicyParts) -> [(path: String, Place)] {
    guard let root = compose(text, "the policy is empty: at least 'version: 1' is needed"),
      let document = mapping(root, "the policy", known: Self.known)
    else { return [] }
    if let version = document["version"] {
      if number(version, maximum: UInt32.max) != 1 { error(version, "version 1 is the only one there is") }
    } else {
      error(root, "'version: 1' is missing")
    }
    if isIncluded {
      for name in Self.once {
        if let node = document[name] { error(node, "'\(name)' belongs into the policy that includes this file") }
      }
    } else {
      settings(document, into: &parts)
    }
    parts.hardened += list(document["hardened"]) { $0.hardenedKey($1) }
    if let node = document["query_denied"] {
      parts.queryDenied = (parts.queryDenied ?? []) + list(node) { $0.queryDenied($1) }
    }
    parts.processes += list(document["processes"]) { $0.processRule($1) }
    parts.monitored += list(document["monitored"]) { $0.monitoredRule($1) }
    parts.exclusions += list(document["exclusions"]) { $0.exclusion($1) }
    parts.documentRules += list(document["doc_open"]) { $0.documentRule($1) }
    refuseDuplicates(document["processes"], &parts.processIDs)
    refuseDuplicates(document["monitored"], &parts.monitoredIDs)
    return list(document["include"]) { reader, node in
      guard let path = reader.text(node) else { return nil }
      guard !path.isEmpty else {
        reader.error(node, "the path of a policy expected")
        return nil
      }
      return (path, reader.place(node))
    }
  }

  private mutating func settings(_ document: [String: Node], into parts: inout PolicyParts) {
    parts.mode = document["mode"].flatMap { choice($0, RuleMode.self) } ?? .enforce
    parts.subtree = document["subtree"].flatMap { choice($0, SubtreeMode.self) } ?? .strict
    parts.reportsFailures = document["report_failures"].flatMap { truth($0) } ?? false
    let ofSync = ["timeout_ms", "timeouts_until_pass_through", "retry_after_ms", "on_timeout"]
    if let node = document["sync"], let entry = mapping(node, "'sync'", known: ofSync) {
      set(&parts.sync.timeout, entry["timeout_ms"], 1, 60_000)
      set(&parts.sync.timeoutsUntilPassThrough, entry["timeouts_until_pass_through"], 1, 1000)
      set(&parts.sync.retryAfter, entry["retry_after_ms"], 1, 3_600_000)
      parts.sync.onTimeout = entry["on_timeout"].flatMap { choice($0, SyncVerdict.self) } ?? .allow
    }
    if let node = document["queue"], let entry = mapping(node, "'queue'", known: ["size", "starvation_limit"]) {
      set(&parts.queue.size, entry["size"], 1, 1 << 20)
      set(&parts.queue.starvationLimit, entry["starvation_limit"], 1, 65535)
    }
    parts.sigmaSection = document["sigma"].flatMap { sigmaSection($0) }
  }

  private mutating func sigmaSection(_ node: Node) -> SigmaSection? {
    guard let entry = mapping(node, "'sigma'", known: ["path", "deny", "actor"]) else { return nil }
    let denied = list(entry["deny"]) { reader, item in reader.word(item).map { (id: $0, place: reader.place(item)) } }
    var actors: [SigmaActor] = []
    if let node = entry["actor"], node.mapping == nil { error(node, "a mapping of executables to images expected") }
    for (executable, image) in entry["actor"]?.mapping ?? [:] {
      guard let pattern = executablePattern(executable), let image = word(image) else { continue }
      actors.append(SigmaActor(executable: pattern, image: image))
    }
    guard let path = entry["path"] else {
      error(node, "'sigma' needs 'path', the folder of the rules")
      return nil
    }
    return word(path).map { SigmaSection(path: $0, place: place(path), denied: denied, actors: actors) }
  }

  private mutating func set(_ setting: inout Int, _ node: Node?, _ minimum: UInt32, _ maximum: UInt32) {
    if let node, let given = number(node, minimum: minimum, maximum: maximum) { setting = Int(given) }
  }

  mutating func compose(_ text: String, _ whenEmpty: String) -> Node? {
    do {
      guard let root = try Yams.compose(yaml: text) else {
        error(Place(nil), whenEmpty)
        return nil
      }
      return root
    } catch {
      let (place, message) = Self.problem(error, in: text)
      self.error(place, message)
      return nil
    }
  }

  /// What Yams has against a text, and where.
  static func problem(_ failure: any Error, in text: String) -> (Place, String) {
    switch failure as? YamlError {
    case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
      .composer(let context, let problem, let mark, _):
      (Place(mark), (context.map { $0.text + ": " } ?? "") + problem)
    case .duplicatedKeysInMapping(let duplicates, let context):
      (Place(context.mark), "the same name twice: \(duplicates.sorted().joined(separator: ", "))")
    case .reader(let problem, let offset, _, _): (place(ofCharacter: offset ?? 0, in: text), problem)
    default: (Place(nil), String(describing: failure))
    }
  }

  private static func place(ofCharacter offset: Int, in text: String) -> Place {
    let before = text.prefix(offset)
    var place = Place(nil)
    place.line = before.count(where: \.isNewline) + 1
    place.column = before.reversed().prefix { !$0.isNewline }.count + 1
    return place
  }

  // MARK: Sections

  private mutating func hardenedKey(_ node: Node) -> HardenedKey? {
    guard let entry = mapping(node, "a hardened key", known: ["service", "key", "match"]) else { return nil }
    let match = entry["match"].flatMap { choice($0, HardenedKey.Match.self) } ?? .component
    let pattern: KeyPattern?
    switch (entry["service"], entry["key"]) {
    case (let service?, nil):
      pattern = text(service).flatMap { KeyPattern(service: $0) }
      if pattern == nil, text(service, quietly: true) != nil {
        error(service, "a service is the name of one key below Services: no backslash, no *")
      }
    case (nil, let key?):
      pattern = keyPattern(key)
    case (.some, let key?):
      error(key, "either 'service' or 'key', not both")
      return nil
    case (nil, nil):
      error(node, "a hardened key needs 'service' or 'key'")
      return nil
    }
    guard let pattern else { return nil }
    if match == .stringPrefix, !pattern.endsInName {
      error(entry["match"] ?? node, "string-prefix needs a key whose last component is a name")
      return nil
    }
    return HardenedKey(pattern: pattern, match: match, source: source(node))
  }

  private mutating func monitoredRule(_ node: Node) -> MonitoredEntry? {
    let known = ["id", "key", "mode", "rules", "hash", "values"]
    guard let entry = mapping(node, "a monitored key", known: known) else { return nil }
    let id = identifier(entry["id"], of: node, "a monitored key")
    let mode = entry["mode"].flatMap { choice($0, RuleMode.self) } ?? .enforce
    let bits = entry["rules"].map { ruleBits($0) } ?? []
    var hash: RuleHash?
    if let node = entry["hash"], let digits = text(node) {
      hash = RuleHash(hexadecimal: digits)
      if hash == nil { error(node, "a hash is 16 bytes: 32 hexadecimal digits") }
    }
    let values = list(entry["values"]) { $0.valueRule($1) }
    if entry["rules"] == nil, entry["values"] == nil { error(node, "a monitored key needs 'rules' or 'values'") }
    guard let key = entry["key"] else {
      error(node, "a monitored key needs 'key'")
      return nil
    }
    guard let pattern = keyPattern(key), let id else { return nil }
    let rule = MonitoredRule(
      id: id, key: pattern, mode: mode, rules: bits, values: values, hash: hash, source: source(node))
    return MonitoredEntry(
      rule: rule, place: policyPlace(node), values: entry["values"]?.sequence.map { $0.map { policyPlace($0) } } ?? [],
      hash: entry["hash"].map { policyPlace($0) })
  }

  private mutating func valueRule(_ node: Node) -> ValueRule? {
    guard let entry = mapping(node, "a value's entry", known: ["name", "rules"]) else { return nil }
    guard let rules = entry["rules"] else {
      error(node, "a value's entry needs 'rules'")
      return nil
    }
    let bits = ruleBits(rules)
    let ofKeys: RuleBits = [
      .createKeyOperation, .createDenied, .renameKeyOperation, .renameDenied, .deleteKeyOperation, .restoreKeyOperation,
      .restoreDenied, .replaceKeyOperation, .replaceDenied,
    ]
    let misplaced = bits.intersection(ofKeys)
    if !misplaced.isEmpty {
      let names = misplaced.names.joined(separator: ", ")
      warn(rules, "no effect on a value, these belong into the key's own list: \(names)")
    }
    var name: String?
    if let node = entry["name"] {
      guard let given = text(node) else { return nil }
      if given.utf16.count > 16383 { error(node, "a value's name has at most 16383 UTF-16 units") }
      name = given
    }
    return ValueRule(name: name, rules: bits)
  }

  private mutating func processRule(_ node: Node) -> ProcessRule? {
    guard let entry = mapping(node, "a process entry", known: ["id", "when", "flags", "rules"]) else { return nil }
    let id = identifier(entry["id"], of: node, "a process entry")
    var flags: ProcessFlags?
    if let list = entry["flags"] { flags = ProcessFlags(rawValue: word(list, "flag", Self.flagNames)) }
    var rules: ProcessRules?
    if let list = entry["rules"] {
      rules = ProcessRules(rawValue: word(list, "rule", ProcessRules.named.map { ($0.name, $0.bit.rawValue) }))
    }
    if flags == nil, rules == nil { error(node, "a process entry needs 'flags' or 'rules'") }
    guard let when = entry["when"] else {
      error(node, "a process entry needs 'when'")
      return nil
    }
    guard let pattern = processPattern(when), let id else { return nil }
    let rule = ProcessRule(id: id, when: pattern, flags: flags, rules: rules, source: source(node))
    if rule.givesPrivileges, pattern.restsOnExecutable, pattern.executable == nil {
      error(
        when,
        "an exemption must rest on something that a caller cannot choose: add 'uid', 'gid', 'cgroup', 'label' or a root-owned 'exe'")
      return nil
    }
    if rule.givesPrivileges, pattern.restsOnExecutable, let executable = pattern.executable {
      checkOwner(executable, place(executableNode(when) ?? when))
    }
    return rule
  }

  private func executableNode(_ when: Node) -> Node? { when.mapping?["exe"] }

  private mutating func processPattern(_ node: Node) -> ProcessPattern? {
    let known = ["exe", "uid", "gid", "cgroup", "label", "parent", "script", "name", "sha256"]
    guard let entry = mapping(node, "'when'", known: known) else { return nil }
    var pattern = ProcessPattern()
    pattern.cgroup = entry["cgroup"].flatMap { word($0) }
    pattern.label = entry["label"].flatMap { word($0) }
    pattern.name = entry["name"].flatMap { word($0) }
    if let parent = entry["parent"] { pattern.parent = executablePattern(parent) }
    if let script = entry["script"] { pattern.script = executablePattern(script) }
    if let digest = entry["sha256"], let digits = text(digest) {
      if digits.utf8.count == 64, digits.allSatisfy({ $0.isHexDigit && $0.isASCII }) {
        pattern.digest = digits.lowercased()
      } else {
        error(digest, "a SHA-256 is 64 hexadecimal digits")
      }
    }
    if let executable = entry["exe"] { pattern.executable = executablePattern(executable) }
    if let user = entry["uid"] { pattern.userID = identity(user) }
    if let group = entry["gid"] { pattern.groupID = identity(group) }
    guard !pattern.isEmpty else {
      if node.mapping?.isEmpty == true {
        error(node, "an empty 'when' would match every process: name a root-owned 'exe', a 'uid' or a 'gid'")
      }
      return nil
    }
    return pattern
  }

  /// One piece of text that is not empty.
  private mutating func word(_ node: Node) -> String? {
    guard let word = text(node) else { return nil }
    if word.isEmpty { error(node, "an empty text matches nothing") }
    return word.isEmpty ? nil : word
  }

  /// A path, the beginning of one (`/folder/**`), or a file's name.
  private mutating func exclusion(_ node: Node) -> ExcludedExecutable? {
    guard let given = text(node) else { return nil }
    if let pattern = ExecutablePattern(fileName: given) {
      warn(node, "every program of root's with the name \(given) is excluded, wherever it lies; a path says which")
      return ExcludedExecutable(pattern: pattern, source: source(node))
    }
    guard let pattern = ExecutablePattern(given) else {
      error(node, "an exclusion is a path beginning with /, or the name of a file")
      return nil
    }
    checkOwner(pattern, place(node))
    return ExcludedExecutable(pattern: pattern, source: source(node))
  }

  private mutating func documentRule(_ node: Node) -> DocumentOpenEntry? {
    guard let entry = mapping(node, "a doc_open entry", known: ["image", "extension"]) else { return nil }
    guard let image = entry["image"], let ending = entry["extension"] else {
      error(node, entry["image"] == nil ? "'image' is missing" : "'extension' is missing")
      return nil
    }
    guard let imageName = text(image), let fileExtension = text(ending) else { return nil }
    if imageName.isEmpty || imageName.contains("/") { error(image, "an image is the name of a program's file: no path") }
    if fileExtension.isEmpty || fileExtension.hasPrefix(".") || fileExtension.contains("\\") {
      error(ending, "an extension is what stands behind the dot: pdf")
    }
    return DocumentOpenEntry(imageName: imageName, fileExtension: fileExtension, source: source(node))
  }

  private mutating func executablePattern(_ node: Node) -> ExecutablePattern? {
    guard let path = text(node) else { return nil }
    let pattern = ExecutablePattern(path)
    if pattern == nil { error(node, "an executable is named by its whole path, beginning with /") }
    return pattern
  }

  /// Programs that do what a script says: whoever starts them chooses what they do.
  private static let interpreters = [
    "sh", "bash", "dash", "zsh", "ksh", "busybox", "python", "perl", "ruby", "node", "php",
  ]

  /// An executable that alone makes a process exempt must be one that only root can have put there, in a place that only
  /// root can change.
  private mutating func checkOwner(_ pattern: ExecutablePattern, _ place: Place) {
    let name = pattern.text.split(separator: "/").last ?? ""
    if Self.interpreters.contains(where: { name == $0 || $0.count > 3 && name.hasPrefix($0) }) {
      warn(place, "a caller could forge this: \(name) does what a script says, and every script of root's is exempt")
    }
    if let folder = Self.changeableFolder(above: pattern.text) {
      warn(
        place,
        "a caller could forge this: the folder \(folder.path) \(folder.ownership.complaint), so others than root can "
          + "put a program there")
    }
    guard !pattern.isGlob else { return }
    switch FileOwnership.of(pattern.text) {
    case nil:
      warn(place, "\(pattern.text) is not there; it will count only if it belongs to root and nobody else can write it")
    case let file? where !file.belongsToRootAlone:
      error(
        place,
        "an exemption must rest on something that a caller cannot choose: \(pattern.text) \(file.complaint); "
          + "name a root-owned executable, or add 'uid' or 'gid'")
    case .some:
      break
    }
  }

  /// The first folder on the way to a path, or to its first component with a wildcard, that others than root can change.
  private static func changeableFolder(above path: String) -> (path: String, ownership: FileOwnership)? {
    var folder = ""
    for component in path.split(separator: "/").dropLast() {
      if component.contains("*") || component.contains("?") { break }
      folder += "/" + component
      if let ownership = FileOwnership.of(folder), !ownership.belongsToRootAlone { return (folder, ownership) }
    }
    return nil
  }

  private mutating func queryDenied(_ node: Node) -> QueryDeniedValue? {
    guard let entry = mapping(node, "a query_denied entry", known: ["value", "to"]) else { return nil }
    guard let value = entry["value"], let flags = entry["to"] else {
      error(node, entry["value"] == nil ? "'value' is missing" : "'to' is missing")
      return nil
    }
    let word = ProcessFlags(rawValue: word(flags, "flag", Self.flagNames))
    if word.isEmpty { error(flags, "a list with at least one flag expected") }
    return text(value).map { QueryDeniedValue(valueName: $0, flags: word, source: source(node)) }
  }

  private mutating func refuseDuplicates(_ node: Node?, _ taken: inout [String: RuleSource]) {
    for item in node?.sequence ?? [] {
      guard let id = item.mapping?["id"], let name = id.scalar?.string else { continue }
      if let first = taken[name] {
        error(id, "the id '\(name)' is taken by " + (first.file == fileName ? "line \(first.line)" : "\(first)"))
      } else {
        taken[name] = source(id)
      }
    }
  }

  // MARK: Pieces

  private mutating func keyPattern(_ node: Node) -> KeyPattern? {
    guard let name = text(node) else { return nil }
    do {
      return try KeyPattern(name)
    } catch {
      var place = place(node)
      // Only in a plain scalar each character of the name is one of the file.
      if node.scalar?.style == .plain { place.column += error.offset }
      self.error(place, "\(error.problem), in '\(name)'")
      return nil
    }
  }

  private mutating func ruleBits(_ node: Node) -> RuleBits {
    let bits = RuleBits(rawValue: word(node, "rule", RuleBits.named.map { ($0.name, $0.bit.rawValue) }))
    let known = RuleBits.named.reduce(into: RuleBits.unknown) { $0.formUnion($1.bit) }
    let strange = bits.subtracting(known)
    if !strange.isEmpty { warn(node, "bits that no rule has: \(strange.names.joined(separator: ", "))") }
    return bits
  }

  /// A list of names, or one number.
  private mutating func word(_ node: Node, _ what: String, _ named: [(name: String, bit: UInt32)]) -> UInt32 {
    guard let items = node.sequence else {
      guard let number = number(node, maximum: UInt32.max, quietly: true) else {
        error(node, "a list of \(what) names, or one number of 32 bits, expected")
        return 0
      }
      return number
    }
    var word: UInt32 = 0
    for item in items {
      guard let name = text(item) else { continue }
      guard let found = named.first(where: { $0.name == name }) else {
        unknown(item, name, "\(what)", among: named.map(\.name))
        continue
      }
      word |= found.bit
    }
    return word
  }

  private mutating func identifier(_ node: Node?, of owner: Node, _ what: String) -> String? {
    guard let node else {
      error(owner, "\(what) needs an 'id': refusals and events show it")
      return nil
    }
    guard let id = text(node) else { return nil }
    guard !id.isEmpty, id.count <= 128, id.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F }) else {
      error(node, "an id has 1 to 128 characters, none of them a control character")
      return nil
    }
    return id
  }

  /// A user's or group's number; the last one means nobody at all to the kernel.
  private mutating func identity(_ node: Node) -> UInt32? {
    number(node, maximum: UInt32.max - 1)
  }

  private mutating func number(
    _ node: Node, minimum: UInt32 = 0, maximum: UInt32, quietly: Bool = false
  ) -> UInt32? {
    let digits = node.scalar.map { $0.string.replacing("_", with: "") } ?? ""
    let isHexadecimal = digits.lowercased().hasPrefix("0x")
    let number = isHexadecimal ? UInt32(digits.dropFirst(2), radix: 16) : UInt32(digits)
    if let number, number >= minimum, number <= maximum, !digits.hasPrefix("+") { return number }
    if !quietly { error(node, "a number from \(minimum) to \(maximum) expected") }
    return nil
  }

  private mutating func truth(_ node: Node) -> Bool? {
    guard let name = text(node) else { return nil }
    if name != "true", name != "false" { error(node, "true or false expected") }
    return name == "true"
  }

  mutating func choice<Choice: RawRepresentable & CaseIterable>(_ node: Node, _ type: Choice.Type) -> Choice?
  where Choice.RawValue == String {
    // `off` is a truth value to YAML 1.1; here the text counts.
    guard let name = text(node) else { return nil }
    let choice = Choice(rawValue: name)
    if choice == nil { unknown(node, name, "value", among: Choice.allCases.map(\.rawValue)) }
    return choice
  }

  mutating func text(_ node: Node, quietly: Bool = false) -> String? {
    if let scalar = node.scalar { return scalar.string }
    if !quietly { error(node, "one piece of text expected") }
    return nil
  }

  mutating func list<Item>(_ node: Node?, _ read: (inout PolicyReader, Node) -> Item?) -> [Item] {
    guard let node else { return [] }
    guard let items = node.sequence else {
      error(node, "a list expected")
      return []
    }
    return items.compactMap { read(&self, $0) }
  }

  /// The entries of a mapping whose names are all known.
  mutating func mapping(_ node: Node, _ what: String, known: [String]) -> [String: Node]? {
    guard let mapping = node.mapping else {
      error(node, "\(what) is a mapping: \(known.joined(separator: ", "))")
      return nil
    }
    var entries: [String: Node] = [:]
    for (key, value) in mapping {
      guard let name = key.scalar?.string else {
        error(key, "a name expected")
        continue
      }
      if known.contains(name) {
        entries[name] = value
      } else {
        unknown(key, name, "name", among: known)
      }
    }
    return entries
  }

  private mutating func unknown(_ node: Node, _ name: String, _ what: String, among known: [String]) {
    let hint = nearest(to: name, among: known).map { "did you mean '\($0)'?" }
    error(node, "unknown \(what) '\(name)'; " + (hint ?? "known: \(known.joined(separator: ", "))"))
  }

  // MARK: Problems

  func place(_ node: Node) -> Place { Place(node.mark) }

  private func policyPlace(_ node: Node) -> PolicyPlace {
    let place = place(node)
    return PolicyPlace(file: fileName, line: place.line, column: place.column)
  }

  func source(_ node: Node) -> RuleSource {
    let place = place(node)
    return RuleSource(file: fileName, line: place.line, column: place.column)
  }

  mutating func error(_ node: Node, _ message: String) { error(place(node), message) }

  private mutating func error(_ place: Place, _ message: String) { add(.error, place, message) }

  mutating func warn(_ node: Node, _ message: String) { warn(place(node), message) }

  private mutating func warn(_ place: Place, _ message: String) { add(.warning, place, message) }

  private mutating func add(_ severity: PolicyProblem.Severity, _ place: Place, _ message: String) {
    problems.append(
      PolicyProblem(severity: severity, file: fileName, line: place.line, column: place.column, message: message))
  }
}
