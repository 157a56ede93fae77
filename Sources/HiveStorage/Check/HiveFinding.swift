/// A rule of the format that a hive breaks, and where.
package struct HiveFinding: Hashable, Sendable {
  /// The name that a finding is told by; numbers as in `HiveChecker`.
  package enum Rule: String, CaseIterable, Sendable {
    // 0
    case baseBlock = "base-block"
    case baseSequence = "base-sequence"
    case baseFormat = "base-format"
    case binsSize = "bins-size"
    // 1
    case binSignature = "bin-signature"
    case binOffset = "bin-offset"
    case binSize = "bin-size"
    case cellSize = "cell-size"
    case freeNeighbours = "free-neighbours"
    // 2
    case cellReference = "cell-reference"
    case cellShared = "cell-shared"
    // 3
    case keySignature = "key-signature"
    case keyNameSize = "key-name-size"
    case keyName = "key-name"
    case keyFlags = "key-flags"
    case keyParent = "key-parent"
    case keyDepth = "key-depth"
    case classSize = "class-size"
    // 4
    case listSignature = "list-signature"
    case listNested = "list-nested"
    case listSize = "list-size"
    case listEmpty = "list-empty"
    case listOrder = "list-order"
    case listDuplicate = "list-duplicate"
    case listHint = "list-hint"
    case listUnused = "list-unused"
    case subkeyCount = "subkey-count"
    // 5
    case valueListSize = "value-list-size"
    case valueListUnused = "value-list-unused"
    case valueSignature = "value-signature"
    case valueNameSize = "value-name-size"
    case valueDuplicate = "value-duplicate"
    // 6
    case inlineData = "inline-data"
    case dataSize = "data-size"
    case bigDataSignature = "big-data-signature"
    case bigDataCount = "big-data-count"
    case bigDataSegment = "big-data-segment"
    // 7
    case longestSubkeyName = "longest-subkey-name"
    case longestSubkeyClass = "longest-subkey-class"
    case longestValueName = "longest-value-name"
    case longestValueData = "longest-value-data"
    // 8
    case securitySignature = "security-signature"
    case securityDescriptor = "security-descriptor"
    case securityRing = "security-ring"
    case securityCount = "security-count"
    // 9
    case linkTarget = "link-target"
  }

  package let rule: Rule
  package let structure: String
  /// In the file, bytes.
  package let offset: Int
  package let problem: String
  /// The path, as in a dump, of the key that it was found in; nil for what belongs to no key.
  package internal(set) var key: String?
  var cell: CellIndex?

  init(_ rule: Rule, _ structure: String, at offset: Int, _ problem: String) {
    self.rule = rule
    self.structure = structure
    self.offset = offset
    self.problem = problem
  }

  init(_ rule: Rule, _ error: HiveError) {
    if case .damaged(let structure, let offset, let problem) = error {
      self.init(rule, structure, at: offset, problem)
    } else {
      self.init(rule, "hive", at: 0, "\(error)")
    }
  }

  /// What it is that a hive could not even be opened; nil for an error that says nothing about the file's content.
  package init?(opening error: HiveError) {
    switch error {
    case .notAHive(let problem): self.init(.baseBlock, "base block", at: 0, problem)
    case .dirty(let problem):
      self.init(.baseSequence, "base block", at: BaseBlock.Field.primarySequence, problem)
    case .damaged: self.init(.binsSize, error)
    default: return nil
    }
  }
}

extension HiveFinding: CustomStringConvertible {
  package var description: String {
    "\(rule.rawValue): \(structure) at file offset 0x\(String(offset, radix: 16)): \(problem)"
      + (key.map { ", in the key \\\($0)" } ?? "")
  }
}
