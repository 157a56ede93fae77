internal import Executive

/// Builds a text in Prometheus' exposition format, version 0.0.4: families with their HELP and TYPE, then their samples.
struct PrometheusText {
  enum Kind: String { case counter, gauge, histogram }

  private(set) var text = ""

  /// One family; `samples` adds what belongs to it.
  mutating func family(_ name: String, _ kind: Kind, _ help: String, _ samples: (inout Family) -> Void) {
    text += "# HELP \(name) \(Self.escaped(help, quotes: false))\n# TYPE \(name) \(kind.rawValue)\n"
    var family = Family(name: name)
    samples(&family)
    text += family.text
  }

  /// A family of one sample without labels.
  mutating func family(_ name: String, _ kind: Kind, _ help: String, _ value: some BinaryInteger) {
    family(name, kind, help) { $0.sample([:], value) }
  }

  struct Family {
    let name: String
    fileprivate(set) var text = ""

    mutating func sample(_ labels: KeyValuePairs<String, String>, _ value: some BinaryInteger) {
      line(name, labels, String(value))
    }

    mutating func sample(_ labels: KeyValuePairs<String, String>, nanoseconds: UInt64) {
      line(name, labels, PrometheusText.seconds(nanoseconds))
    }

    mutating func histogram(_ snapshot: LatencyHistogram.Snapshot) {
      // What is beyond the last bound is in +Inf only. Bounds are exclusive here and inclusive there: a nanosecond's difference.
      let count = snapshot.count
      for (bound, count) in snapshot.cumulative {
        line(name + "_bucket", ["le": PrometheusText.seconds(bound)], String(count))
      }
      line(name + "_bucket", ["le": "+Inf"], String(count))
      line(name + "_sum", [:], PrometheusText.seconds(snapshot.sum))
      line(name + "_count", [:], String(count))
    }

    private mutating func line(_ name: String, _ labels: KeyValuePairs<String, String>, _ value: String) {
      let list = labels.map { "\($0.key)=\"\(PrometheusText.escaped($0.value, quotes: true))\"" }.joined(separator: ",")
      text += name + (list.isEmpty ? "" : "{\(list)}") + " \(value)\n"
    }
  }

  /// Exact: 9 digits behind the point, without zeros at the end.
  static func seconds(_ nanoseconds: UInt64) -> String {
    let rest = String(nanoseconds % 1_000_000_000)
    var digits = String(repeating: "0", count: 9 - rest.count) + rest
    while digits.last == "0" { digits.removeLast() }
    return "\(nanoseconds / 1_000_000_000)" + (digits.isEmpty ? "" : "." + digits)
  }

  private static func escaped(_ text: String, quotes: Bool) -> String {
    text.reduce(into: "") { result, character in
      switch character {
      case "\\": result += #"\\"#
      case "\n", "\r\n": result += #"\n"#
      case "\"" where quotes: result += #"\""#
      default: result.append(character)
      }
    }
  }
}
