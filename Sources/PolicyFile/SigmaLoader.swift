internal import Glibc
internal import Sigma
internal import WdFilter

/// `sigma` as a policy has it.
struct SigmaSection {
  let path: String
  let place: PolicyReader.Place
  let denied: [(id: String, place: PolicyReader.Place)]
  let actors: [SigmaActor]
}

/// What was found in the folder of a policy's Sigma rules.
package struct SigmaCounts: Hashable, Sendable {
  package internal(set) var files = 0
  /// Rules that are asked.
  package internal(set) var rules = 0
  package internal(set) var leftOut = 0
  /// Rules that are not about the registry.
  package internal(set) var others = 0
}

/// Reads every rule below a folder, by the policy's rules of ownership: who can change a rule changes the policy.
struct SigmaLoader {
  private(set) var rules: [SigmaRule] = []
  private(set) var problems: [PolicyProblem] = []
  private(set) var counts = SigmaCounts()
  private var ids: [String: SigmaRule] = [:]
  private var others: Set<String> = []
  /// Why a rule was left out, by its id.
  private var leftOut: [String: PolicyProblem] = [:]

  /// Folders within each other; nobody needs more.
  private static let deepest = 16
  private static let mostFiles = 20_000

  /// `name` is what problems and events call the folder.
  mutating func read(_ folder: String, as name: String) throws(PolicyError) {
    try read(folder, name, chain: [])
    counts.rules = rules.count
    counts.leftOut = problems.count
  }

  private mutating func read(_ folder: String, _ name: String, chain: [String]) throws(PolicyError) {
    let names = try Self.names(in: folder, name)
    guard let resolved = realpath(folder, nil) else { throw Self.failure(name, "cannot open it: \(String(cString: strerror(errno)))") }
    let real = String(cString: resolved)
    free(resolved)
    guard !chain.contains(real), chain.count < Self.deepest else {
      throw Self.failure(name, chain.contains(real) ? "the folder holds itself" : "folders more than \(Self.deepest) deep")
    }
    for entry in names {
      let (path, entryName) = (folder + "/" + entry, name + "/" + entry)
      var status = stat()
      guard stat(path, &status) == 0 else { throw Self.failure(entryName, "cannot open it: \(String(cString: strerror(errno)))") }
      if status.st_mode & S_IFMT == S_IFDIR {
        try read(path, entryName, chain: chain + [real])
      } else if entry.hasSuffix(".yml") || entry.hasSuffix(".yaml") {
        counts.files += 1
        guard counts.files <= Self.mostFiles else { throw Self.failure(name, "more than \(Self.mostFiles) rules") }
        let text: String
        do throws(PolicyError) { text = try PolicyFile.contents(of: path).text } catch {
          throw PolicyError(problems: error.problems.map { Self.problem(.error, entryName, 0, 0, $0.message) })
        }
        take(SigmaReader.read(text, fileName: entryName))
      }
    }
  }

  private mutating func take(_ outcomes: [SigmaReader.Outcome]) {
    for outcome in outcomes {
      switch outcome {
      case .rule(let rule):
        if let first = ids[rule.id] {
          leave(out: rule.id, Self.problem(.warning, rule.file, rule.line, 1, "the id '\(rule.id)' is taken by \(first.source)"))
        } else {
          ids[rule.id] = rule
          rules.append(rule)
        }
      case .other(let id):
        counts.others += 1
        if let id { others.insert(id) }
      case .leftOut(let id, let problem): leave(out: id, problem)
      }
    }
  }

  private mutating func leave(out id: String?, _ problem: PolicyProblem) {
    let told = Self.problem(.warning, problem.file, problem.line, problem.column, "left out: \(problem.message)")
    problems.append(told)
    if let id, leftOut[id] == nil { leftOut[id] = told }
  }

  /// Why no rule of that id can deny anything.
  func reason(against id: String) -> String {
    if let problem = leftOut[id] { return "the rule '\(id)' cannot deny anything: \(problem)" }
    if others.contains(id) { return "the rule '\(id)' is not about the registry" }
    let hint = nearest(to: id, among: rules.map(\.id)).map { "; did you mean '\($0)'?" } ?? ""
    return "no Sigma rule has the id '\(id)'" + hint
  }

  /// What a folder of ours holds, in the order of the names; hidden ones are not asked for.
  private static func names(in folder: String, _ name: String) throws(PolicyError) -> [String] {
    if let (ancestor, ownership) = FileOwnership.firstForeignAncestor(of: FileOwnership.absolute(folder) + "/x") {
      throw failure(name, "\(ancestor), on the way to it, \(ownership.complaint), so others could put other rules there")
    }
    guard let directory = opendir(folder) else { throw failure(name, "cannot open it: \(String(cString: strerror(errno)))") }
    defer { closedir(directory) }
    guard let ownership = FileOwnership.of(descriptor: dirfd(directory)), ownership.belongsToUs else {
      let complaint = FileOwnership.of(descriptor: dirfd(directory))?.complaint ?? "cannot be judged"
      throw failure(name, "the folder \(complaint), so others could put rules there: root or you must own it, and nobody else write it")
    }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if !name.hasPrefix(".") { names.append(name) }
    }
    return names.sorted()
  }

  private static func failure(_ file: String, _ message: String) -> PolicyError {
    PolicyError(problems: [problem(.error, file, 0, 0, message)])
  }

  private static func problem(
    _ severity: PolicyProblem.Severity, _ file: String, _ line: Int, _ column: Int, _ message: String
  ) -> PolicyProblem {
    PolicyProblem(severity: severity, file: file, line: line, column: column, message: message)
  }
}
