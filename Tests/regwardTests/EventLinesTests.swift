import Executive
import Foundation
import Notifications
import Sigma
import Testing

@testable import regward

@Suite("regward events") struct EventLinesTests {
  private func event(
    _ notifyClass: NotifyClass, key: UnicodeName = #"\REGISTRY\MACHINE\SOFTWARE\Acme"#, value: UnicodeName? = nil,
    denied: Bool = false, status: NTStatus = .success, lost: UInt64 = 0, _ change: (inout Notifications.Notification) -> Void = { _ in }
  ) throws -> JSONValue {
    var process = ProcessDescription(processID: 12, threadID: 13, userID: 0, groupID: 0)
    process.executable = "/usr/bin/wscript"
    var event = Notification(
      time: FileTime(rawValue: 133_800_000_001_234_567), notifyClass: notifyClass, status: denied ? .accessDenied : status,
      denied: denied, process: process, keyName: key)
    event.valueName = value
    event.sequence = 1
    change(&event)
    return try JSONReader.read(EventEncoder().line(for: event, loss: .init(dropped: lost, failed: lost)).dropLast())
  }

  private func row(_ json: JSONValue) throws -> EventRow { try #require(EventRow(json)) }

  @Test func theColumnsAreProcessMonitors() throws {
    let row = try row(
      event(.preSetValueKey, value: "Start", denied: true) {
        $0.newValue = RegistryValue(type: .dword, data: [4, 0, 0, 0])
        $0.ruleIDs = ["acme"]
        $0.ruleSource = "p.yaml:3"
      })
    #expect(row.operation == "RegSetValue" && row.result == "ACCESS DENIED" && row.isRefused)
    #expect(row.path == #"HKLM\SOFTWARE\Acme\Start"#)
    #expect(row.detail == "Type: REG_DWORD, Length: 4, Data: 4, Rule: acme (p.yaml:3)")
    #expect(
      EventLines.csv(row)
        == #""2:40:00.1234567 AM","wscript","12","RegSetValue","HKLM\SOFTWARE\Acme\Start","ACCESS DENIED","\#(row.detail)""#
        + "\r\n")
  }

  @Test(arguments: [
    (.postCreateKeyEx, "RegCreateKey"), (.preDeleteKey, "RegDeleteKey"), (.postDeleteValueKey, "RegDeleteValue"),
    (.postRenameKey, "RegRenameKey"), (.preSetInformationKey, "RegSetInfoKey"), (.preSetKeySecurity, "RegSetKeySecurity"),
    (.preLoadKey, "RegLoadKey"), (.postUnLoadKey, "RegUnloadKey"), (.preRestoreKey, "RegRestoreKey"),
    (.preReplaceKey, "RegReplaceKey"), (.preQueryValueKey, "RegQueryValue"), (.preSaveKey, "RegSaveKey"),
  ] as [(NotifyClass, String)])
  func operationsAreNamed(notifyClass: NotifyClass, name: String) throws {
    #expect(try row(event(notifyClass)).operation == name)
  }

  @Test func theDefaultValueHasAName() throws {
    #expect(try row(event(.postSetValueKey, value: "")).path == #"HKLM\SOFTWARE\Acme\(Default)"#)
  }

  @Test func aLengthIsThatOfTheData() throws {
    for count in [0, 1, 2, 3, 4, 70_000] {
      let row = try row(
        event(.postSetValueKey, value: "v") { $0.newValue = RegistryValue(type: .binary, data: Array(repeating: 7, count: count)) })
      #expect(row.detail == "Type: REG_BINARY, Length: \(count)")
    }
  }

  @Test func whatWasLostHasALineOfItsOwn() throws {
    let text = EventLines.table(try row(event(.postDeleteKey, lost: 2)), isColoured: false)
    #expect(text.hasPrefix("# 4 events were lost before the next\n"))
  }

  @Test func onlyRefusalsAreRed() throws {
    #expect(EventLines.table(try row(event(.preDeleteKey, denied: true)), isColoured: true).hasPrefix("\u{1B}[31m"))
    #expect(!EventLines.table(try row(event(.postDeleteKey)), isColoured: true).contains("\u{1B}"))
    #expect(!EventLines.table(try row(event(.preDeleteKey, denied: true)), isColoured: false).contains("\u{1B}"))
  }

  /// A name is anybody's: no control character reaches a terminal, no formula a spreadsheet, no quote ends a cell.
  @Test func namesAreHarmless() throws {
    let row = try row(event(.postSetValueKey, key: "\\REGISTRY\\MACHINE\\\u{1B}[2J", value: "\"=1") {
      $0.process.executable = "/tmp/=cmd|x"
    })
    #expect(!EventLines.table(row, isColoured: false).contains("\u{1B}"))
    let csv = EventLines.csv(row)
    #expect(csv.contains(#","'=cmd|x","#) && csv.contains(#"\""=1","#))
  }

