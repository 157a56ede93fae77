internal import Executive

/// One event as rules see it: Sysmon's texts by Sysmon's names.
package struct SigmaEvent: Sendable {
  package enum Content: Sendable {
    /// The event has no such field.
    case absent
    /// It would have one, but nobody can say what is in it: nothing holds of it, not even that it is absent.
    case unknown
    /// It comes with the operation, which is not there yet.
    case pending
    case text(SigmaText)
  }

  package let operation: SigmaOperation
  private var contents: [Content]

  package init(_ operation: SigmaOperation) {
    self.operation = operation
    contents = Array(repeating: .absent, count: SigmaField.all.count)
  }

  package subscript(field: SigmaField) -> Content {
    get { contents[field.place] }
    set { contents[field.place] = newValue }
  }
}

/// A text to compare with, as it is and in the registry's upper case, which maps one unit to one.
package struct SigmaText: Sendable {
  let units: [UInt16]
  let upcased: [UInt16]

  package init(_ text: some StringProtocol) {
    units = Array(text.utf16)
    upcased = units.map(UpcaseTable.upcase)
  }
}
