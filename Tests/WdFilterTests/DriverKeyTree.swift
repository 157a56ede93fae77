import Executive

/// The driver's rules as it keeps them (MP_KEY_ENTRY), and its way through them (MpRegMatchData): lists of siblings, a stack of
/// those not visited yet, and nothing done twice as fast as it could be. What the compiled rules are compared with.
final class DriverKeyTree {
  /// A rule word and the hash that its author gets back.
  struct Client {
    let rules: UInt32
    let hash: String
  }

  final class KeyEntry {
    /// nil for an entry that skips.
    let name: String?
    /// How many components an entry without a name skips; `anyNumber` for any number, also none (KeysToSkip).
    let keysToSkip: UInt16
    var sibling: KeyEntry?
    var child: KeyEntry?
    var clients: [Client] = []
    /// A nil name is any value.
    var values: [(name: String?, client: Client)] = []

    init(name: String?, keysToSkip: UInt16) {
      self.name = name
      self.keysToSkip = keysToSkip
    }
  }

  static let anyNumber: UInt16 = 0xFFFF

  let root = KeyEntry(name: "REGISTRY", keysToSkip: 0)

  /// The entry for a pattern's components below the root, made where it is missing. A run of `*` is one entry that skips as many.
  /// `shares`: an entry that is there is used; otherwise the list gets a second one like it, which changes nothing.
  func entry(for pattern: [String], shares: Bool) -> KeyEntry {
    var entry = root
    var rest = pattern[...]
    while let component = rest.first {
      let run = rest.prefix { $0 == component }.count
      let name: String?
      let skip: UInt16
      switch component {
      case "*":
        (name, skip) = (nil, UInt16(run))
        rest = rest.dropFirst(run)
      case "**":
        (name, skip) = (nil, Self.anyNumber)
        rest = rest.dropFirst()
      default:
        (name, skip) = (Self.upcase(component), 0)
        rest = rest.dropFirst()
      }
      var known = shares ? entry.child : nil
      while let candidate = known, candidate.name != name || candidate.keysToSkip != skip { known = candidate.sibling }
      if let known {
        entry = known
      } else {
        let made = KeyEntry(name: name, keysToSkip: skip)
        made.sibling = entry.child
        entry.child = made
        entry = made
      }
    }
    return entry
  }

  /// The OR of the rules that match and hold one of `flags`, and their hashes. With a value's name the value lists are used,
  /// without one the client lists.
  func match(_ components: [String], value: String?, flags: UInt32) -> (rules: UInt32, hashes: Set<String>) {
    let components = components.map(Self.upcase)
    let value = value.map(Self.upcase)
    var rules: UInt32 = 0
    var hashes: Set<String> = []
    func take(_ client: Client) {
      guard client.rules & flags != 0 else { return }
      rules |= client.rules
      hashes.insert(client.hash)
    }

    var unvisited: [(entry: KeyEntry, position: Int)] = [(root, 0)]
    while let (entry, position) = unvisited.popLast() {
      if let sibling = entry.sibling { unvisited.append((sibling, position)) }
      let left = components.count - position
      let consumed: ClosedRange<Int>?
      if let name = entry.name {
        consumed = left > 0 && components[position] == name ? 1...1 : nil
      } else if entry.keysToSkip == Self.anyNumber {
        consumed = 0...left
      } else {
        consumed = left >= Int(entry.keysToSkip) ? Int(entry.keysToSkip)...Int(entry.keysToSkip) : nil
      }
      guard let consumed else { continue }
      for count in consumed {
        if let child = entry.child { unvisited.append((child, position + count)) }
        // Only an entry that consumes the whole name matches.
        guard count == left else { continue }
        if let value {
          for (name, client) in entry.values where name.map(Self.upcase) ?? value == value { take(client) }
        } else {
          entry.clients.forEach(take)
        }
      }
    }
    return (rules, hashes)
  }

  /// Enough of Windows' upper case for the alphabet of the tests, and none of the engine's.
  private static func upcase(_ text: String) -> String {
    String(text.map { $0.isASCII ? Character($0.uppercased()) : $0 == "ä" ? "Ä" : $0 })
  }
}
