internal import Glibc
internal import Sigma
internal import WdFilter

/// Reads a policy with everything that it includes, each file by the same rules.
struct PolicyLoader {
  private var parts = PolicyParts()
  private var problems: [PolicyProblem] = []
  private var sigmaCounts: SigmaCounts?
  /// Every file read so far, by its real path, and the include that named it.
  private var seen: [String: String] = [:]
  /// The real paths from the policy down to the file that is being read.
  private var chain: [String] = []

  /// Files that include one another; nobody needs more.
  private static let maximumDepth = 8

  /// `realPath` is nil for a text that is in no file.
  mutating func read(_ text: String, fileName: String, realPath: String?) {
    var reader = PolicyReader(fileName: fileName)
    let includes = reader.read(text, isIncluded: !chain.isEmpty, into: &parts)
    let section = parts.sigmaSection.take()
    problems += reader.problems.sorted { ($0.line, $0.column) < ($1.line, $1.column) }
    if let section { loadSigma(section, of: fileName, realPath) }
    guard let realPath else {
      for (_, place) in includes { add(fileName, place, "only a policy that is read from a file can include others") }
      return
    }
    chain.append(realPath)
    defer { chain.removeLast() }
    for (path, place) in includes { include(path, at: place, of: fileName, realPath) }
  }

  private mutating func include(
    _ path: String, at place: PolicyReader.Place, of fileName: String, _ including: String
  ) {
    let wanted = path.hasPrefix("/") ? path : Self.folder(of: including) + path
    guard chain.count < Self.maximumDepth else {
      add(fileName, place, "'\(path)' would be more than \(Self.maximumDepth) files deep")
      return
    }
    do throws(PolicyError) {
      let document = try PolicyFile.contents(of: wanted)
      if chain.contains(document.realPath) {
        add(fileName, place, "'\(path)' includes itself: \((chain + [document.realPath]).joined(separator: " > "))")
        return
      }
      if let first = seen[document.realPath] {
        add(fileName, place, "'\(path)' was included before, by \(first)")
        return
      }
      seen[document.realPath] = "\(fileName):\(place.line)"
      read(document.text, fileName: Self.name(of: path, in: fileName, document.realPath), realPath: document.realPath)
    } catch {
      for problem in error.problems { add(fileName, place, "cannot include '\(path)': \(problem.message)") }
    }
  }

  private mutating func loadSigma(_ section: SigmaSection, of fileName: String, _ realPath: String?) {
    guard let realPath else {
      return add(fileName, section.place, "only a policy that is read from a file can have Sigma rules")
    }
    do throws(PolicyError) {
      var loader = SigmaLoader()
      let folder = section.path.hasPrefix("/") ? section.path : Self.folder(of: realPath) + section.path
      let name = Self.name(of: section.path, in: fileName, folder)
      try loader.read(folder, as: name)
      problems += loader.problems
      if loader.rules.isEmpty {
        problems.append(
          PolicyProblem(
            severity: .warning, file: fileName, line: section.place.line, column: section.place.column,
            message: "no Sigma rule in \(name) is about the registry"))
      }
      var denying: [SigmaRule] = []
      for (id, place) in section.denied {
        if let rule = loader.rules.first(where: { $0.id == id }) {
          denying.append(rule)
        } else {
          add(fileName, place, loader.reason(against: id))
        }
      }
      parts.sigma = SigmaPolicy(rules: loader.rules, denying: denying, actors: section.actors)
      sigmaCounts = loader.counts
    } catch {
      for problem in error.problems { add(fileName, section.place, "cannot read the Sigma rules: \(problem)") }
    }
  }

  /// As people would call it from where they called the including file, if that leads to it.
  private static func name(of path: String, in fileName: String, _ realPath: String) -> String {
    let near = path.hasPrefix("/") ? path : folder(of: fileName) + path
    guard let resolved = realpath(near, nil) else { return realPath }
    defer { free(resolved) }
    return String(cString: resolved) == realPath ? near : realPath
  }

  /// With the slash at its end; empty for a bare name.
  private static func folder(of path: String) -> String {
    path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
  }

  private mutating func add(_ fileName: String, _ place: PolicyReader.Place, _ message: String) {
    problems.append(
      PolicyProblem(severity: .error, file: fileName, line: place.line, column: place.column, message: message))
  }

  /// The policy, if there was no error.
  func finish(version: UInt64) throws(PolicyError) -> PolicyFile {
    guard !problems.contains(where: { $0.severity == .error }) else { throw PolicyError(problems: problems) }
    let rules = parts.ruleSet(version: version)
    let warnings = problems + PolicyReview(parts, rules).warnings
    // In each file from its top; files in the order in which they were met.
    var order: [String: Int] = [:]
    for warning in warnings where order[warning.file] == nil { order[warning.file] = order.count }
    return PolicyFile(
      rules: rules, sigma: sigmaCounts,
      warnings: warnings.sorted {
        (order[$0.file] ?? 0, $0.line, $0.column) < (order[$1.file] ?? 0, $1.line, $1.column)
      })
  }
}
