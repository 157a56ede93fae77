import Executive
import Notifications
import PolicyFile
import Testing
import WdFilter

@testable import Sigma

/// SEMANTICS 12.3 and 12.4: whole rules on whole events. Each fires on its event, and not on the one beside it.
@Suite struct SigmaRuleTests {
  /// One thing done.
  struct Deed: Sendable, CustomStringConvertible {
    let notifyClass: NotifyClass
    let key: String
    var value: String?
    var type = ValueType.sz
    var data: [UInt8]?
    var newKey: String?
    var image: String? = "/usr/bin/sed"
    var userID: UInt32 = 1000

    var description: String { "\(notifyClass) \(key) \(value ?? "")" }

    var notification: Notifications.Notification {
      var process = ProcessDescription(processID: 12, threadID: 12, userID: userID, groupID: 0)
      process.executable = image
      var event = Notification(
        time: FileTime(rawValue: 1), notifyClass: notifyClass, status: .success, denied: false, process: process, keyName: UnicodeName(key))
      event.valueName = value.map { UnicodeName($0) }
      event.newKeyName = newKey.map { UnicodeName($0) }
      event.newValue = data.map { RegistryValue(type: type, data: $0) }
      return event
    }
  }

  private static func set(_ key: String, _ value: String, _ text: String?, image: String? = "/usr/bin/sed", user: UInt32 = 1000) -> Deed {
    Deed(
      notifyClass: .postSetValueKey, key: key, value: value,
      data: text.map { Array(($0 + "\0").utf16).flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] } }, image: image, userID: user)
  }

  private static func setNumber(_ key: String, _ value: String, _ number: UInt8) -> Deed {
    Deed(notifyClass: .postSetValueKey, key: key, value: value, type: .dword, data: [number, 0, 0, 0])
  }

  private static func done(_ notifyClass: NotifyClass, _ key: String, _ value: String? = nil, to newKey: String? = nil) -> Deed {
    Deed(notifyClass: notifyClass, key: key, value: value, newKey: newKey)
  }

  private static let services = #"\REGISTRY\MACHINE\SYSTEM\ControlSet001\Services"#
  private static let winlogon = #"\REGISTRY\MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon"#
  private static let debugged = #"\REGISTRY\MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Image File Execution Options\sethc.exe"#
  private static let policies = #"\REGISTRY\MACHINE\SOFTWARE\Policies\Acme\Client"#
  private static let paths = #"\REGISTRY\MACHINE\SOFTWARE\Acme\Exclusions\Paths"#
  private static let base64 = String(repeating: "QUJD", count: 12)

  /// Rule, event, neighbour.
  static let table: [(id: String, fires: Deed, silent: Deed)] = [
    ("47eaa099-2cb6-416d-86dc-283cf0480ff9", set(run, "a", #"C:\Users\x\AppData\Roaming\a.exe"#), set(run, "a", #"C:\Windows\a.exe"#)),
    // Both parts of the exception, or none.
    (
      "47eaa099-2cb6-416d-86dc-283cf0480ff9", set(run, "a", #"C:\AppData\Acme\updater.exe"#),
      set(run, "a", #"C:\AppData\Acme\updater.exe"#, image: #"C:\Program Files\Acme\setup.exe"#)
    ),
    ("1509bb0a-9bf1-4331-8a11-8783593942a4", set(debugged, "Debugger", "cmd.exe"), set(debugged, "DebuggerFlags", "cmd.exe")),
    ("1509bb0a-9bf1-4331-8a11-8783593942a4", set(debugged, "debugger", "x"), Deed(notifyClass: .postSetValueKey, key: debugged, value: "Debugger", data: [])),
    ("f5ec52ed-0108-4475-92e1-bc7656670b14", set(winlogon, "Shell", "explorer.exe, evil.exe"), set(winlogon, "Shell", "Explorer.EXE")),
    ("f5ec52ed-0108-4475-92e1-bc7656670b14", set(winlogon, "Userinit", "x"), set(winlogon, "Userinit", nil)),
    (
      "59ba1b0d-5c90-4158-a909-406c2e416788", setNumber(services + #"\AcmeFilter"#, "Start", 4),
      setNumber(services + #"\AcmeFilter"#, "Start", 3)
    ),
    // Sysmon names the set that is in use by its link, and no other.
    (
      "59ba1b0d-5c90-4158-a909-406c2e416788", setNumber(services + #"\Acme"#, "start", 4),
      setNumber(#"\REGISTRY\MACHINE\SYSTEM\ControlSet002\Services\Acme"#, "Start", 4)
    ),
    ("5d32fe61-985f-44e7-aa09-5ee82bb29976", done(.postCreateKeyEx, services + #"\tunnel7"#), done(.postDeleteKey, services + #"\tunnel7"#)),
    ("5d32fe61-985f-44e7-aa09-5ee82bb29976", done(.postCreateKeyEx, services + #"\Tunzel"#), done(.postCreateKeyEx, services + #"\Tunel"#)),
    (
      "9a1e40b4-5815-4a99-99e2-d15364c7a500", done(.postDeleteKey, #"\REGISTRY\MACHINE\SYSTEM\ControlSet001\Control\SafeBoot\Minimal\Disk"#),
      done(.postDeleteValueKey, #"\REGISTRY\MACHINE\SYSTEM\ControlSet001\Control\SafeBoot\Minimal"#, "x")
    ),
    (
      "68b4aef7-3eaa-4e17-9d8a-4eace693ae2d", done(.postDeleteValueKey, acme + #"\Attachments"#, "SaveZoneInformation"),
      set(acme + #"\Attachments"#, "SaveZoneInformation", "x")
    ),
    (
      "142c8364-7806-4577-93e7-83e7eb04b39b", done(.postRenameKey, run, to: run + ".bak"),
      done(.postRenameKey, acme, to: acme + ".bak")
    ),
    ("3b041641-1788-44f2-a60d-f25453fe2e85", done(.postCreateKeyEx, #"\REGISTRY\MACHINE\SOFTWARE\Backdoor"#), set(#"\REGISTRY\MACHINE\SOFTWARE\Backdoor"#, "v", "x")),
    ("00a154d8-5ed8-4bcc-b5c7-19c2add9ca88", set(#"\REGISTRY\MACHINE\SOFTWARE\Backdoor"#, "v", "x"), done(.postDeleteKey, #"\REGISTRY\MACHINE\SOFTWARE\Backdoor"#)),
    ("c0290103-855d-4f55-99ec-8712e8e3574f", set(acme, "v", base64 + "=="), set(acme, "v", base64 + "-==")),
    ("6e704245-a4ff-41e3-a794-9b80dcb0b82e", set(acme, "v", "run HTTP://x.example/a.PS1 now"), set(acme, "v", "http://x.example/a.ps1x")),
    ("de1b1471-320a-48ea-b7a7-88d106762832", set(acme, "v", "PowerShell -w hidden -Enc x"), set(acme, "v", "powershell -enc x")),
    ("4350cc17-21e5-4f21-acd5-52a09ddbef12", set(acme, "v", "by AcmeBuilder 2"), set(acme, "v", "by acmebuilder 2")),
    ("9ed89edd-d684-4325-b600-e6129ec04ece", set(paths, "v", "*"), set(paths, "v", "all")),
    (
      "627bf322-5fac-4cb6-a34a-cb115ee347dd", set(policies, "v", "x", image: #"C:\Windows\regedit.exe"#),
      set(policies, "v", "x", image: "/usr/bin/regedit.exe2")
    ),
    (
      "627bf322-5fac-4cb6-a34a-cb115ee347dd", set(policies, "v", "x", image: #"C:\Windows\System32\REG.EXE"#),
      set(policies, "v", "x", image: #"C:\Windows\regedit.exe"#, user: 4711)
    ),
    ("a930d55d-9545-40f3-ae88-9fe46f2c7a8c", set(#"\REGISTRY\MACHINE\SOFTWARE\Orphans\a"#, "v", "x", image: nil), set(#"\REGISTRY\MACHINE\SOFTWARE\Orphans\a"#, "v", "x")),
  ]

  @Test func eachFiresOnItsEventAndNotOnTheOneBesideIt() throws {
    let rules = try #require(try RuleFolder.fixtures().load().rules.sigma).rules
    for (id, fires, silent) in Self.table {
      let fired = try [fires, silent].map { deed in
        rules.matches(try #require(SigmaEvent(deed.notification, currentControlSet: 1))).map(\.id).contains(id)
      }
      #expect(fired == [true, false], "\(id) \(fires)")
    }
    #expect(Set(Self.table.map(\.id)) == Set(rules.rules.map(\.id)) && rules.rules.count >= 12)
  }

  /// 12.3: what a rule sees is what the format says, each field of it.
  @Test func rulesSeeWhatSysmonsReadersSee() throws {
    let deed = Self.set(run, "", "x")
    let line = String(decoding: EventEncoder(format: .sysmon, currentControlSet: 1).line(for: deed.notification), as: UTF8.self)
    let event = try #require(SigmaEvent(deed.notification, currentControlSet: 1))
    for (field, text) in [
      ("TargetObject", #"HKU\S-1-5-21-1\Software\Microsoft\Windows\CurrentVersion\Run\(Default)"#), ("Details", "x"), ("EventType", "SetValue"),
      ("Image", "/usr/bin/sed"), ("ProcessId", "12"), ("User", "1000"),
    ] {
      #expect(line.contains("\"\(field)\":\"\(text.replacing(#"\"#, with: #"\\"#))\""), "\(line)")
      let isSame = try SigmaItem(key: field + "|cased", values: [.text(text.replacing(#"\"#, with: #"\\"#))]).matches(event)
      #expect(isSame == true, "\(field)")
    }
    #expect(line.contains(#""EventID":13"#))
    #expect(try item("EventID", "13").matches(event) == true)
    for notifyClass in NotifyClass.allCases {
      let told = Deed(notifyClass: notifyClass, key: acme).notification
      #expect((SigmaEvent(told, currentControlSet: nil) != nil) == (SigmaOperation(notifyClass) != nil), "\(notifyClass)")
    }
    #expect(SigmaOperation(.preSetKeySecurity) == nil && SigmaOperation(.preRenameKey) == .renameKey && SigmaOperation(.postCreateKeyEx) == .createKey)
  }

  @Test func techniquesAreThoseOfTheTags() {
    let tags = ["attack.t1547.001", "attack.persistence", "attack.T1112", "cve.2021-1", "attack.tx", "attack.t1.2.3", "attack.t"]
    let rule = SigmaRule(id: "i", title: "t", tags: tags, category: .set, searches: [], conditions: [], file: "f", line: 3)
    #expect(rule.techniques == ["T1547.001", "T1112"] && rule.source == "f:3")
  }
}
