import PolicyFile
import Testing
import Yams

/// The schema and the reader are two descriptions of one format: they must agree.
@Suite("JSON Schema of policies")
struct PolicySchemaTests {
  // One of each test's own: to ask a node for its tag changes it.
  private let root: Node

  init() throws { root = try #require(try Yams.compose(yaml: PolicySchema.text)) }

  // MARK: As much of JSON Schema as the schema uses

  private func problem(_ node: Node, _ schema: Node, _ path: String = "") -> String? {
    if let reference = schema["$ref"]?.string {
      guard let target = reference.split(separator: "/").dropFirst().reduce(root as Node?, { $0?[String($1)] }) else {
        return "\(path): no \(reference)"
      }
      return problem(node, target, path)
    }
    if let type = schema["type"]?.string, !isOf(type, node) { return "\(path): no \(type)" }
    if let constant = schema["const"]?.int, node.int != constant { return "\(path): not \(constant)" }
    if let choices = schema["enum"]?.sequence, !choices.contains(where: { $0.string == node.scalar?.string }) {
      return "\(path): not one of the choices"
    }
    if let text = node.scalar?.string {
      if let minimum = schema["minLength"]?.int, text.count < minimum { return "\(path): too short" }
      if let maximum = schema["maxLength"]?.int, text.count > maximum { return "\(path): too long" }
      if let pattern = schema["pattern"]?.string, let regex = try? Regex(pattern), text.firstMatch(of: regex) == nil {
        return "\(path): not as \(pattern)"
      }
    }
    if schema["type"]?.string == "integer", let number = node.int {
      if let minimum = schema["minimum"]?.int, number < minimum { return "\(path): too small" }
      if let maximum = schema["maximum"]?.int, number > maximum { return "\(path): too large" }
    }
    for item in node.sequence ?? [] {
      if let items = schema["items"], let found = problem(item, items, path + "[]") { return found }
    }
    if let mapping = node.mapping {
      if let minimum = schema["minProperties"]?.int, mapping.count < minimum { return "\(path): empty" }
      for name in schema["required"]?.sequence ?? [] where node[name.string ?? ""] == nil {
        return "\(path): lacks \(name)"
      }
      for (key, value) in mapping {
        let name = key.string ?? ""
        if let properties = schema["properties"] {
          guard let property = properties[name] else { return "\(path): unknown \(name)" }
          if let found = problem(value, property, path + "." + name) { return found }
        }
      }
    }
    if let any = schema["anyOf"]?.sequence, any.allSatisfy({ problem(node, $0, path) != nil }) {
      return "\(path): none of"
    }
    if let one = schema["oneOf"]?.sequence, one.count(where: { problem(node, $0, path) == nil }) != 1 {
      return "\(path): not one of"
    }
    return nil
  }

  private func isOf(_ type: String, _ node: Node) -> Bool {
    switch type {
    case "object": node.mapping != nil
    case "array": node.sequence != nil
    case "integer": node.int != nil
    case "boolean": node.bool != nil
    default: node.scalar != nil
    }
  }

  private func schemaAccepts(_ text: String) throws -> Bool {
    guard let node = try Yams.compose(yaml: text) else { return false }
    return problem(node, root) == nil
  }

  private func readerAccepts(_ text: String) -> Bool { (try? PolicyFile.parse(text: text, fileName: "p")) != nil }

  // MARK: Both

  private static let good = [
    "version: 1", PolicyFileTests.full, "version: 1\nmode: off", "version: 1\nreport_failures: false",
    "version: 1\nsync: {}\nqueue: {}", "version: 1\nquery_denied: []", "version: 1\nhardened: [{service: A}]",
    "version: 1\ndoc_open: []", "version: 1\nexclusions: [agent]",
    "version: 1\nprocesses: [{id: a, when: {uid: 0}, rules: []}]",
    "version: 1\nmonitored: [{id: a, key: '\\REGISTRY\\USER\\*', values: [{name: '', rules: 0x2D00}]}]",
  ]

  private static let bad = [
    "{}", "[1]", "version: 2", "version: 1\nmode: on", "version: 1\nsubtree: 7", "version: 1\nreport_failures: maybe",
    "version: 1\nxyzzy: 1", "version: 1\nsigma: {}", "version: 1\nsigma: {deny: []}", "version: 1\nsigma: {path: a, denny: []}",
    "version: 1\nsigma: {path: ''}", "version: 1\nsigma: {path: a, deny: b}", "version: 1\nsigma: {path: a, actor: [b]}", "version: 1\ndoc_open: {}", "version: 1\ndoc_open: [{image: a}]",
    "version: 1\ndoc_open: [{extension: a}]", "version: 1\ndoc_open: [{image: /a, extension: b}]",
    "version: 1\ndoc_open: [{image: a, extension: .b}]", "version: 1\ndoc_open: [{image: '', extension: b}]", "version: 1\nhardened: {}",
    "version: 1\nhardened: [{}]", "version: 1\nhardened: [{service: A, key: HKLM}]",
    "version: 1\nhardened: [{service: 'A\\B'}]", "version: 1\nhardened: [{key: HKLM, match: prefix}]",
    "version: 1\nquery_denied: [{value: x}]", "version: 1\nquery_denied: [{to: [MsSeces]}]",
    "version: 1\nprocesses: [{id: a, when: {uid: 0}}]", "version: 1\nprocesses: [{id: a, when: {}, flags: []}]",
    "version: 1\nprocesses: [{id: a, flags: []}]", "version: 1\nprocesses: [{when: {uid: 0}, flags: []}]",
    "version: 1\nprocesses: [{id: a, when: {uid: -1}, flags: []}]",
    "version: 1\nprocesses: [{id: a, when: {uid: 4294967295}, flags: []}]",
    "version: 1\nprocesses: [{id: a, when: {exe: sh}, flags: []}]",
    "version: 1\nprocesses: [{id: a, when: {cgroup: ''}, flags: []}]",
    "version: 1\nprocesses: [{id: a, when: {uid: 0}, flags: [Best]}]",
    "version: 1\nmonitored: [{id: a, key: HKLM}]", "version: 1\nmonitored: [{id: a, rules: 1}]",
    "version: 1\nmonitored: [{key: HKLM, rules: 1}]", "version: 1\nmonitored: [{id: '', key: HKLM, rules: 1}]",
    "version: 1\nmonitored: [{id: a, key: SOFTWARE, rules: 1}]",
    "version: 1\nmonitored: [{id: a, key: HKLM, rules: 0x1FFFFFFFF}]",
    "version: 1\nmonitored: [{id: a, key: HKLM, rules: [Deny]}]",
    "version: 1\nmonitored: [{id: a, key: HKLM, rules: 1, hash: abc}]",
    "version: 1\nmonitored: [{id: a, key: HKLM, rules: 1, mode: on}]",
    "version: 1\nmonitored: [{id: a, key: HKLM, values: [{name: x}]}]",
    "version: 1\nexclusions: ['']", "version: 1\nexclusions: [bin/sh]", "version: 1\nsync: {timeout_ms: 0}", "version: 1\nsync: {timeout: 1}",
    "version: 1\nsync: {timeouts_until_pass_through: 1001}", "version: 1\nsync: {retry_after_ms: 3600001}",
    "version: 1\nsync: {on_timeout: wait}", "version: 1\nqueue: {size: 1048577}",
    "version: 1\nqueue: {starvation_limit: 65536}", "version: 1\ninclude: site.yaml",
  ]

  @Test(arguments: good) func bothAccept(text: String) throws {
    #expect(try schemaAccepts(text))
    #expect(readerAccepts(text))
  }

  @Test(arguments: bad) func bothRefuse(text: String) throws {
    #expect(try !schemaAccepts(text))
    #expect(!readerAccepts(text))
  }

  @Test func everyNameOfTheSchemaIsOneOfTheReaders() throws {
    // `full` has every name that the reader knows; include and sigma need a file.
    var names: Set<String> = []
    func collect(_ node: Node) {
      for (key, value) in node["properties"]?.mapping ?? [:] {
        if let name = key.string { names.insert(name) }
        if key.string != "sigma" { collect(value) }
      }
    }
    collect(root)
    for (_, definition) in try #require(root["$defs"]?.mapping) { collect(definition) }
    #expect(names.count > 25)
    for name in names where name != "include" && name != "sigma" {
      #expect(PolicyFileTests.full.contains("\(name):"), "\(name)")
    }
  }

  @Test func everySectionOfTheReaderIsOneOfTheSchemas() throws {
    var message = ""
    do throws(PolicyError) { _ = try PolicyFile.parse(text: "version: 1\nqwertzuiopasdf: 1", fileName: "p") } catch {
      message = error.description
    }
    let known = try #require(message.split(separator: "known: ").last).split(separator: ", ").map { String($0) }
    let properties = Set(try #require(root["properties"]?.mapping).compactMap(\.key.string))
    #expect(Set(known) == properties)
  }
}