  @Test(arguments: [("00:00:00", "12:00:00 AM"), ("11:59:59", "11:59:59 AM"), ("12:00:01", "12:00:01 PM"), ("23:00:00", "11:00:00 PM")])
  func timesOfDayHaveTwelveHours(time: String, told: String) throws {
    let text = #"{"@timestamp":"2026-01-31T\#(time)Z","event":{"module":"regward","action":"x"}}"#
    #expect(EventLines.csv(try row(JSONReader.read(Array(text.utf8)))).hasPrefix("\"\(told)\","))
  }

  @Test(arguments: [
    ("a*c", "abbc", true), ("a*c", "abbcd", false), ("*", "", true), ("?", "", false), ("A?C", "abc", true), ("**b*", "aabaa", true),
    (#"hklm\*\start"#, #"HKLM\SYSTEM\x\Start"#, true), ("a[b]", "a[b]", true), ("*aab", "aaab", true), ("", "a", false), ("", "", true),
    ("a*b*c", "a-b-b-c", true), ("a*b*c", "a-c-b", false),
  ])
  func patternsAreSimple(pattern: String, text: String, matches: Bool) { #expect(EventFilter.matches(text, pattern) == matches) }

  @Test func filtersAreJoined() throws {
    let row = try row(event(.preSetValueKey, value: "Start", denied: true))
    for process in ["12", "wscript", "WSCRIPT", "/usr/bin/wscript", nil] {
      #expect(EventFilter(onlyRefused: true, key: #"*\START"#, process: process).admits(row))
    }
    for process in ["13", "1", "script", "/usr/bin/w", "/usr/bin/WSCRIPT"] { #expect(!EventFilter(process: process).admits(row)) }
    #expect(!EventFilter(key: #"*\Stop"#).admits(row))
    #expect(!EventFilter(onlyRefused: true).admits(try self.row(event(.postDeleteKey))))
  }

  @Test(arguments: [
    "{}", "[]", "7", #"{"@timestamp":"x"}"#, #"{"@timestamp":"x","event":{"action":"a"}}"#, #"{"event":{"action":"a","module":"regward"}}"#,
  ])
  func whatIsNoEventIsRefused(text: String) throws { #expect(EventRow(try JSONReader.read(Array(text.utf8))) == nil) }

  @Test func timesAreCounted() throws {
    func ticks(_ time: String) throws -> Int64? {
      try row(JSONReader.read(Array(#"{"@timestamp":"\#(time)","event":{"module":"regward","action":"x"}}"#.utf8))).ticks
    }
    for seconds in stride(from: Int64(0), to: 8_000_000_000, by: 86_400 * 37 + 12_345) {
      let time = FileTime(seconds: seconds, nanoseconds: 1200)
      #expect(try ticks(time.rfc3339) == seconds * 10_000_000 + 12)
    }
    for wrong in ["", "x", "2026-13-01T00:00:00.0Z", "2026-01-01T00:00:00Z", "99999999999999999999-1-1-1-1-1-1"] {
      #expect(try ticks(wrong) == nil)
    }
  }

  // MARK: Logs

  private final class Folder {
    let path = FileManager.default.temporaryDirectory.appending(path: "regward-\(UUID().uuidString)").path
    var log: String { path + "/log" }
    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false) }
    deinit { try? FileManager.default.removeItem(atPath: path) }
    func write(_ text: String) throws { try Data(text.utf8).write(to: URL(filePath: log), options: []) }
    func append(_ text: String) throws {
      let file = try FileHandle(forWritingTo: URL(filePath: log))
      try file.seekToEnd()
      try file.write(contentsOf: Data(text.utf8))
      try file.close()
    }
  }

  private func lines(_ log: inout EventLog, isLast: Bool = false) throws -> [String] {
    var lines: [String] = []
    while let line = try log.next(isLast: isLast) { lines.append("\(log.lineNumber) \(String(decoding: line, as: UTF8.self))") }
    return lines
  }

  @Test func aLineIsWholeOrWaits() throws {
    let folder = try Folder()
    try folder.write("a\nb")
    var log = try EventLog(folder.log)
    #expect(try lines(&log) == ["1 a"])
    try folder.append("c\nd")
    #expect(try lines(&log) == ["2 bc"])
    #expect(try lines(&log, isLast: true) == ["3 d"])
  }

  @Test func rotationLosesNothing() throws {
    let folder = try Folder()
    try folder.write("a\n")
    var log = try EventLog(folder.log)
    #expect(try lines(&log) == ["1 a"])
    let turned1 = log.turnOver()
    #expect(!turned1)
    try FileManager.default.moveItem(atPath: folder.log, toPath: folder.log + ".1")
    // There is none yet: the old one goes on.
    let turned2 = log.turnOver()
    #expect(!turned2)
    let old = try FileHandle(forWritingTo: URL(filePath: folder.log + ".1"))
    try old.seekToEnd()
    try old.write(contentsOf: Data("b\n".utf8))
    try folder.write("c\n")
    // What came into the old file before the new one was seen is read first.
    let turned3 = log.turnOver()
    #expect(turned3)
    #expect(try lines(&log) == ["2 b"])
    let turned4 = log.turnOver()
    #expect(turned4)
    #expect(try lines(&log) == ["1 c"])
    let turned5 = log.turnOver()
    #expect(!turned5)
  }

  @Test func aFileThatWasCutIsReadAnew() throws {
    let folder = try Folder()
    try folder.write("a\nb\n")
    var log = try EventLog(folder.log)
    #expect(try lines(&log) == ["1 a", "2 b"])
    let file = try FileHandle(forWritingTo: URL(filePath: folder.log))
    try file.truncate(atOffset: 0)
    try file.write(contentsOf: Data("c\n".utf8))
    let turned6 = log.turnOver()
    #expect(turned6)
    #expect(try lines(&log) == ["1 c"])
  }

  // MARK: Sigma rules

  private func detected(by rule: String?) throws -> EventRow {
    try row(
      event(.postSetValueKey, value: "Start") {
        if let rule { $0.ruleIDs = [rule] }
        $0.ruleSource = rule.map { _ in "p.yaml:3" }
        $0.detections = [
          SigmaRule(id: "1-2", title: "Evil <b>", level: .high, category: .set, searches: [], conditions: [], file: "r.yml", line: 1),
          SigmaRule(id: "3-4", title: "Odd", category: .set, searches: [], conditions: [], file: "r.yml", line: 9),
        ]
      })
  }

  /// SEMANTICS 12.7.
  @Test func whatFiredIsShownAndPicked() throws {
    #expect(try detected(by: nil).detail == "Sigma: Evil <b> (high); Odd")
    #expect(try detected(by: "own").detail == "Rule: own (p.yaml:3), Sigma: Evil <b> (high); Odd")
    // It decided itself.
    #expect(try detected(by: "1-2").detail == "Rule: 1-2 (p.yaml:3), Sigma: Evil <b> (high); Odd")
    let row = try detected(by: nil)
    for pattern in ["*", "evil*", "odd", "3-?"] { #expect(EventFilter(sigma: pattern).admits(row), "\(pattern)") }
    for pattern in ["evil", "own", ""] { #expect(!EventFilter(sigma: pattern).admits(row), "\(pattern)") }
    #expect(!EventFilter(sigma: "*").admits(try self.row(event(.postDeleteKey))))
    var page = ReportPage(title: "t")
    page.add(row)
    page.add(row)
    #expect(page.html.contains(#"<td>Evil &lt;b&gt;</td><td>high</td><td class="number">2</td><td class="number">0</td><td>1-2</td>"#))
    #expect(!ReportPage(title: "t").html.contains("Sigma"))
  }

  // MARK: Reports

  private static let evil = ["<script>alert(1)</script>", "\"><b>", "'x", "&lt;u&gt;x", "\u{1B}[2J", "\u{202E}x"]

  /// Nothing of an event is markup: take away what is, and it is still there, escaped.
  @Test(arguments: evil)
  func aReportTakesNothingForMarkup(text: String) throws {
    var page = ReportPage(title: text)
    for denied in [false, true] {
      page.add(
        try row(
          event(.postSetValueKey, key: UnicodeName(#"\REGISTRY\MACHINE\"# + text), value: UnicodeName(text), denied: denied) {
            $0.process.executable = "/" + text
            $0.ruleIDs = [text]
            $0.newValue = RegistryValue(type: .sz, data: text.utf16.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] })
          }))
    }
    let html = page.html
    #expect(!html.contains(text))
    #expect(html.contains(ReportPage.escaped(text)))
    // Not by its own account alone.
    #expect(!ReportPage.escaped(text).contains { "<>\"'".contains($0) })
    #expect(html.split(separator: "<script>").count == 2 && html.split(separator: "</script>").count == 2)
  }

  @Test func aReportCountsAll() throws {
    var page = ReportPage(title: "t")
    for _ in 0..<3 { page.add(try row(event(.postDeleteKey, lost: 1))) }
    page.add(try row(event(.preDeleteKey, denied: true)))
    page.skipped = 2
    let html = page.html
    #expect(html.contains("4 events of 1 process, 1 refused; 6 more were lost before they reached the log; lines of the log that are no events: 2."))
    #expect(html.split(separator: "<circle ").count == 4 && html.split(separator: "<path class=\"refused\"").count == 2)
    #expect(html.split(separator: "<tr class=\"refused\">").count == 4)
  }

  @Test func anEmptyReportIsAPage() { #expect(ReportPage(title: "t").html.contains("No events.")) }
}
