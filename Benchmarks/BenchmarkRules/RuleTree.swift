package import ConfigurationManager
internal import Executive
internal import Glibc
package import ProcessTable
package import WdFilter

/// A policy of a given size, and operations that its rules treat in one way each.
package struct RuleTree {
  package let rules: RuleSet
  /// This process, as the process table knows it: classified, and not named by the policy.
  package let caller: ProcessContext

  private static let software = #"\REGISTRY\MACHINE\SOFTWARE"#
  private static let source = RuleSource(file: "bench.yaml", line: 7)

  /// `count` rules on keys of six components, a hundred below each vendor: the last one refuses, the others watch. Every
  /// tenth has an entry for a value. Two process entries are not about the caller.
  package init(count: Int) throws {
    let monitored = try (0..<count).map { index in
      MonitoredRule(
        id: "rule-\(index)", key: try KeyPattern(Self.key(index)),
        rules: index == count - 1 ? [.setValueKeyOperation, .setValueDenied] : .setValueKeyOperation,
        values: index % 10 == 5 ? [ValueRule(name: "Start", rules: RuleBits(rawValue: 0xC2D00))] : [],
        source: Self.source)
    }
    try self.init(monitored)
  }

  /// `count` rules, each with a `**` in the middle: `HKLM\SOFTWARE\Vendor0\**\Product0\Rule0`.
  package init(wildcards count: Int) throws {
    let monitored = try (0..<count).map { index in
      MonitoredRule(
        id: "rule-\(index)",
        key: try KeyPattern(Self.software + #"\Vendor\#(index % 4)\**\Product\#(index % 8)\Rule\#(index)"#),
        rules: .setValueKeyOperation, source: Self.source)
    }
    try self.init(monitored)
  }

  private init(_ monitored: [MonitoredRule]) throws {
    let rules = RuleSet(
      monitored: monitored,
      processes: [
        ProcessRule(
          id: "engine", when: ProcessPattern(executable: ExecutablePattern("/usr/sbin/engine"), userID: 0),
          flags: [.msMpEng, .mpServiceSid], rules: nil, source: Self.source),
        ProcessRule(
          id: "packager", when: ProcessPattern(executable: ExecutablePattern("/usr/bin/dpkg"), userID: 0),
          flags: .friendly, rules: nil, source: Self.source),
      ])
    self.rules = rules
    let table = ProcessTable(
      monitor: nil, problem: nil, callbacks: CallbackDirectory(), classify: { rules.classify($0) })
    struct NoProcess: Error {}
    guard let process = table.context(forThread: getpid(), uid: 1000, gid: 1000) else { throw NoProcess() }
    caller = process
  }

  private static func key(_ index: Int) -> String {
    software + #"\Vendor\#(index / 100)\Product\#(index % 100)\Rule\#(index)"#
  }

  /// A name of six components that no rule touches; the first five lead along rules.
  package let untouched = set(software + #"\Vendor0\Product0\Settings"#)
  /// The walk reaches a rule's key, and its rule does not ask for the operation.
  package let matchedOnly: RegistryOperation = .createKey(
    completeName: UnicodeName(Self.key(0)), parent: KeyReference(id: 1, completeName: UnicodeName(software)),
    options: [])
  package let watched = set(Self.key(0))
  package var refused: RegistryOperation { Self.set(Self.key(rules.monitored.count - 1)) }
  package let hardened = set(#"\REGISTRY\MACHINE\SYSTEM\ControlSet001\Services\WinDefend"#)
  /// Eight components, along the wildcards' way: every `**` is tried at four places.
  package let belowWildcards = set(software + #"\Vendor0\a\b\c\Product0\Settings"#)

  /// Keys of 4,096 different rules, or of all there are: what the processor has seen last is of little use.
  package var scattered: [RegistryOperation] {
    let count = rules.monitored.count
    return (0..<min(4096, count)).map { Self.set(Self.key($0 &* 7919 % count)) }
  }

  private static func set(_ name: String) -> RegistryOperation {
    .setValueKey(
      key: KeyReference(id: 1, completeName: UnicodeName(name)), valueName: UnicodeName("ImagePath"),
      value: RegistryValue(type: .dword, data: [4, 0, 0, 0]))
  }
}
