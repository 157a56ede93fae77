package import ConfigurationManager
package import Executive
package import Notifications
package import ProcessTable
internal import Synchronization

/// One entry of the policy's `doc_open` (MP_DOC_OPEN_RULES).
package struct DocumentOpenEntry: Hashable, Sendable {
  package let rule: DocumentOpenRule
  package let source: RuleSource

  package init(imageName: String, fileExtension: String, source: RuleSource) {
    rule = DocumentOpenRule(imageName: imageName, fileExtension: fileExtension)
    self.source = source
  }

  package var imageName: String { rule.imageName }
  package var fileExtension: String { rule.fileExtension }
}

/// The policy's `doc_open`, ready to be asked.
struct DocumentOpenList: Sendable {
  let entries: [DocumentOpenEntry]
  private let images: [String]
  private let endings: [UnicodeName]

  init(_ entries: [DocumentOpenEntry]) {
    self.entries = entries
    images = entries.map { $0.rule.imageName.lowercased() }
    endings = entries.map { Self.ending($0.rule.fileExtension) }
  }

  /// The first entry whose image is the file name of `executable`, in any case, with its extension or without.
  func rule(ofExecutable executable: String?) -> DocumentOpenRule? {
    guard !entries.isEmpty, let name = executable?.split(separator: "/").last?.lowercased() else { return nil }
    let stem = name.lastIndex(of: ".").map { String(name[..<$0]) }
    return images.firstIndex { $0 == name || $0 == stem }.map { entries[$0].rule }
  }

  /// A program is there that opens values of such a name.
  func wants(_ valueName: UnicodeName) -> Bool { endings.contains { Self.ends(valueName, with: $0) } }

  func source(of rule: DocumentOpenRule) -> RuleSource? { entries.first { $0.rule == rule }?.source }

  static func has(_ valueName: UnicodeName, fileExtension: String) -> Bool { ends(valueName, with: ending(fileExtension)) }

  private static func ending(_ fileExtension: String) -> UnicodeName { UnicodeName("." + fileExtension) }

  /// Something stands before the dot.
  private static func ends(_ name: UnicodeName, with ending: UnicodeName) -> Bool {
    name.units.count > ending.units.count
      && UpcaseTable.compare(name.units.span.extracting(last: ending.units.count), ending.units.span) == 0
  }
}

/// Tells of values that are opened by the programs that read their kind (DocOpen, wdfilter.md 6). Opening is no registry
/// operation, so this is no callback of the registry's: the file system says what it opened.
package final class DocumentOpenMonitor: Sendable {
  /// False while no rule is there: opening then costs one load.
  private let hasRules: Atomic<Bool>
  private let rules: Mutex<RuleSet>
  private let processes: ProcessTable
  private let notify: @Sendable (consuming DocumentOpenEvent) -> Void

  package init(
    rules: RuleSet, processes: ProcessTable, notify: @escaping @Sendable (consuming DocumentOpenEvent) -> Void
  ) {
    hasRules = Atomic(!rules.documents.entries.isEmpty)
    self.rules = Mutex(rules)
    self.processes = processes
    self.notify = notify
  }

  package func replaceRules(_ newRules: RuleSet) {
    rules.withLock { $0 = newRules }
    hasRules.store(!newRules.documents.entries.isEmpty, ordering: .releasing)
  }

  /// Whether who opens a value of this name is to be asked for his rule.
  package func isWatched(_ valueName: UnicodeName) -> Bool {
    hasRules.load(ordering: .acquiring) && rules.withLock { $0 }.documents.wants(valueName)
  }

  /// The value was opened; the name of its key is complete. A process that is not known has no rule.
  package func opened(_ valueName: UnicodeName, of keyName: UnicodeName, by caller: Caller) {
    guard let process = processes.context(of: caller), let rule = process.record?.documentOpenRule,
      DocumentOpenList.has(valueName, fileExtension: rule.fileExtension)
    else { return }
    process.record?.countNotification()
    notify(
      DocumentOpenEvent(
        time: .now(), process: ProcessDescription(process), keyName: keyName, valueName: valueName,
        fileExtension: rule.fileExtension, ruleSource: rules.withLock { $0 }.documents.source(of: rule)?.description))
  }
}
