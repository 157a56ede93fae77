package import Executive

/// One thing that a `.reg` file asks for. Values are those of the key that came last.
package enum RegFileChange: Hashable, Sendable {
  /// `[name]`: the key is there, with all above it.
  case key(UnicodeName)
  /// `[-name]`: the key is not there, nor anything below it.
  case deletedKey(UnicodeName)
  case value(name: UnicodeName, RegistryValue)
  /// `"name"=-`.
  case deletedValue(name: UnicodeName)
}

/// What cannot be read of a `.reg` file, for people.
package struct RegFileProblem: Error, Hashable, Sendable, CustomStringConvertible {
  /// From 1 on.
  package let line: Int
  /// From 1 on, in UTF-16 units.
  package let column: Int
  package let message: String

  package var description: String { "line \(line), column \(column): \(message)" }
}
