package import Executive

// Complete names and paths: in a registry of several hives the directories below the root are called `HKLM` and `HKU`.

extension Registry {
  private var rootName: UnicodeName { root.placeName ?? UnicodeName(units: []) }

  private var rootComponents: [UnicodeName] { Self.components(of: rootName) }

  private static func components(of name: UnicodeName) -> [UnicodeName] {
    name.units.split(separator: 0x5C, omittingEmptySubsequences: true).map { UnicodeName(units: Array($0)) }
  }

  /// The complete name of what lies, or would lie, at a path below the root.
  package func completeName(ofPath path: [UnicodeName]) -> UnicodeName {
    var name = rootName
    for (index, component) in path.enumerated() {
      let place = index == 0 && root.hive.isNamespace ? HivePlace.Root(directory: component) : nil
      name = name.appending(place?.name ?? component)
    }
    return name
  }

  /// The path below the root, nil for what lies elsewhere.
  package func path(ofCompleteName name: UnicodeName) -> [UnicodeName]? {
    let own = rootComponents
    let components = Self.components(of: name)
    guard components.count >= own.count, zip(own, components).allSatisfy({ $0.equalsIgnoringCase($1) }) else { return nil }
    var path = Array(components.dropFirst(own.count))
    if root.hive.isNamespace, let first = path.first {
      guard let place = HivePlace.Root.allCases.first(where: { $0.name.equalsIgnoringCase(first) }) else { return nil }
      path[0] = place.directory
    }
    return path
  }

  /// Whether hives can be loaded below the root.
  package var hasSeveralHives: Bool { root.hive.isNamespace }

  /// Whether it is the root of several hives, `HKLM` or `HKU`: there is nothing in it but hives.
  package func isPlaceForHives(_ key: KeyControlBlock) -> Bool { key.hive.isNamespace }

  /// The key that it lies in; nil for the root.
  package func parent(of key: KeyControlBlock) -> KeyControlBlock? { key.parent }

  /// Steps from the root down to the key.
  package func depth(of key: KeyControlBlock) throws(NTStatus) -> Int {
    Self.components(of: try completeName(of: key)).count - rootComponents.count
  }
}
