internal import WdFilter

/// Listings of rules for people and for programs.
enum RuleTable {
  /// Two lines for each: who, where, how often; then what.
  static func text(_ listings: [RuleListing]) -> String {
    listings.map { listing in
      var text = "\(listing.id)  \(listing.mode.rawValue)  hits \(listing.hits)  \(listing.source)\n"
      text += "  " + Console.printable(listing.key ?? "every key")
      if let value = listing.value { text += value.isEmpty ? ", the default value" : ", value " + Console.printable(value) }
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
      var members: [JSONValue.Member] = []
      func add(_ name: String, _ value: JSONValue) { members.append(JSONValue.Member(name: name, value: value)) }
      add("kind", .text(listing.kind.rawValue))
      add("id", .text(listing.id))
      if let key = listing.key { add("key", .text(key)) }
      if let value = listing.value { add("value", .text(value)) }
      if listing.ofAnyValue { add("any_value", .flag(true)) }
      add("bits", .list(listing.bits.names.map { .text($0) }))
      add("word", .text(word(listing.bits)))
      if let hash = listing.hash { add("hash", .text(hash.hexadecimal)) }
      add("mode", .text(listing.mode.rawValue))
      add("hits", .count(listing.hits))
      add("source", .text("\(listing.source)"))
      return JSONValue.object(members).json + "\n"
    }.joined()
  }

  private static func word(_ bits: RuleBits) -> String { "0x" + String(bits.rawValue, radix: 16, uppercase: true) }
}
