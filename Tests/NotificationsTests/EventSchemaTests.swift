import Executive
import Foundation
import Testing

@testable import Notifications

/// As much of JSON Schema as the schema of events uses.
struct SchemaValidator {
  private let root: [String: Any]

  struct Unreadable: Error {}

  init() throws {
    guard let root = try JSONSerialization.jsonObject(with: Data(EventSchema.text)) as? [String: Any] else { throw Unreadable() }
    self.root = root
  }

  /// The first thing that is wrong with a line; nil for nothing.
  func problem(_ line: [UInt8]) throws -> String? {
    problem(try JSONSerialization.jsonObject(with: Data(line)), root, "")
  }

  private static let known: Set<String> = [
    "$schema", "$defs", "$ref", "title", "description", "type", "required", "properties", "additionalProperties", "items", "enum",
    "const", "pattern", "minimum", "minLength", "oneOf",
  ]

  private func problem(_ value: Any, _ schema: [String: Any], _ path: String) -> String? {
    if let unknown = schema.keys.first(where: { !Self.known.contains($0) }) { return "\(path): this validator knows no \(unknown)" }
    if let reference = schema["$ref"] as? String {
      guard let name = reference.split(separator: "/").last,
        let target = (root["$defs"] as? [String: Any])?[String(name)] as? [String: Any]
      else { return "\(path): no \(reference)" }
      return problem(value, target, path)
    }
    if let either = schema["oneOf"] as? [[String: Any]], either.count(where: { problem(value, $0, path) == nil }) != 1 {
      return "\(path): not one of"
    }
    if let type = schema["type"] as? String, !isOf(type, value) { return "\(path): no \(type)" }
    if let constant = schema["const"], !isSame(constant, value) { return "\(path): not \(constant)" }
    if let choices = schema["enum"] as? [Any], !choices.contains(where: { isSame($0, value) }) {
      return "\(path): not one of the choices"
    }
    if let minimum = schema["minimum"] as? Int, let number = value as? NSNumber, number.int64Value < minimum {
      return "\(path): too small"
    }
    if let text = value as? String {
      if let minimum = schema["minLength"] as? Int, text.count < minimum { return "\(path): too short" }
      if let pattern = schema["pattern"] as? String, text.range(of: pattern, options: .regularExpression) == nil {
        return "\(path): not as \(pattern)"
      }
    }
    if let items = schema["items"] as? [String: Any] {
      for item in value as? [Any] ?? [] {
        if let found = problem(item, items, path + "[]") { return found }
      }
    }
    guard let object = value as? [String: Any] else { return nil }
    for name in schema["required"] as? [String] ?? [] where object[name] == nil { return "\(path): lacks \(name)" }
    let properties = schema["properties"] as? [String: Any] ?? [:]
    for (name, member) in object {
      guard let property = properties[name] as? [String: Any] else { return "\(path): unknown \(name)" }
      if let found = problem(member, property, path + "." + name) { return found }
    }
    return nil
  }

  private func isOf(_ type: String, _ value: Any) -> Bool {
    switch type {
    case "object": value is [String: Any]
    case "array": value is [Any]
    case "boolean": isBoolean(value)
    case "integer": !isBoolean(value) && (value as? NSNumber).map { $0.doubleValue == $0.doubleValue.rounded() } == true
    default: value is String
    }
  }

  private func isBoolean(_ value: Any) -> Bool { (value as? NSNumber).map { String(cString: $0.objCType) == "c" } ?? false }

  private func isSame(_ a: Any, _ b: Any) -> Bool {
    isBoolean(a) == isBoolean(b) && (a as? NSObject)?.isEqual(b) == true
  }
}

@Suite struct EventSchemaTests {
  private let validator: SchemaValidator

  init() throws { validator = try SchemaValidator() }

  @Test func everySampleIsValid() throws {
    for event in EventEncoderTests.script {
      let line = EventEncoder(currentControlSet: 1, hostName: "h").line(for: event, loss: .init(dropped: 1, failed: 2, errno: 3))
      #expect(try validator.problem(line) == nil, "\(event)")
    }
  }

  @Test(arguments: NotifyClass.allCases)
  func everyClassIsValid(notifyClass: NotifyClass) throws {
    var event = Samples.notification(notifyClass, key: Samples.winDefend, value: "v", denied: true)
    event.newValue = RegistryValue(type: .qword, data: Array(repeating: 0xFF, count: 8))
    event.oldValue = RegistryValue(type: .binary, data: Array(repeating: 1, count: 70_000))
    event.decidedBy = "d"
    #expect(try validator.problem(EventEncoder().line(for: event)) == nil)
  }

  /// A schema that takes anything would prove nothing.
  @Test(arguments: [
    (#""sequence":7"#, #""sequence":0"#), (#""sequence":7"#, #""sequence":"7""#), (#""kind":"event""#, #""kind":"alert""#),
    (#""outcome":"success""#, #""outcome":"maybe""#), (#""module":"regward","#, ""), (#""thread":{"id":1235}"#, #""thread":{}"#),
    (#""path":"#, #""pfad":"#), (#"T02:40:00.1234567Z""#, #"T02:40:00Z""#), (#""status":"0x00000000""#, #""status":0"#),
    (#""category":["configuration","registry"]"#, #""category":"registry""#),
  ])
  func whatIsWrongIsFound(right: String, wrong: String) throws {
    let line = String(
      decoding: EventEncoder().line(for: Samples.notification(.postDeleteKey, key: Samples.winDefend)), as: UTF8.self)
    #expect(try validator.problem(Array(line.utf8)) == nil)
    #expect(line.contains(right))
    #expect(try validator.problem(Array(line.replacing(right, with: wrong, maxReplacements: 1).utf8)) != nil)
  }

  /// Field names of Elastic Common Schema 8.17 (generated/csv/fields.csv of elastic/ecs), as far as events use them.
  private static let ecsNames: Set<String> = [
    "@timestamp", "ecs.version", "event.action", "event.category", "event.code", "event.dataset", "event.kind", "event.module",
    "event.outcome", "event.sequence", "event.type", "file.extension", "file.path", "group.id", "host.hostname", "message",
    "process.command_line", "process.entity_id", "process.executable", "process.name", "process.parent.pid", "process.pid",
    "process.start", "process.thread.id", "registry.data.bytes", "registry.data.strings", "registry.data.type", "registry.hive",
    "registry.key", "registry.path", "registry.value", "rule.id", "rule.name", "user.id",
  ]

  /// What is neither ours nor Winlogbeat's has a name that Elastic knows.
  @Test func everyNameIsOneOfECS() throws {
    func names(_ value: Any, _ path: String) -> Set<String> {
      guard let object = value as? [String: Any] else { return [path] }
      return object.reduce(into: []) { $0.formUnion(names($1.value, path.isEmpty ? $1.key : path + "." + $1.key)) }
    }
    var used: Set<String> = []
    for event in EventEncoderTests.script {
      used.formUnion(names(try EventEncoderTests.parsed(EventEncoder(hostName: "h").line(for: event)), ""))
    }
    let others = used.filter { !$0.hasPrefix("regward.") && !$0.hasPrefix("winlog.") }
    #expect(others.subtracting(Self.ecsNames) == [])
    #expect(Self.ecsNames.subtracting(others) == [])
  }
}
