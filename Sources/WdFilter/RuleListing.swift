internal import Sigma

/// One line of what a rule set holds: a hardened key, a monitored key's own list, an entry for a value, or a value that is not
/// read by everybody, or a Sigma rule that denies.
package struct RuleListing: Hashable, Sendable {
  package enum Kind: String, Sendable { case hardened, key, value, query, sigma }

  package let kind: Kind
  package let id: String
  /// The whole key path, as `\REGISTRY\…`; nil for query hardening, which asks for names of values under every key, and for Sigma rules.
  package let key: String?
  /// nil for a key's own list, and where `ofAnyValue`.
  package let value: String?
  package let ofAnyValue: Bool
  package let bits: RuleBits
  package let hash: RuleHash?
  package let mode: RuleMode
  /// Decisions that it took part in since the rules were loaded.
  package let hits: UInt64
  package let source: RuleSource
}

extension RuleSet {
  /// Everything that these rules hold, hardened keys first, in the order of the policy; hit counts as of now.
  package var listings: [RuleListing] {
    var hardenedHits = [UInt64](repeating: 0, count: hardened.count)
    var hardenedHashes = [RuleHash?](repeating: nil, count: hardened.count)
    var ofMonitored: [MonitoredPlace: (hits: UInt64, hash: RuleHash)] = [:]
    for (index, payload) in matcher.payloads.enumerated() {
      if payload.kind == .hardened {
        hardenedHits[Int(payload.rule)] += hits[index]
        hardenedHashes[Int(payload.rule)] = payload.hash
      } else {
        // What a key's list says about any value is counted with the list.
        let place = MonitoredPlace(rule: payload.rule, valueEntry: max(payload.valueEntry, RulePayload.ofKey))
        let isOfList = payload.valueEntry == RulePayload.ofKey
        let known = ofMonitored[place]
        ofMonitored[place] = (
          (known?.hits ?? 0) &+ hits[index], isOfList ? payload.hash : known?.hash ?? payload.hash
        )
      }
    }
    var listings: [RuleListing] = []
    for (index, entry) in hardened.enumerated() {
      listings.append(
        RuleListing(
          kind: .hardened, id: entry.id, key: entry.pattern.wholeName + (entry.match == .stringPrefix ? "…" : ""),
          value: nil, ofAnyValue: false, bits: [], hash: hardenedHashes[index],
          mode: entry.isCanary ? .enforce : mode, hits: hardenedHits[index], source: entry.source))
    }
    for (index, rule) in monitored.enumerated() {
      func add(_ kind: RuleListing.Kind, _ entry: Int32, _ bits: RuleBits, _ value: String?) {
        let found = ofMonitored[MonitoredPlace(rule: Int32(index), valueEntry: entry)]
        listings.append(
          RuleListing(
            kind: kind, id: rule.id, key: rule.key.wholeName, value: value,
            ofAnyValue: kind == .value && value == nil, bits: bits, hash: found?.hash ?? rule.hash,
            mode: min(mode, rule.mode), hits: found?.hits ?? 0, source: rule.source))
      }
      if !rule.rules.isEmpty || rule.values.isEmpty { add(.key, RulePayload.ofKey, rule.rules, nil) }
      for (place, value) in rule.values.enumerated() { add(.value, Int32(place), value.rules, value.name) }
    }
    for (index, entry) in queryDenied.enumerated() {
      listings.append(
        RuleListing(
          kind: .query, id: entry.id, key: nil, value: entry.valueName, ofAnyValue: false, bits: [], hash: nil,
          mode: mode, hits: hits[matcher.payloads.count + index], source: entry.source))
    }
    for (index, rule) in (sigma?.denying.rules ?? []).enumerated() {
      listings.append(
        RuleListing(
          kind: .sigma, id: rule.id, key: nil, value: nil, ofAnyValue: false, bits: [], hash: nil, mode: mode,
          hits: hits[matcher.payloads.count + queryDenied.count + index], source: RuleSource(file: rule.file, line: rule.line)))
    }
    return listings
  }

  private struct MonitoredPlace: Hashable {
    let rule: Int32
    let valueEntry: Int32
  }
}

/// Which listings are wanted: `key=…,value=…,bit=…,hash=…`, all of them to hold. Keys and values by a part of their text,
/// without regard to case; a bit by its name or as a number of which every bit is set; a hash by how it begins.
package struct RuleListingFilter: Hashable, Sendable {
  package struct Problem: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String
  }

  private var keys: [String] = []
  private var values: [String] = []
  private var bits: RuleBits = []
  private var hashes: [String] = []

  /// Empty text lets everything pass.
  package init(parsing text: String) throws(Problem) {
    for part in text.split(separator: ",") {
      let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map { String($0) }
      guard pair.count == 2, !pair[1].isEmpty else {
        throw Problem(description: "'\(part)' is no filter: key=…, value=…, bit=… or hash=… expected")
      }
      switch pair[0] {
      case "key": keys.append(pair[1].lowercased())
      case "value": values.append(pair[1].lowercased())
      case "hash": hashes.append(pair[1].lowercased())
      case "bit":
        guard let bit = Self.bit(pair[1]) else { throw Problem(description: "'\(pair[1])' is no rule bit") }
        bits.formUnion(bit)
      default: throw Problem(description: "'\(pair[0])' is nothing to filter by: key, value, bit and hash are")
      }
    }
  }

  private static func bit(_ text: String) -> RuleBits? {
    if let named = RuleBits.named.first(where: { $0.name.lowercased() == text.lowercased() }) { return named.bit }
    let number = text.lowercased().hasPrefix("0x") ? UInt32(text.dropFirst(2), radix: 16) : UInt32(text)
    return number.map { RuleBits(rawValue: $0) }
  }

  package func matches(_ listing: RuleListing) -> Bool {
    let key = listing.key?.lowercased() ?? ""
    let value = listing.value?.lowercased()
    return keys.allSatisfy { key.contains($0) } && values.allSatisfy { value?.contains($0) ?? listing.ofAnyValue }
      && listing.bits.isSuperset(of: bits)
      && hashes.allSatisfy { listing.hash?.hexadecimal.hasPrefix($0) ?? false }
  }
}
