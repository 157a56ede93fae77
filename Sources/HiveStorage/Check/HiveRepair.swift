/// A fault of a hive that a copy of it has no more, and what became of what was there.
package struct HiveRepair: Hashable, Sendable {
  package enum Action: Hashable, Sendable {
    /// It is not in the copy, nor what lies below it.
    case dropped
    /// It is there in another form: which.
    case changed(String)
    /// Nothing but the fault is gone: orders, counts, references and hints are made anew.
    case mended
  }

  package let action: Action
  package let finding: HiveFinding
}

extension HiveRepair: CustomStringConvertible {
  package var description: String {
    switch action {
    case .dropped: "dropped: \(finding)"
    case .changed(let form): "changed: \(finding); \(form)"
    case .mended: "mended: \(finding)"
    }
  }
}
