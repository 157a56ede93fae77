internal import Executive

/// A list of subkeys, or of such lists (CM_KEY_INDEX, CM_KEY_FAST_INDEX).
struct SubkeyList {
  enum Kind {
    /// `li`: offsets alone.
    case indexLeaf
    /// `lf`: offsets with the first four characters.
    case fastLeaf
    /// `lh`: offsets with hashes.
    case hashLeaf
    /// `ri`: offsets of leaves.
    case indexRoot

    var signature: Signature {
      switch self {
      case .indexLeaf: .indexLeaf
      case .fastLeaf: .fastLeaf
      case .hashLeaf: .hashLeaf
      case .indexRoot: .indexRoot
      }
    }

    /// Bytes of an entry.
    var stride: Int { self == .fastLeaf || self == .hashLeaf ? 8 : 4 }

    /// Entries we put into one list before it is split: where Windows splits, with a margin.
    var maximum: Int {
      switch self {
      case .fastLeaf: 506
      case .indexLeaf, .hashLeaf: 1010
      case .indexRoot: 65535
      }
    }

    /// What stands beside the offset of a key of this name.
    func hint(for name: Span<UInt16>) -> UInt32 {
      switch self {
      case .hashLeaf: return UpcaseTable.hash(name)
      case .fastLeaf:
        var hint: UInt32 = 0
        for index in 0..<min(4, name.count) {
          guard name[index] <= 0xFF else { return 0 }
          hint |= UInt32(name[index]) << UInt32(8 * index)
        }
        return hint
      case .indexLeaf, .indexRoot: return 0
      }
    }
  }

  static let header = 4

  let cell: Cell
  let kind: Kind
  /// Entries that lie inside the cell.
  let count: Int
  /// Entries as the list says: more than `count` when it is damaged.
  let claimed: Int

  func field(of entry: Int) -> Int { Self.header + entry * kind.stride }

  var damage: HiveError? {
    claimed == count
      ? nil
      : .damaged(
        structure: "subkey list", offset: cell.index.fileOffset,
        problem: "\(claimed) entries do not fit a cell of \(cell.count) bytes")
  }
}

extension HiveImage {
  func subkeyList(at index: CellIndex) throws(HiveError) -> SubkeyList {
    let cell = try cell(index, as: "subkey list")
    let kind: SubkeyList.Kind? =
      switch cell.count < SubkeyList.header ? nil : Signature(rawValue: load(UInt16.self, cell, 0)) {
      case .indexLeaf: .indexLeaf
      case .fastLeaf: .fastLeaf
      case .hashLeaf: .hashLeaf
      case .indexRoot: .indexRoot
      default: nil
      }
    guard let kind else {
      throw .damaged(structure: "subkey list", offset: index.fileOffset, problem: "it has no signature of a list")
    }
    let claimed = Int(load(UInt16.self, cell, 2))
    let room = (cell.count - SubkeyList.header) / kind.stride
    return SubkeyList(cell: cell, kind: kind, count: min(claimed, room), claimed: claimed)
  }

  /// A leaf below an index root; another root there is damage.
  func leaf(at index: CellIndex) throws(HiveError) -> SubkeyList {
    let list = try subkeyList(at: index)
    guard list.kind != .indexRoot else {
      throw .damaged(structure: "subkey list", offset: index.fileOffset, problem: "an index root lies below another")
    }
    return list
  }

  func entry(_ list: SubkeyList, _ entry: Int) -> CellIndex { index(list.cell, list.field(of: entry)) }

  func hint(_ list: SubkeyList, _ entry: Int) -> UInt32 {
    list.kind.stride == 8 ? load(UInt32.self, list.cell, list.field(of: entry) + 4) : 0
  }
}
