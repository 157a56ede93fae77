internal import Executive

/// Where a hive belongs in the registry, so that rules find it.
enum RegistryLocation {
  /// The registry name that a user wrote: `HKLM\SYSTEM`, `HKEY_USERS\…`, `\REGISTRY\…`; nil for anything else. Without a backslash
  /// slashes part the name, as they do where hives are named with their places.
  static func parse(_ text: String) -> UnicodeName? {
    let roots = [
      "HKLM": #"\REGISTRY\MACHINE"#, "HKEY_LOCAL_MACHINE": #"\REGISTRY\MACHINE"#,
      "HKU": #"\REGISTRY\USER"#, "HKEY_USERS": #"\REGISTRY\USER"#, #"\REGISTRY"#: #"\REGISTRY"#,
    ]
    let isAbsolute = text.hasPrefix("\\")
    let separator: Character = text.contains("\\") ? "\\" : "/"
    var parts = (isAbsolute ? text.dropFirst() : text[...]).split(separator: separator, omittingEmptySubsequences: false)
    guard let first = parts.first, !parts.contains(where: \.isEmpty) else { return nil }
    guard let root = roots[(isAbsolute ? "\\" : "") + first.uppercased()], isAbsolute || parts.count > 1 else {
      return nil
    }
    parts.removeFirst()
    if isAbsolute {
      // \REGISTRY itself, MACHINE and USER hold hives and are none.
      guard parts.count > 1, ["MACHINE", "USER", "A"].contains(parts[0].uppercased()) else { return nil }
    }
    return UnicodeName(([root[...]] + parts).joined(separator: "\\"))
  }

  /// The place that the names of the root's subkeys alone speak for, where it is one of the machine's.
  static func known(rootKeys: [String]) -> UnicodeName? {
    let name = inferred(rootKeys: rootKeys, fileName: "")
    return ["SYSTEM", "SOFTWARE", "SAM", "SECURITY"].contains { name == UnicodeName(#"\REGISTRY\MACHINE\"# + $0) } ? name : nil
  }

  /// The place that the names of the root's subkeys and the file's name speak for.
  static func inferred(rootKeys: [String], fileName: String) -> UnicodeName {
    let keys = Set(rootKeys.map { $0.uppercased() })
    let file = fileName.uppercased()
    func machine(_ name: String) -> UnicodeName { UnicodeName(#"\REGISTRY\MACHINE\"# + name) }

    if keys.contains("SELECT") || keys.contains(where: isControlSet) { return machine("SYSTEM") }
    // A user's hive has a Software key, the machine's SOFTWARE hive what stands below one.
    if keys.contains("CONTROL PANEL") || (keys.contains("ENVIRONMENT") && keys.contains("SOFTWARE")) {
      return UnicodeName(#"\REGISTRY\USER\"# + (fileName.isEmpty ? "NTUSER.DAT" : fileName))
    }
    if keys.contains("MICROSOFT"), keys.contains("CLASSES") || keys.contains("POLICIES") || file.hasPrefix("SOFTWARE") {
      return machine("SOFTWARE")
    }
    if keys.contains("SAM") { return machine("SAM") }
    if keys.contains("POLICY") { return machine("SECURITY") }
    let base = file.lastIndex(of: ".").map { $0 == file.startIndex ? file : String(file[..<$0]) } ?? file
    return machine(base.isEmpty ? "HIVE" : base)
  }

  /// `CONTROLSET` and three digits.
  private static func isControlSet(_ name: String) -> Bool {
    name.hasPrefix("CONTROLSET") && name.utf8.count == 13 && name.utf8.suffix(3).allSatisfy { (0x30...0x39).contains($0) }
  }
}
