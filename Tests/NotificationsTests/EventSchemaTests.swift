import Executive
import Foundation
import Testing

@testable import Notifications

/// As much of JSON Schema as the schemas of events use.
struct SchemaValidator {
  private let root: [String: Any]

  struct Unreadable: Error {}

  init(_ schema: Data = Data(EventSchema.text)) throws {
    guard let root = try JSONSerialization.jsonObject(with: schema) as? [String: Any] else { throw Unreadable() }
    self.root = root
  }

  /// That of OCSF's classes.
  private static func ofOCSF() throws -> SchemaValidator {
    try SchemaValidator(
      Data(contentsOf: URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden/ocsf.schema.json")))
  }

  /// What is wrong with a line of `ecs` or `ocsf`, by the schema of its format; nil for nothing, and for the formats without one.
  static func problem(inLine line: [UInt8]) throws -> String? {
    guard let object = try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any] else { throw Unreadable() }
    if let classID = object["class_uid"] {
      return try ofOCSF().problem(object, ["$ref": "#/$defs/class_\(classID)"], "")
    }
    return object["ecs"] == nil ? nil : try SchemaValidator().problem(line)
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
    guard let properties = schema["properties"] as? [String: Any] else { return nil }
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

  /// SEMANTICS 6.21: names, required attributes and numbers are OCSF's, of every class, with every type of value.
  @Test(arguments: NotifyClass.allCases)
  func everyClassIsOCSF(notifyClass: NotifyClass) throws {
    for type in 0...12 {
      var event = Samples.notification(notifyClass, key: Samples.winDefend, value: type == 0 ? nil : "v", denied: type % 2 == 0)
      event.newKeyName = type == 0 ? Samples.winDefend : nil
      event.newValue = RegistryValue(type: ValueType(rawValue: UInt32(type)), data: Array(repeating: 1, count: 8))
      event.oldValue = RegistryValue(type: ValueType(rawValue: UInt32(type)), data: [1, 2, 3])
      let line = EventEncoder(format: .ocsf, hostName: "h").line(for: .registry(event), loss: .init(dropped: 1))
      #expect(try SchemaValidator.problem(inLine: line) == nil, "type \(type)")
    }
  }

  @Test(arguments: [
    (#""severity_id":1"#, #""severity_id":7"#), (#""action_id":1"#, #""action_id":5"#), (#""activity_id":2"#, #""activity_id":6"#),
    (#""type_uid":20100202"#, #""type_uid":20100206"#), (#""category_uid":1"#, #""category_uid":0"#), (#""type_id":10"#, #""type_id":11"#),
    (#""name":"v""#, #""value":"v""#), (#""pid":1234"#, #""pid":"1234""#), (#""reg_string_data":"#, #""reg_text":"#),
    (#""version":"1.8.0""#, #""version":"1.7.0""#),
  ])
  func whatIsNotOCSFIsFound(right: String, wrong: String) throws {
    var event = Samples.notification(.postSetValueKey, key: Samples.winDefend, value: "v")
    event.newValue = RegistryValue(type: .sz, data: Samples.utf16("x"))
    let line = String(decoding: EventEncoder(format: .ocsf, hostName: "h").line(for: event), as: UTF8.self)
    #expect(try SchemaValidator.problem(inLine: Array(line.utf8)) == nil)
    #expect(line.contains(right))
    #expect(try SchemaValidator.problem(inLine: Array(line.replacing(right, with: wrong, maxReplacements: 1).utf8)) != nil)
  }

  /// The attribute for bytes is OCSF's for two types only; a type that it has no number for is 99, Other, and has its name beside.
  @Test(arguments: [
    (ValueType.binary, 1, "reg_binary_data"), (.none, 7, "reg_binary_data"), (.dword, 2, "data"), (.sz, 10, "reg_string_data"),
    (.multiSz, 6, "reg_string_list_data"), (ValueType(rawValue: 8), 99, "data"), (ValueType(rawValue: 0xFFFF_0012), 99, "data"),
  ])
  func dataIsInTheAttributeOfItsType(type: ValueType, number: Int, attribute: String) throws {
    var event = Samples.notification(.postSetValueKey, key: Samples.winDefend, value: "v")
    event.newValue = RegistryValue(type: type, data: [0x61, 0, 0])
    let object = try EventEncoderTests.parsed(EventEncoder(format: .ocsf, hostName: "h").line(for: event))
    let value = try #require(object["reg_value"] as? [String: Any])
    #expect(value["type_id"] as? Int == number && value["type"] as? String == type.name)
    #expect(value.keys.filter { $0 == "data" || $0.hasPrefix("reg_") } == [attribute])
  }

  /// Field names of Elastic Common Schema 8.17.0 (generated/csv/fields.csv of elastic/ecs), as far as events use them.
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
    #expect(EventEncoder.schemaVersion == "8.17.0")
    let others = used.filter { !$0.hasPrefix("regward.") && !$0.hasPrefix("winlog.") }
    #expect(others.subtracting(Self.ecsNames) == [])
    #expect(Self.ecsNames.subtracting(others) == [])
  }
}
