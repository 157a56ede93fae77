internal import WdFilter

/// Listings of rules for people and for programs.
enum RuleTable {
  /// Two lines for each: who, where, how often; then what.
  static func text(_ listings: [RuleListing]) -> String {
    listings.map { listing in
      var text = "\(listing.id)  \(listing.mode.rawValue)  hits \(listing.hits)  \(listing.source)\n"
      text += "  " + printable(listing.key ?? "every key")
      if let value = listing.value { text += value.isEmpty ? ", the default value" : ", value " + printable(value) }
      if listing.ofAnyValue { text += ", any value" }
      text += "\n"
      if listing.kind == .key || listing.kind == .value {
        text += "  \(word(listing.bits)) \(listing.bits.names.joined(separator: " "))\n"
      }
      if let hash = listing.hash { text += "  hash \(hash.hexadecimal)\n" }
      return text
    }.joined()
  }

  /// One object a line.
  static func json(_ listings: [RuleListing]) -> String {
    listings.map { listing in
      var members = [("kind", listing.kind.rawValue), ("id", listing.id)].map(member)
      if let key = listing.key { members.append(member("key", key)) }
      if let value = listing.value { members.append(member("value", value)) }
      if listing.ofAnyValue { members.append("\"any_value\":true") }
      members.append("\"bits\":[" + listing.bits.names.map(MountHandler.quoted).joined(separator: ",") + "]")
      members.append(member("word", word(listing.bits)))
      if let hash = listing.hash { members.append(member("hash", hash.hexadecimal)) }
      members.append(member("mode", listing.mode.rawValue))
      members.append("\"hits\":\(listing.hits)")
      members.append(member("source", "\(listing.source)"))
      return "{" + members.joined(separator: ",") + "}\n"
    }.joined()
  }

  private static func member(_ name: String, _ text: String) -> String {
    MountHandler.quoted(name) + ":" + MountHandler.quoted(text)
  }

  private static func word(_ bits: RuleBits) -> String { "0x" + String(bits.rawValue, radix: 16, uppercase: true) }

  /// Names come from a policy: control characters must not reach a terminal.
  private static func printable(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.map { scalar in
      scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) ? "\u{FFFD}" : scalar
    }))
  }
}
