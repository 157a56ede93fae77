/// What was found and done when a dirty hive was opened.
package struct Recovery: Hashable, Sendable {
  /// A log that was replayed.
  package struct Log: Hashable, Sendable {
    /// The device's name.
    package let name: String
    /// Of a new-format log; an old one has one set of pages.
    package let entries: Int?
    /// Bytes written into the hive.
    package let bytes: Int
    /// Of the first and the last entry; nil when there is none, and for old logs.
    package let sequences: ClosedSequences?
    /// Why reading ended where it did: the end of the log, an entry of an earlier run, damage. Nil for old logs.
    package let end: HiveError?
  }

  /// First and last; the first may be the larger number, as they wrap.
  package struct ClosedSequences: Hashable, Sendable {
    package let first: UInt32
    package let last: UInt32
  }

  /// By what the hive is seen to be dirty.
  package let cause: String
  package let logs: [Log]
  /// Why the other logs were left alone.
  package let passedOver: [HiveError]
  /// Both sequence numbers of the hive now.
  package let sequence: UInt32
}

extension Recovery: CustomStringConvertible {
  /// One line for each log that was replayed.
  package var description: String { logs.map(\.description).joined(separator: "\n") }
}

extension Recovery.Log: CustomStringConvertible {
  package var description: String {
    guard let entries else { return "\(name): \(bytes) bytes of pages of the old format" }
    guard let sequences else { return "\(name): no entry" }
    return "\(name): \(entries) \(entries == 1 ? "entry" : "entries"), "
      + "sequence numbers \(sequences.first) to \(sequences.last), \(bytes) bytes of pages"
  }
}
