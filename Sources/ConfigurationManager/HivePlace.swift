package import Executive

/// Where a hive can be loaded: a name below `HKLM` or `HKU`, as in Windows.
package struct HivePlace: Hashable, Sendable {
  package enum Root: CaseIterable, Sendable {
    case machine, user

    /// As the directory is called.
    package var directory: UnicodeName {
      switch self {
      case .machine: "HKLM"
      case .user: "HKU"
      }
    }

    /// As complete names have it.
    package var name: UnicodeName {
      switch self {
      case .machine: "MACHINE"
      case .user: "USER"
      }
    }

    init?(directory: UnicodeName) {
      guard let root = Self.allCases.first(where: { $0.directory.equalsIgnoringCase(directory) }) else { return nil }
      self = root
    }
  }

  package let root: Root
  package let name: UnicodeName

  /// Nil unless `components` are one of the two roots, by either of its names, and one name below it.
  package init?(_ components: [UnicodeName]) {
    guard components.count == 2,
      let root = Root.allCases.first(where: {
        $0.directory.equalsIgnoringCase(components[0]) || $0.name.equalsIgnoringCase(components[0])
      }),
      !components[1].isEmpty, components[1].units.count <= 255, !components[1].units.contains(0x5C)
    else { return nil }
    self.root = root
    name = components[1]
  }

  /// `\REGISTRY\MACHINE\SYSTEM`.
  package var completeName: UnicodeName {
    UnicodeName(#"\REGISTRY"#).appending(root.name).appending(name)
  }
}
