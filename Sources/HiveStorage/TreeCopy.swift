/// A copy of a tree that is being made. Keys wait in a list of their own: nothing but the limit bounds a tree's depth.
struct TreeCopy {
  struct Step {
    let origin: KeyNode
    /// The key's cell in the new tree; it has its name, and if it is not the first, its time.
    let target: Cell
    /// Keys from the root of the new tree's hive.
    let depth: Int
    /// In the trail of the salvage.
    fileprivate let place: Int?
  }

  /// The key that the copy begins with; it cannot be its own descendant.
  let start: CellIndex
  let deepest: Int
  /// The copy is to be the same hive: limits that are for what somebody makes anew do not count.
  var isOfWholeHive = false
  /// Nil: damage ends the copy. Else it is left out or changed, and noted here.
  var salvage: Salvage?

  /// For keys that have no security cell.
  var security = CellIndex.none
  private(set) var open: [Step] = []
  /// Subkeys that were met.
  var seen: Set<CellIndex> = []
  /// Where the source's security cells went.
  var securities: [CellIndex: CellIndex] = [:]
  /// One value's data at a time.
  var data: [UInt8] = []

  init(start: CellIndex, deepest: Int) {
    self.start = start
    self.deepest = deepest
  }

  mutating func begin(with origin: KeyNode, at target: Cell, depth: Int) {
    let place = salvage?.trail.add(origin.cell, below: nil)
    open = [Step(origin: origin, target: target, depth: depth, place: place)]
  }

  mutating func append(_ origin: KeyNode, at target: Cell, below step: Step) {
    let place = salvage?.trail.add(origin.cell, below: step.place)
    open.append(Step(origin: origin, target: target, depth: step.depth + 1, place: place))
  }

  mutating func next() -> Step? { open.popLast() }

  /// Notes damage of the key that is copied, and what was done with it; throws it when nothing is to be salvaged, and
  /// whatever is no damage.
  mutating func meet(
    _ action: HiveRepair.Action, _ rule: HiveFinding.Rule, _ error: HiveError, in step: Step
  ) throws(HiveError) {
    guard salvage != nil, case .damaged = error else { throw error }
    salvage?.note(action, HiveFinding(rule, error), at: step.place)
  }
}
