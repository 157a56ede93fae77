/// An event in Process Monitor's columns.
struct EventRow: Hashable {
  struct Detection: Hashable {
    let id: String
    let title: String
    /// Empty where the rule has none.
    let level: String

    init?(_ rule: JSONValue) {
      guard let id = rule["id"]?.string, let title = rule["title"]?.string else { return nil }
      self.id = id
      self.title = title
      level = rule["level"]?.string ?? ""
    }

    var text: String { level.isEmpty ? title : "\(title) (\(level))" }
  }

  /// UTC, RFC 3339.
  let time: String
  let process: String
  let processID: Int64
  let executable: String
  let operation: String
  let path: String
  let result: String
  let detail: String
  let isRefused: Bool
  /// The Sigma rules that fired.
  let detections: [Detection]
  /// Lost before it.
  let lost: Int64

  /// 100 ns since 1970; nil for a time that is none.
  var ticks: Int64? {
    let parts = time.split { !$0.isASCII || !$0.isNumber }.map { Int64($0) }
    guard parts.count == 7, parts.allSatisfy({ $0 != nil }) else { return nil }
    let numbers = parts.compactMap { $0 }
    guard (1601...30_828).contains(numbers[0]), (1...12).contains(numbers[1]), (1...31).contains(numbers[2]) else { return nil }
    // Days by Howard Hinnant's "days_from_civil"; years begin in March.
    let year = numbers[1] > 2 ? numbers[0] : numbers[0] - 1
    let dayOfYear = (153 * ((numbers[1] + 9) % 12) + 2) / 5 + numbers[2] - 1
    let days = year / 400 * 146_097 + year % 400 * 365 + year % 400 / 4 - year % 400 / 100 + dayOfYear - 719_468
    let seconds = days * 86_400 + numbers[3] % 24 * 3600 + numbers[4] % 60 * 60 + numbers[5] % 61
    return seconds * 10_000_000 + numbers[6] % 10_000_000
  }

  /// Nil for what is no event of the format ecs.
  init?(_ event: JSONValue) {
    guard let time = event["@timestamp"]?.string, let action = event["event"]?["action"]?.string,
      event["event"]?["module"]?.string == "regward"
    else { return nil }
    self.time = time
    let process = event["process"]
    processID = process?["pid"]?.integer ?? 0
    executable = process?["executable"]?.string ?? ""
    self.process = process?["name"]?.string ?? "<unknown>"
    operation = Self.operation(action)
    let registry = event["registry"]
    let value = registry?["value"]?.string
    let path = registry?["path"]?.string ?? ""
    self.path = value == "" ? path + "(Default)" : path
    let types = (event["event"]?["type"]?.elements ?? []).compactMap(\.string)
    isRefused = types.contains("denied")
    let regward = event["regward"]
    result = Self.result(regward?["status"]?.string, isFailure: event["event"]?["outcome"]?.string == "failure")
    detections = (regward?["sigma"]?.elements ?? []).compactMap { Detection($0) }
    detail = Self.detail(event, detections)
    lost = (regward?["lost"]?["dropped"]?.integer ?? 0) + (regward?["lost"]?["failed"]?.integer ?? 0)
  }

  /// `RegSetValue` for `RegNtPreSetValueKey`; other kinds of events keep their names.
  private static func operation(_ action: String) -> String {
    switch action {
    case "process-created": return "Process Start"
    case "process-terminated": return "Process Exit"
    default: break
    }
    guard action.hasPrefix("RegNt") else { return action }
    var name = action.dropFirst(5)
    for prefix in ["Pre", "Post"] where name.hasPrefix(prefix) { name = name.dropFirst(prefix.count) }
    return names[String(name)] ?? "Reg\(name)"
  }

  /// Process Monitor's names where they are not the class's with `Reg` before it.
  private static let names = [
    "CreateKeyEx": "RegCreateKey", "OpenKeyEx": "RegOpenKey", "SetValueKey": "RegSetValue", "DeleteValueKey": "RegDeleteValue",
    "QueryValueKey": "RegQueryValue", "EnumerateKey": "RegEnumKey", "EnumerateValueKey": "RegEnumValue",
    "SetInformationKey": "RegSetInfoKey", "UnLoadKey": "RegUnloadKey", "KeyHandleClose": "RegCloseKey",
    "QueryKeySecurity": "RegQueryKeySecurity", "SetKeySecurity": "RegSetKeySecurity",
  ]

  private static func result(_ status: String?, isFailure: Bool) -> String {
    switch status {
    case "0x00000000": "SUCCESS"
    case "0xC0000022": "ACCESS DENIED"
    case "0xC000007F": "DISK FULL"
    case let status?: status
    case nil: isFailure ? "FAILURE" : "SUCCESS"
    }
  }

  /// What Process Monitor says of a value, and by which rule.
  private static func detail(_ event: JSONValue, _ detections: [Detection]) -> String {
    var parts: [String] = []
    let regward = event["regward"]
    if let data = event["registry"]?["data"] {
      parts.append("Type: \(data["type"]?.string ?? "?")")
      parts.append("Length: \(regward?["data"]?["length"]?.integer ?? length(ofBase64: data["bytes"]?.string ?? ""))")
      if let strings = data["strings"]?.elements?.compactMap(\.string) {
        parts.append("Data: \(strings.joined(separator: ", "))")
      }
    }
    if let name = regward?["new_key"]?.string { parts.append("New Name: \(name)") }
    if let file = event["file"]?["path"]?.string { parts.append("File: \(file)") }
    let rules = event["rule"]?["id"]
    let source = regward?["rule_source"]?.string
    // The first one is the policy's, if that has decided anything.
    if let rule = rules?.string ?? rules?.elements?.first?.string, source != nil || detections.isEmpty {
      parts.append("Rule: \(rule)" + (source.map { " (\($0))" } ?? ""))
    }
    if !detections.isEmpty { parts.append("Sigma: " + detections.map(\.text).joined(separator: "; ")) }
    if regward?["audited"]?.boolean == true { parts.append("Audited: would be refused") }
    if let decidedBy = regward?["decided_by"]?.string { parts.append("Decided by: \(decidedBy)") }
    if let parent = event["process"]?["parent"]?["pid"]?.integer, event["registry"] == nil { parts.append("Parent PID: \(parent)") }
    if let error = regward?["error"]?.string { parts.append("Error: \(error)") }
    return parts.joined(separator: ", ")
  }

  private static func length(ofBase64 text: String) -> Int64 {
    Int64(text.utf8.count / 4 * 3 - text.utf8.suffix(2).count { $0 == UInt8(ascii: "=") })
  }
}
