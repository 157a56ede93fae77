/// A rule that every source file keeps; `violations` names the lines that do not.
struct HouseRule: Sendable, CustomStringConvertible {
  let description: String
  let violations: @Sendable (SourceFile) -> [String]

  /// The arrows (ARCHITECTURE.md): what each target may import, of ours and of others.
  static let arrows: [String: Set<String>] = {
    let system: Set<String> = ["Glibc", "Synchronization"]
    return [
      "Executive": system,
      "HiveStorage": system.union(["Executive"]),
      "ConfigurationManager": system.union(["Executive", "HiveStorage"]),
      "ProcessTable": system.union(["Executive"]),
      "Sigma": system.union(["Executive"]),
      // What rules are asked about is what Sysmon's readers are told.
      "Notifications": system.union(["Executive", "Sigma"]),
      "WdFilter": system.union(["Executive", "ConfigurationManager", "ProcessTable", "Sigma", "Notifications"]),
      "PolicyFile": system.union(["Executive", "Sigma", "Notifications", "WdFilter", "Yams", "Foundation"]),
      "RegistryFileSystem": system.union(["Executive", "ConfigurationManager"]),
      "RegFile": system.union(["Executive"]),
      // Caller, FileTime and SystemThread: the words in which the server asks the file system.
      "FUSEServer": system.union(["CFuse3", "Executive", "ConfigurationManager", "RegistryFileSystem"]),
      "HiveSamples": system.union(["Executive", "HiveStorage"]),
      "make-hive-samples": system.union(["HiveSamples", "HiveStorage", "Foundation"]),
      "HiveModel": system.union(["Executive", "HiveStorage"]),
      "hive-stress": system.union(["HiveModel", "Executive", "HiveStorage", "ArgumentParser"]),
      "regward": system.union([
        "Executive", "HiveStorage", "ConfigurationManager", "ProcessTable", "Sigma", "Notifications", "WdFilter", "PolicyFile",
        "RegistryFileSystem", "RegFile", "FUSEServer", "ArgumentParser", "Foundation", "CMalloc",
      ]),
    ]
  }()

  private static let mayBeAsynchronous: Set<String> = ["PolicyFile", "regward"]

  static let all: [HouseRule] = [
    HouseRule("imports follow the arrows") { file in
      guard let allowed = arrows[file.target] else { return ["the target \(file.target) is not in the table of arrows"] }
      return file.numberedCode.compactMap { number, line in
        guard let module = importedModule(line), !allowed.contains(module) else { return nil }
        return "\(file.path):\(number): \(file.target) may not import \(module)"
      }
    },
    HouseRule("no actor, async, await or Task below PolicyFile and regward") { file in
      if mayBeAsynchronous.contains(file.target) { return [] }
      return file.lines(matching: [
        #/^\s*((package|internal|private|fileprivate|final|distributed)\s+)*actor\s+\w/#, #/\basync\b/#, #/\bawait\b/#,
        #/\bTask(Group)?\b\s*[\{\(<.]/#, #/@(Main|Global)Actor\b/#,
      ])
    },
    HouseRule("nothing is public or open") { $0.lines(matching: [#/\bpublic\b/#, #/^\s*open\s+(class|var|func)\b/#]) },
    HouseRule("no traps: try!, as!, fatalError") {
      $0.lines(matching: [#/\btry!/#, #/\bas!/#, #/\bfatalError\s*\(/#])
    },
    HouseRule("every unsafe promise says why it holds") { file in
      let unsafe = [
        #/@unchecked\b/#, #/nonisolated\(unsafe\)/#, #/unowned\(unsafe\)/#, #/\bunsafeBitCast\b/#, #/\bunsafelyUnwrapped\b/#,
      ]
      return file.numberedCode.compactMap { number, line in
        guard unsafe.contains(where: { line.matches($0) }) else { return nil }
        // Above the declaration, or at the top of the type that it opens.
        let near = file.lines[max(0, number - 8)..<min(file.lines.count, number + 2)]
        return near.contains { $0.contains("SAFETY:") } ? nil : "\(file.path):\(number): no SAFETY: comment"
      }
    },
    HouseRule("no work left lying about") { file in
      zip(1..., file.lines).compactMap { number, line in
        line.matches(#/\b(TODO|FIXME|XXX|HACK)\b/#) ? "\(file.path):\(number): \(line)" : nil
      }
    },
    HouseRule("files are below 40 kB") { $0.size < 40_000 ? [] : ["\($0.path): \($0.size) bytes"] },
  ]

  private init(_ description: String, _ violations: @escaping @Sendable (SourceFile) -> [String]) {
    self.description = description
    self.violations = violations
  }

  /// `Executive` for `package import Executive` and `import struct Executive.FileTime`.
  private static func importedModule(_ line: String) -> String? {
    let pattern = #/^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:package|internal|private|fileprivate|public)\s+)?import\s+(?:(?:struct|class|enum|protocol|func|var|let|typealias)\s+)?(\w+)/#
    return line.firstMatch(of: pattern).map { String($0.output.1) }
  }
}

extension SourceFile {
  var numberedCode: [(Int, String)] { Array(zip(1..., code)) }

  fileprivate func lines(matching patterns: [any RegexComponent]) -> [String] {
    numberedCode.compactMap { number, line in
      patterns.contains { line.matches($0) } ? "\(path):\(number): \(lines[number - 1])" : nil
    }
  }
}

extension String {
  /// With plain word boundaries: by Unicode's own, which Swift takes, there is none in `Task.detached`.
  fileprivate func matches(_ pattern: some RegexComponent) -> Bool {
    contains(pattern.regex.wordBoundaryKind(.simple))
  }
}
