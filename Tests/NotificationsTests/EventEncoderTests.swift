import Executive
import Foundation
import Notifications
import Testing

@Suite struct EventEncoderTests {
  /// One line per operation; the name is that of the file under `Golden`. To write them anew after a wanted change:
  /// `REGWARD_WRITE_GOLDEN=1 swift test --filter EventEncoderTests`, then read the difference.
  static let golden: [String] = [
    "set-value-denied", "set-value-watched", "create-key", "delete-key", "delete-value", "rename-key", "rename-key-audited",
    "set-value-failed", "set-value-default", "unknown-process", "lone-surrogates", "cut-data",
    "restore-key", "replace-key-denied", "asked",
  ]

  static func sample(_ name: String) -> Notifications.Notification? {
    let runKey: UnicodeName = #"\REGISTRY\USER\S-1-5-21-1\Software\Microsoft\Windows\CurrentVersion\Run"#
    switch name {
    case "set-value-denied":
      var event = Samples.notification(.preSetValueKey, key: Samples.winDefend, value: "Start", denied: true)
      event.newValue = RegistryValue(type: .dword, data: [4, 0, 0, 0])
      event.ruleIDs = ["hardened: WinDefend"]
      event.ruleSource = "policy.yaml:12"
      event.exemption = "it is being traced (ptrace)"
      return event
    case "set-value-watched":
      var event = Samples.notification(.postSetValueKey, key: runKey, value: "Updater")
      event.newValue = RegistryValue(type: .sz, data: Samples.utf16(#"C:\up "date".exe"#))
      event.oldValue = RegistryValue(type: .multiSz, data: Samples.utf16("one\0two\0"))
      event.finalKeyRules = 0x80100
      event.ruleNames = ["SetValueKeyOperation", "SetValueDenied"]
      event.ruleIDs = ["run-keys", "all-users"]
      event.ruleSource = "site.yaml:3"
      event.matchHashes = ["6f1ed002ab5595859014ebf0951522d9", "00000000000000000000000000000001"]
      return event
    case "create-key": return Samples.notification(.postCreateKeyEx, key: #"\REGISTRY\MACHINE\SOFTWARE\Acme"#)
    case "delete-key": return Samples.notification(.postDeleteKey, key: #"\REGISTRY\MACHINE\SYSTEM\ControlSet002"#)
    case "delete-value": return Samples.notification(.postDeleteValueKey, key: runKey, value: #"a\b"#)
    case "rename-key":
      var event = Samples.notification(.postRenameKey, key: #"\Registry\Machine\system\controlset001\Services\a"#)
      event.newKeyName = #"\Registry\Machine\system\controlset001\Services\b"#
      return event
    case "rename-key-audited":
      var event = Samples.notification(.preRenameKey, key: #"\REGISTRY\A\{1}\x"#, denied: true, status: .success)
      event.newKeyName = #"\REGISTRY\A\{1}\y"#
      event.audited = true
      event.ruleIDs = ["r"]
      return event
    case "set-value-failed":
      var event = Samples.notification(.postSetValueKey, key: runKey, value: "Big", status: .diskFull)
      event.newValue = RegistryValue(type: .qword, data: [1, 2, 3, 4, 5, 6, 7, 0x80])
      return event
    case "set-value-default":
      var event = Samples.notification(.postSetValueKey, key: runKey, value: "")
      event.newValue = RegistryValue(type: .sz, data: [])
      return event
    case "unknown-process":
      var event = Samples.notification(.preDeleteKey, key: Samples.winDefend, denied: true)
      event.process = ProcessDescription(processID: 0, threadID: 0, userID: .max, groupID: .max)
      return event
    case "lone-surrogates":
      return Samples.notification(
        .postSetValueKey, key: UnicodeName(units: Array(#"\REGISTRY\MACHINE\100%\50%"#.utf16) + [0xD800, 0x2F, 1]),
        value: UnicodeName(units: [0xD83D, 0xDE00, 0xDC00, 0x0000]))
    case "restore-key":
      var event = Samples.notification(.postRestoreKey, key: #"\REGISTRY\MACHINE\SOFTWARE\Acme"#)
      event.fileName = "/srv/hives/acme.hiv"
      event.restoreFlags = 8
      event.transactionID = 4_294_967_295
      event.rulesVersion = 2
      return event
    case "replace-key-denied":
      var event = Samples.notification(.preReplaceKey, key: #"\REGISTRY\MACHINE\SOFTWARE"#, denied: true)
      event.fileName = "/srv/hives/new.hiv"
      event.oldFileName = "/srv/hives/old.hiv"
      event.ruleIDs = ["r"]
      event.decidedBy = "sync client"
      return event
    case "asked":
      var event = Samples.notification(.preSetValueKey, key: Samples.winDefend, value: "Start", status: .success)
      event.isSynchronous = true
      return event
    case "cut-data":
      var event = Samples.notification(.postSetValueKey, key: runKey, value: "blob\u{0}\u{1B}")
      event.newValue = RegistryValue(type: ValueType(rawValue: 0xFFFF_0012), data: Array(repeating: 0xA5, count: 65537))
      return event
    default: return nil
    }
  }

  @Test(arguments: golden)
  func writesTheGoldenLine(name: String) throws {
    let event = try #require(Self.sample(name))
    let line = String(decoding: EventEncoder(currentControlSet: 1).line(for: event), as: UTF8.self)
    // The payload of a cut value says nothing to a reader.
    let shown = line.replacingOccurrences(of: String(repeating: "paWl", count: 21845) + "pQ==", with: "…64 KiB…")
    let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden/\(name).json")
    if ProcessInfo.processInfo.environment["REGWARD_WRITE_GOLDEN"] != nil { try Data(shown.utf8).write(to: file) }
    let expected = try String(contentsOf: file, encoding: .utf8)
    #expect(shown == expected)
  }

  /// Also held against the schema of its format, where that has one.
  static func parsed(_ line: [UInt8]) throws -> [String: Any] {
    #expect(try SchemaValidator.problem(inLine: line) == nil)
    #expect(line.last == 0x0A)
    #expect(!line.dropLast().contains(0x0A))
    return try #require(JSONSerialization.jsonObject(with: Data(line)) as? [String: Any])
  }

  static let otherKinds = ["process-created", "process-terminated", "process-untrusted", "document-open", "control-refused"]

  static func event(_ name: String) -> Event? {
    let created = Samples.process()
    var ended = ProcessDescription(processID: 1234, threadID: 1234, userID: .max, groupID: .max)
    ended.parentID = nil
    func event(_ kind: ProcessEvent.Kind, _ type: UInt32, _ process: ProcessDescription, _ isTrusted: Bool?) -> Event {
      let flags = isTrusted == true ? ["MsMpEng", "Trusted"] : []
      return .process(
        ProcessEvent(
          time: Samples.time, kind: kind, operationType: type, process: process, isTrusted: isTrusted, flags: flags,
          rules: isTrusted == false ? ["0x1000"] : []))
    }
    var sample: Event?
    switch name {
    case "process-created": sample = event(.created, 1, created, true)
    case "process-terminated": sample = event(.terminated, 2, ended, nil)
    case "process-untrusted": sample = event(.untrusted, 3, created, false)
    case "document-open":
      sample = .documentOpen(
        DocumentOpenEvent(
          time: Samples.time, process: created, keyName: #"\REGISTRY\MACHINE\SOFTWARE\Acme"#, valueName: "Report.PDF",
          fileExtension: "pdf", ruleSource: "p.yaml:4"))
    case "control-refused":
      sample = .control(
        ControlEvent(
          time: Samples.time, message: "SET_PROCESS_EXCLUSION", text: #"{"message":"SET_PROCESS_EXCLUSION"}"#,
          process: created, refusal: "'exclusions' is missing", rulesVersion: 3))
    default: break
    }
    sample?.sequence = 7
    return sample
  }

  @Test(arguments: otherKinds)
  func writesTheGoldenLineOfOtherKinds(name: String) throws {
    let event = try #require(Self.event(name))
    let bytes = EventEncoder().line(for: event)
    let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden/\(name).json")
    if ProcessInfo.processInfo.environment["REGWARD_WRITE_GOLDEN"] != nil { try Data(bytes).write(to: file) }
    #expect(String(decoding: bytes, as: UTF8.self) == (try String(contentsOf: file, encoding: .utf8)))
    let object = try Self.parsed(EventEncoder().line(for: event, loss: .init(dropped: 2)))
    #expect((object["event"] as? [String: Any])?["sequence"] as? Int == 7)
    #expect(((object["regward"] as? [String: Any])?["lost"] as? [String: Any])?["dropped"] as? Int == 2)
  }

  /// Everything in one file for each format: what the lines are, and that nothing in them changes from run to run.
  @Test(arguments: EventFormat.allCases)
  func writesTheGoldenScript(format: EventFormat) throws {
    let encoder = EventEncoder(format: format, currentControlSet: 1, hostName: "golden")
    var text = ""
    for event in Self.script {
      let line = encoder.line(for: event, loss: event.sequence == 7 ? .init(dropped: 2, failed: 1, errno: 11) : .init())
      if format != .sysmonXML { _ = try Self.parsed(line) }
      text += String(decoding: line, as: UTF8.self)
    }
    text = text.replacingOccurrences(of: String(repeating: "paWl", count: 21845) + "pQ==", with: "…64 KiB…")
    let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden/script.\(format.rawValue)")
    if ProcessInfo.processInfo.environment["REGWARD_WRITE_GOLDEN"] != nil { try Data(text.utf8).write(to: file) }
    #expect(text == (try String(contentsOf: file, encoding: .utf8)))
  }

  /// Every sample, numbered from 1.
  static let script: [Event] = {
    let samples = golden.compactMap { sample($0).map { Event.registry($0) } } + otherKinds.compactMap { event($0) }
    return zip(1..., samples).map { number, event in
      var event = event
      event.sequence = UInt64(number)
      return event
    }
  }()

  @Test(arguments: EventFormat.allCases)
  func everyFormatHasEveryClassAndTellsWhatWasLost(format: EventFormat) throws {
    let encoder = EventEncoder(format: format, hostName: "h")
    for notifyClass in NotifyClass.allCases {
      var event = Event.registry(Samples.notification(notifyClass, key: Samples.winDefend, value: "a<b>&\"\u{1}\u{85}\n"))
      event.sequence = 918_273
      let line = encoder.line(for: event, loss: .init(dropped: 736_455, failed: 546_372))
      #expect(line.last == 0x0A && !line.dropLast().contains { $0 < 0x20 }, "\(notifyClass)")
      let text = String(decoding: line, as: UTF8.self)
      for number in ["918273", "736455", "546372"] { #expect(text.contains(number), "\(notifyClass) \(number)") }
      if format == .sysmonXML {
        _ = try XMLLine(line)
      } else {
        _ = try Self.parsed(line)
      }
    }
  }

  /// What was refused must not be read as done, whatever the format.
  @Test func aRefusalIsOneInEveryFormat() throws {
    let event = try #require(Self.sample("set-value-denied"))
    func object(_ format: EventFormat) throws -> [String: Any] {
      try Self.parsed(EventEncoder(format: format, hostName: "h").line(for: event))
    }
    let ecs = try #require(try object(.ecs)["event"] as? [String: Any])
    #expect(ecs["type"] as? [String] == ["change", "denied"] && ecs["outcome"] as? String == "failure")
    let ocsf = try object(.ocsf)
    #expect(ocsf["class_uid"] as? Int == 201002 && ocsf["type_uid"] as? Int == 20_100_202)
    #expect(ocsf["status_id"] as? Int == 2 && ocsf["action_id"] as? Int == 2 && ocsf["disposition_id"] as? Int == 2)
    let driver = try object(.wdfilter)
    #expect(driver["Denied"] as? Bool == true && driver["Status"] as? Int == 0xC000_0022)
    let sysmon = try #require(try object(.sysmon)["Event"] as? [String: Any])
    #expect((sysmon["EventData"] as? [String: Any])?["RegwardOutcome"] as? String == "refused")
    #expect((sysmon["System"] as? [String: Any])?["EventID"] as? Int == 13)
    let xml = try XMLLine(EventEncoder(format: .sysmonXML).line(for: event))
    #expect(xml.data["RegwardOutcome"] == "refused" && xml.data["Details"] == "DWORD (0x00000004)")
  }

  @Test func xmlCarriesTextThatWouldBreakIt() throws {
    let event = Samples.notification(.postSetValueKey, key: #"\REGISTRY\MACHINE\A&B<c>"x"#, value: "\u{1}]]>\n\u{9B}")
    let data = try XMLLine(EventEncoder(format: .sysmonXML).line(for: event)).data
    #expect(data["TargetObject"] == "HKLM\\A&B<c>\"x\\\u{FFFD}]]>\n\u{9B}")
  }

  @Test(arguments: golden)
  func everyLineIsOneJSONObject(name: String) throws {
    let event = try #require(Self.sample(name))
    let object = try Self.parsed(EventEncoder().line(for: event))
    let keys = ["@timestamp", "ecs", "message", "event", "registry", "regward", "process", "user", "winlog"]
    for key in keys { #expect(object[key] != nil, "\(key) is missing") }
    #expect((object["event"] as? [String: Any])?["sequence"] as? Int == 7)
  }

  @Test(arguments: NotifyClass.allCases)
  func everyClassHasALine(notifyClass: NotifyClass) throws {
    let object = try Self.parsed(EventEncoder().line(for: Samples.notification(notifyClass, key: Samples.winDefend)))
    let event = try #require(object["event"] as? [String: Any])
    #expect(event["action"] as? String == notifyClass.name)
    let verb = notifyClass.name.replacing(/RegNt(Pre|Post)?/, with: "").replacing(/Ex$/, with: "")
    let sysmon: [String: String] = [
      "CreateKey": "12", "DeleteKey": "12", "DeleteValueKey": "12", "SetValueKey": "13", "RenameKey": "14",
    ]
    #expect(event["code"] as? String == sysmon[verb])
  }

  private func strings(_ type: ValueType, _ data: [UInt8]) throws -> (details: String?, strings: [String]?, bytes: String?) {
    var event = Samples.notification(.postSetValueKey, key: Samples.winDefend, value: "x")
    event.newValue = RegistryValue(type: type, data: data)
    let object = try Self.parsed(EventEncoder().line(for: event))
    let written = (object["registry"] as? [String: Any])?["data"] as? [String: Any]
    let sysmon = (object["winlog"] as? [String: Any])?["event_data"] as? [String: Any]
    return (sysmon?["Details"] as? String, written?["strings"] as? [String], written?["bytes"] as? String)
  }

  @Test func detailsAreSysmons() throws {
    #expect(try strings(.dword, [1, 0, 0, 0]).details == "DWORD (0x00000001)")
    #expect(try strings(.dword, [1, 0, 0]).details == "Binary Data")
    #expect(try strings(.qword, [1, 2, 3, 4, 5, 6, 7, 8]).details == "QWORD (0x08070605-0x04030201)")
    #expect(try strings(.binary, [1]).details == "Binary Data")
    #expect(try strings(.binary, []).details == "(Empty)")
    #expect(try strings(.expandSz, Samples.utf16("%a%")).details == "%a%")
    #expect(try strings(.sz, Samples.utf16("no end", terminated: false)).details == "no end")
  }

  @Test func stringsAreTextAndDecimal() throws {
    #expect(try strings(.dword, [0xFF, 0xFF, 0xFF, 0xFF]).strings == ["4294967295"])
    #expect(try strings(.dwordBigEndian, [0, 0, 1, 0]).strings == ["256"])
    #expect(try strings(.qword, Array(repeating: 0xFF, count: 8)).strings == ["18446744073709551615"])
    #expect(try strings(.multiSz, Samples.utf16("a\0\0b\0")).strings == ["a", "", "b"])
    #expect(try strings(.multiSz, []).strings == [])
    #expect(try strings(.sz, [0x61]).strings == [""])
    #expect(try strings(.binary, [1]).strings == nil)
  }

  @Test(arguments: 0..<8)
  func bytesAreBase64(count: Int) throws {
    let data = (0..<count).map { UInt8(250 + $0 % 6) }
    #expect(try strings(.binary, data).bytes == Data(data).base64EncodedString())
  }

  @Test func dataOf64KiBIsWhole() throws {
    let data = [UInt8](repeating: 1, count: 65536)
    #expect(try strings(.binary, data).bytes == Data(data).base64EncodedString())
  }

  @Test(arguments: [
    (#"\REGISTRY\MACHINE\SYSTEM\ControlSet001\Services"#, 1, #"HKLM\System\CurrentControlSet\Services"#),
    (#"\REGISTRY\MACHINE\SYSTEM\ControlSet002\Services"#, 1, #"HKLM\System\ControlSet002\Services"#),
    (#"\REGISTRY\MACHINE\SYSTEM\CONTROLSET010"#, 10, #"HKLM\System\CurrentControlSet"#),
    (#"\REGISTRY\MACHINE\SYSTEM\ControlSet01"#, 1, #"HKLM\System\ControlSet01"#),
    (#"\REGISTRY\MACHINE\SYSTEM\ControlSet+01"#, 1, #"HKLM\System\ControlSet+01"#),
    (#"\REGISTRY\MACHINE\SOFTWARE\ControlSet001"#, 1, #"HKLM\SOFTWARE\ControlSet001"#),
    (#"\REGISTRY\MACHINE\SYSTEM\ControlSet001"#, nil, #"HKLM\System\ControlSet001"#),
    (#"\REGISTRY\USER"#, nil, "HKU"),
    (#"\REGISTRY"#, nil, #"\REGISTRY"#),
    ("", nil, #"\"#),
  ] as [(String, UInt32?, String)])
  func targetObjectNamesTheCurrentControlSet(key: String, current: UInt32?, target: String) throws {
    let event = Samples.notification(.postCreateKeyEx, key: UnicodeName(key))
    let object = try Self.parsed(EventEncoder(currentControlSet: current).line(for: event))
    let sysmon = (object["winlog"] as? [String: Any])?["event_data"] as? [String: Any]
    #expect(sysmon?["TargetObject"] as? String == target)
  }

  @Test func namesTheVersionOfTheRulesThatJudged() throws {
    var event = Samples.notification(.preDeleteKey, key: Samples.winDefend, denied: true)
    event.rulesVersion = 42
    let object = try Self.parsed(EventEncoder().line(for: event))
    #expect((object["regward"] as? [String: Any])?["rules_version"] as? Int == 42)
  }

  @Test func saysWhatWasLost() throws {
    let event = Samples.notification(.postDeleteKey, key: Samples.winDefend)
    let loss = EventEncoder.Loss(dropped: 3, failed: 2, errno: 28)
    let object = try Self.parsed(EventEncoder().line(for: event, loss: loss))
    let lost = (object["regward"] as? [String: Any])?["lost"] as? [String: Int]
    #expect(lost == ["dropped": 3, "failed": 2, "errno": 28])
    let without = try Self.parsed(EventEncoder().line(for: event))
    #expect((without["regward"] as? [String: Any])?["lost"] == nil)
  }
}

@Suite struct TimeStampTests {
  @Test(arguments: [
    (0, "1601-01-01T00:00:00.0000000Z"), (116_444_736_000_000_000, "1970-01-01T00:00:00.0000000Z"),
    (116_444_735_999_999_999, "1969-12-31T23:59:59.9999999Z"), (125_963_423_990_000_001, "2000-02-29T23:59:59.0000001Z"),
    (125_963_424_000_000_000, "2000-03-01T00:00:00.0000000Z"), (133_800_000_001_234_567, "2024-12-30T02:40:00.1234567Z"),
    (.max, "30828-09-14T02:48:05.4775807Z"),
  ] as [(UInt64, String)])
  func isRFC3339(ticks: UInt64, text: String) {
    #expect(FileTime(rawValue: ticks).rfc3339 == text)
  }

  @Test func agreesWithFoundationOnManyDays() {
    let formatter = ISO8601DateFormatter()
    for day in stride(from: Int64(-134_774), to: 200_000, by: 397) {
      let time = FileTime(seconds: day * 86_400 + 3_723, nanoseconds: 0)
      let expected = formatter.string(from: Date(timeIntervalSince1970: TimeInterval(day * 86_400 + 3_723)))
      // Foundation switches to the Julian calendar before 1582-10-15, which is before FileTime's first day.
      #expect(time.rfc3339 == expected.replacing("Z", with: ".0000000Z"))
    }
  }
}
