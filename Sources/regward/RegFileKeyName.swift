internal import Executive

/// A key as `.reg` files name it and as the registry does, by components: `HKEY_LOCAL_MACHINE\SYSTEM` is `REGISTRY`, `MACHINE`, `SYSTEM`.
struct RegFileKeyName: Hashable {
  let components: [UnicodeName]

  private static let roots: [(names: [UnicodeName], components: [UnicodeName])] = [
    (["HKEY_LOCAL_MACHINE", "HKLM"], ["REGISTRY", "MACHINE"]), (["HKEY_USERS", "HKU"], ["REGISTRY", "USER"]),
  ]

  init(components: [UnicodeName]) { self.components = components }

  /// Also a complete name, which begins with a backslash. A root that belongs to no hive of its own (`HKEY_CURRENT_USER`) stays what it is.
  init(_ text: UnicodeName) {
    let parts = text.units.split(separator: 0x5C).map { UnicodeName(units: Array($0)) }
    let root = parts.first.flatMap { first in Self.roots.first { $0.names.contains { $0.equalsIgnoringCase(first) } } }
    components = root.map { $0.components + parts.dropFirst() } ?? parts
  }

  /// As a `.reg` file has it.
  var text: UnicodeName {
    let root = Self.roots.first { components.starts(with: $0.components) { $0.equalsIgnoringCase($1) } }
    let parts = root.map { [$0.names[0]] + components.dropFirst(2) } ?? components
    return parts.dropFirst().reduce(parts.first ?? "") { $0.appending($1) }
  }

  /// What leads from `base` to this key; nil when it does not lie there.
  func relative(to base: RegFileKeyName) -> [UnicodeName]? {
    guard components.starts(with: base.components, by: { $0.equalsIgnoringCase($1) }) else { return nil }
    return Array(components.dropFirst(base.components.count))
  }

  func appending(_ name: UnicodeName) -> RegFileKeyName { RegFileKeyName(components: components + [name]) }
}
