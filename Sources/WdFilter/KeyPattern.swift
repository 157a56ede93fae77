internal import Executive

/// What is wrong with a key's name in a rule, and where.
package struct KeyPatternError: Error, Hashable, Sendable {
  package let problem: String
  /// Characters before the place that is meant.
  package let offset: Int
}

/// A key's name in a rule: components below `\REGISTRY`, each literal, `*` for exactly one, or `**` for any number,
/// also none (KeysToSkip n and 0xFFFF). `CurrentControlSet` stands for every control set.
package struct KeyPattern: Hashable, Sendable {
  enum Component: Hashable, Sendable {
    /// In upper case.
    case literal(UnicodeName)
    case anyOne
    case anyNumber
    case controlSet
  }

  /// As written in the policy.
  package let text: String
  let components: [Component]

  /// The registry's depth limit; a longer pattern could match nothing.
  private static let maximumComponents = 512
  private static let maximumUnits = 255

  private static let roots: [(name: String, below: [String])] = [
    ("HKLM", ["REGISTRY", "MACHINE"]), ("HKEY_LOCAL_MACHINE", ["REGISTRY", "MACHINE"]),
    ("HKU", ["REGISTRY", "USER"]), ("HKEY_USERS", ["REGISTRY", "USER"]),
    ("HKCR", ["REGISTRY", "MACHINE", "SOFTWARE", "CLASSES"]),
    ("HKEY_CLASSES_ROOT", ["REGISTRY", "MACHINE", "SOFTWARE", "CLASSES"]),
  ]

  package init(_ text: String) throws(KeyPatternError) {
    func failure(_ problem: String, at offset: Int = 0) -> KeyPatternError {
      KeyPatternError(problem: problem, offset: offset)
    }
    var parts = text.split(separator: "\\", omittingEmptySubsequences: false)
    var offset = 0
    var components: [Component] = []
    if text.hasPrefix("\\") {
      parts.removeFirst()
      offset = 1
      guard let first = parts.first, first.uppercased() == "REGISTRY" else {
        throw failure("a name that begins with a backslash must begin with \\REGISTRY")
      }
    } else {
      let root = parts.first ?? ""
      guard let found = Self.roots.first(where: { $0.name == root.uppercased() }) else {
        if root.uppercased() == "HKCU" || root.uppercased() == "HKEY_CURRENT_USER" {
          throw failure("HKCU is another key for every user: write HKU\\*\\… or the user's SID")
        }
        if text.contains("/"), !text.contains("\\") { throw failure("components are separated by \\, not by /") }
        throw failure("'\(root)' is no root: HKLM, HKU, HKCR or \\REGISTRY\\… expected")
      }
      components = found.below.map { .literal(UnicodeName($0)) }
      offset = root.count + 1
      parts.removeFirst()
    }
    for part in parts {
      switch part {
      case "":
        throw failure("an empty component: two backslashes, or one at the end", at: max(0, offset - 1))
      case "*":
        components.append(.anyOne)
      case "**":
        if components.last != .anyNumber { components.append(.anyNumber) }
      default:
        guard !part.contains("*") else {
          throw failure("* and ** stand for whole components, '\(part)' mixes them with text", at: offset)
        }
        let name = UnicodeName(part).upcased
        guard name.units.count <= Self.maximumUnits else {
          throw failure("a component is longer than \(Self.maximumUnits) UTF-16 units", at: offset)
        }
        let isControlSet = components.count == 3 && name == "CURRENTCONTROLSET" && Self.isSystem(components)
        components.append(isControlSet ? .controlSet : .literal(name))
      }
      offset += part.count + 1
    }
    guard components.count <= Self.maximumComponents else {
      throw failure("more than \(Self.maximumComponents) components")
    }
    self.text = text
    self.components = components
  }

  private init(text: String, components: [Component]) {
    self.text = text
    self.components = components
  }

  /// `<every control set>\Services\NAME`; nil when that is no name of a key.
  package init?(service: String) {
    guard !service.isEmpty, !service.contains("\\"), !service.contains("*"), service.utf16.count <= Self.maximumUnits
    else { return nil }
    self.init(
      text: service,
      components: [
        .literal("REGISTRY"), .literal("MACHINE"), .literal("SYSTEM"), .controlSet, .literal("SERVICES"),
        .literal(UnicodeName(service).upcased),
      ])
  }

  /// The whole name, however it was written: `\REGISTRY\MACHINE\SYSTEM\CurrentControlSet\SERVICES\WinDefend`. Components come
  /// in the upper case that they are compared in, unless the text has them.
  package var wholeName: String {
    let written = text.split(separator: "\\").map { String($0) }
    let names = components.enumerated().map { index, component in
      switch component {
      case .anyOne: return "*"
      case .anyNumber: return "**"
      case .controlSet: return "CurrentControlSet"
      case .literal(let name):
        let fromEnd = components.count - index
        let spelled = fromEnd <= written.count ? written[written.count - fromEnd] : ""
        if UnicodeName(spelled).upcased == name { return spelled }
        return Self.implied.first { UnicodeName($0).upcased == name } ?? "\(name)"
      }
    }
    return "\\" + names.joined(separator: "\\")
  }

  /// Components that a root or a service stands for, as Windows spells them.
  private static let implied = ["Services", "Classes"]

  /// What the pattern means, however it was written; equal for patterns that match the same names by the same components.
  package struct Canonical: Hashable, Sendable {
    fileprivate let components: [Component]
  }

  package var canonical: Canonical { Canonical(components: components) }

  /// Every name that `other` matches is matched by this one too. Says no where it cannot tell.
  package func covers(_ other: KeyPattern) -> Bool {
    // reached[i]: what came so far of `other` is covered by the first i components.
    var reached = [Bool](repeating: false, count: components.count + 1)
    func skipAnyNumbers() {
      for index in components.indices where reached[index] && components[index] == .anyNumber {
        reached[index + 1] = true
      }
    }
    reached[0] = true
    skipAnyNumbers()
    for given in other.components {
      var next = [Bool](repeating: false, count: components.count + 1)
      for index in components.indices where reached[index] {
        let own = components[index]
        if own == .anyNumber {
          next[index] = true
        } else if own == given && given != .anyNumber || own == .anyOne && given != .anyNumber {
          next[index + 1] = true
        }
      }
      reached = next
      skipAnyNumbers()
    }
    return reached[components.count]
  }

  /// This key and everything below it.
  var withDescendants: KeyPattern {
    components.last == .anyNumber
      ? self : KeyPattern(text: text, components: components + [.anyNumber])
  }

  /// The last component is a name, so that it can be taken as a prefix of one.
  package var endsInName: Bool {
    if case .literal = components.last { true } else { false }
  }

  private static func isSystem(_ components: [Component]) -> Bool {
    components == [.literal("REGISTRY"), .literal("MACHINE"), .literal("SYSTEM")]
  }
}
