import ConfigurationManager
import Executive
import HiveStorage
import Notifications
import Testing

@testable import regward

/// A strict reader of the exposition format, version 0.0.4: HELP and TYPE before the samples of each family, once; names and labels
/// of their grammar; no sample twice; histograms that add up.
private struct Exposition {
  var types: [String: String] = [:]
  /// By name and labels, as they stand.
  var samples: [String: Double] = [:]
  var problems: [String] = []

  init(_ text: String) {
    guard text.hasSuffix("\n") else {
      problems.append("no line feed at the end")
      return
    }
    var family = ""
    var helped: Set<String> = []
    for line in text.dropLast().split(separator: "\n", omittingEmptySubsequences: false) {
      if let match = line.wholeMatch(of: #/# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)/#) {
        if !helped.insert(String(match.1)).inserted { problems.append("HELP twice: \(line)") }
        family = String(match.1)
      } else if let match = line.wholeMatch(of: #/# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)/#) {
        if match.1 != family || types[family] != nil { problems.append("TYPE out of place: \(line)") }
        types[family] = String(match.2)
      } else if let match = line.wholeMatch(
        of: #/([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\["\\n])*"(,[a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\["\\n])*")*\})? ([0-9.]+)/#)
      {
        let name = String(match.1)
        let isOfHistogram = ["_bucket", "_sum", "_count"].contains { name == family + $0 }
        if types[family] == "histogram" ? !isOfHistogram : name != family { problems.append("stray sample: \(line)") }
        if types[family] == "counter", !name.hasSuffix("_total") { problems.append("a counter is named _total: \(line)") }
        guard let value = Double(match.6) else {
          problems.append("no number: \(line)")
          continue
        }
        if samples.updateValue(value, forKey: name + String(match.2 ?? "")) != nil { problems.append("twice: \(line)") }
      } else {
        problems.append("not understood: \(line)")
      }
    }
    for (family, type) in types where type == "histogram" { check(histogram: family, in: text) }
  }

  private mutating func check(histogram family: String, in text: String) {
    var last = 0.0
    for line in text.split(separator: "\n") where line.hasPrefix(family + "_bucket") {
      let count = line.split(separator: " ").last.flatMap { Double($0) } ?? -1
      if count < last { problems.append("buckets shrink: \(line)") }
      last = count
    }
    if samples[family + "_bucket{le=\"+Inf\"}"] != samples[family + "_count"] { problems.append("+Inf is not the count") }
    if samples[family + "_sum"] == nil { problems.append("no sum of \(family)") }
  }
}

@Suite("Prometheus' text format")
struct PrometheusTextTests {
  @Test func everythingThatAMountTellsIsWellFormed() {
    let histogram = LatencyHistogram()
    for nanoseconds: UInt64 in [10, 100, 1000, 1_000_000, 100_000_000_000] { histogram.record(nanoseconds: nanoseconds) }
    var statistics = MountStatistics()
    statistics.rulesVersion = 3
    statistics.decisions = [("RegNtPreSetValueKey", [6, 5, 4, 3, 2, 1])]
    statistics.matchTime = histogram.snapshot
    statistics.logs = [.init(name: "/l", accepted: 7, lost: 8, errors: 9, dropped: 10)]
    var counters = SyncChannel.Counters()
    counters.totalWait = 1_500_000_000
    counters.timeouts = 11
    statistics.sync = [(.registryEventSync, counters)]
    statistics.control = ControlSocket.Counters(connections: 1, accepted: 2, refused: 1000, cutOff: 4, packets: 5)
    statistics.storage = [
      .init(name: "/a", failure: nil, logSize: 12),
      .init(name: "/b", failure: .changedOutside(name: "/b", change: .written), logSize: 0),
    ]
    let exposition = Exposition(statistics.prometheus)
    #expect(exposition.problems == [])
    let expected: [String: Double] = [
      "regward_rules_version": 3,
      #"regward_decisions_total{class="RegNtPreSetValueKey",outcome="refused"}"#: 2,
      #"regward_decisions_total{class="RegNtPreSetValueKey",outcome="refused_sync"}"#: 1,
      #"regward_match_seconds_bucket{le="0.000000128"}"#: 2,
      #"regward_match_seconds_bucket{le="+Inf"}"#: 5,
      "regward_match_seconds_count": 5,
      "regward_match_seconds_sum": 100.00100111,
      #"regward_log_lines_total{log="/l",result="lost"}"#: 8,
      #"regward_log_lines_total{log="/l",result="dropped"}"#: 10,
      #"regward_sync_timeouts_total{type="RegistryEventSync"}"#: 11,
      #"regward_sync_wait_seconds_total{type="RegistryEventSync"}"#: 1.5,
      #"regward_storage_log_bytes{hive="/a"}"#: 12,
      #"regward_storage_stopped{hive="/a"}"#: 0,
      #"regward_storage_stopped{hive="/b"}"#: 1,
      "regward_control_refused_total": 1000,
      "regward_process_lookup_seconds_count": 0,
    ]
    for (name, value) in expected { #expect(exposition.samples[name] == value, "\(name)") }
    #expect(exposition.types.keys.allSatisfy { $0.hasPrefix("regward_") })
  }

  @Test func labelsAreEscaped() {
    var text = PrometheusText()
    text.family("regward_x_total", .counter, "A \\ and\na line.") { $0.sample(["rule": "a\"b\\c\nd"], 1) }
    #expect(
      text.text == #"""
        # HELP regward_x_total A \\ and\na line.
        # TYPE regward_x_total counter
        regward_x_total{rule="a\"b\\c\nd"} 1

        """#)
    #expect(Exposition(text.text).problems == [])
  }

  @Test func secondsAreExact() {
    #expect(PrometheusText.seconds(0) == "0")
    #expect(PrometheusText.seconds(1) == "0.000000001")
    #expect(PrometheusText.seconds(1_500_000_000) == "1.5")
    #expect(PrometheusText.seconds(.max) == "18446744073.709551615")
  }

  /// A member for each hive, and a line for people for those that take no changes.
  @Test func aStoppedHiveIsInTheStatus() throws {
    let failure = HiveError.device(operation: "sync", name: "/b.LOG1", errno: 5)
    var statistics = MountStatistics()
    statistics.storage = [.init(name: "/a", failure: nil, logSize: 12), .init(name: "/b", failure: failure, logSize: 34)]
    let status = JSONValue.object(statistics.members)
    let hives = try #require(status["storage"]?.elements)
    #expect(hives.map { $0["hive"]?.string } == ["/a", "/b"])
    #expect(hives.map { $0["log_bytes"]?.integer } == [12, 34])
    #expect(hives.map { $0["stopped"]?.string } == [nil, "\(failure)"])
    let lines = StatusCommand.text(of: status).split(separator: "\n").filter { $0.hasPrefix("no changes:") }
    #expect(lines.count == 1)
    #expect(lines.first?.hasSuffix("  /b: \(failure); `regward flush` tries again") == true)
  }

  @Test func oneIsNotMany() {
    #expect(Console.count(1, "thread") == "1 thread" && Console.count(0, "thread") == "0 threads")
    #expect(Console.count(1, "process", "processes") == "1 process" && Console.count(2, "process", "processes") == "2 processes")
    let status = JSONValue.object(["callers": .object(["processes": .count(1), "threads": .count(1), "losses": .count(2)])])
    #expect(StatusCommand.text(of: status).contains("  1 process, 1 thread, 2 losses of events\n"))
  }

  @Test func durationsForPeople() {
    #expect(StatusCommand.duration(0) == "0 ns")
    #expect(StatusCommand.duration(999) == "999 ns")
    #expect(StatusCommand.duration(1500) == "1.5 µs")
    #expect(StatusCommand.duration(229_376) == "229 µs")
    #expect(StatusCommand.duration(60_000_000_000) == "60 s")
  }
}
