internal import Sigma
internal import Yams

/// Reads the text of one file of Sigma rules, a document each.
struct SigmaReader {
  enum Outcome {
    case rule(SigmaRule)
    /// It is about something else than the registry.
    case other(id: String?)
    case leftOut(id: String?, PolicyProblem)
  }

  private struct Failure: Error {
    let place: PolicyReader.Place
    let message: String

    init(_ node: Node, _ message: String) {
      place = PolicyReader.Place(node.mark)
      self.message = message
    }
  }

  private let fileName: String

  static func read(_ text: String, fileName: String) -> [Outcome] {
    let reader = SigmaReader(fileName: fileName)
    var documents: [Node] = []
    do {
      let parser = try Parser(yaml: text)
      while let document = try parser.nextRoot() { documents.append(document) }
    } catch {
      // What stands before the place may be cut off in its midst.
      let (place, message) = PolicyReader.problem(error, in: text)
      return [.leftOut(id: nil, reader.problem(place, message))]
    }
    return documents.map { reader.outcome(of: $0) }
  }

  private func problem(_ place: PolicyReader.Place, _ message: String) -> PolicyProblem {
    PolicyProblem(severity: .warning, file: fileName, line: place.line, column: place.column, message: message)
  }

  private func outcome(of document: Node) -> Outcome {
    let id = document.mapping?["id"]?.scalar?.string
    do throws(Failure) {
      guard let rule = try rule(document) else { return .other(id: id) }
      return .rule(rule)
    } catch {
      return .leftOut(id: id, problem(error.place, error.message))
    }
  }

  /// Nil for what is not about the registry.
  private func rule(_ document: Node) throws(Failure) -> SigmaRule? {
    guard let entries = document.mapping else { throw Failure(document, "a rule is a mapping") }
    if let action = entries["action"] { throw Failure(action, "documents with 'action' are not supported") }
    if entries["correlation"] != nil { return nil }
    guard let source = entries["logsource"] else { throw Failure(document, "'logsource' is missing") }
    guard let logsource = source.mapping else { throw Failure(source, "'logsource' is a mapping") }
    guard let category = logsource["category"]?.scalar.flatMap({ SigmaCategory(rawValue: $0.string) }),
      logsource["product"].map({ $0.scalar?.string == "windows" }) ?? true
    else { return nil }
    if let service = logsource["service"], service.scalar?.string != "sysmon" {
      throw Failure(service, "a service beside the category \(category.rawValue) is not supported")
    }
    guard let title = entries["title"]?.scalar?.string, !title.isEmpty else { throw Failure(document, "'title' is missing") }
    guard let node = entries["detection"], let detection = node.mapping else {
      throw Failure(entries["detection"] ?? document, "'detection' is missing, or no mapping")
    }
    var names: [String] = []
    var searches: [SigmaSearch] = []
    for (key, value) in detection {
      guard let name = key.scalar?.string else { throw Failure(key, "a name expected") }
      if name == "timeframe" { throw Failure(key, "aggregations are not supported: 'timeframe'") }
      if name == "condition" { continue }
      names.append(name)
      searches.append(try search(value, name))
    }
    guard let condition = detection["condition"] else { throw Failure(node, "'condition' is missing") }
    var conditions: [SigmaCondition] = []
    for item in condition.sequence.map({ Array($0) }) ?? [condition] {
      guard let text = item.scalar?.string else { throw Failure(item, "a condition is a text") }
      conditions.append(try at(item) { () throws(SigmaProblem) in try SigmaCondition(parsing: text, names: names) })
    }
    guard !conditions.isEmpty else { throw Failure(condition, "'condition' is empty") }
    return SigmaRule(
      id: entries["id"]?.scalar?.string ?? title, title: title, level: try level(entries["level"]), tags: try tags(entries["tags"]),
      category: category, searches: searches, conditions: conditions, file: fileName, line: PolicyReader.Place(document.mark).line)
  }

  private func level(_ node: Node?) throws(Failure) -> SigmaLevel? {
    guard let node else { return nil }
    guard let level = SigmaLevel(rawValue: node.scalar?.string ?? "") else {
      throw Failure(node, "a level is one of \(SigmaLevel.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return level
  }

  private func tags(_ node: Node?) throws(Failure) -> [String] {
    guard let node else { return [] }
    guard let tags = node.sequence, tags.allSatisfy({ $0.scalar != nil }) else { throw Failure(node, "'tags' is a list of texts") }
    return tags.compactMap { $0.scalar?.string }
  }

  // MARK: Detection

  private func search(_ node: Node, _ name: String) throws(Failure) -> SigmaSearch {
    guard let list = node.sequence else { return SigmaSearch(alternatives: [try items(node, name)]) }
    guard !list.isEmpty else { throw Failure(node, "'\(name)' is empty") }
    var alternatives: [[SigmaItem]] = []
    for element in list { alternatives.append(try items(element, name)) }
    return SigmaSearch(alternatives: alternatives)
  }

  private func items(_ node: Node, _ name: String) throws(Failure) -> [SigmaItem] {
    guard let mapping = node.mapping else { throw Failure(node, "keywords are not supported: '\(name)' names no field") }
    guard !mapping.isEmpty else { throw Failure(node, "'\(name)' is empty") }
    var items: [SigmaItem] = []
    for (key, value) in mapping {
      guard let field = key.scalar?.string else { throw Failure(key, "a field expected") }
      var values: [SigmaScalar] = []
      for item in value.sequence.map({ Array($0) }) ?? [value] {
        guard let scalar = item.scalar else { throw Failure(item, "'\(field)' wants a text, or a list of texts") }
        values.append(Self.isNull(scalar) ? .null : .text(scalar.string))
      }
      items.append(try at(key) { () throws(SigmaProblem) in try SigmaItem(key: field, values: values) })
    }
    return items
  }

  /// Only what stands there without quotes.
  private static func isNull(_ scalar: Node.Scalar) -> Bool {
    scalar.style == .plain && ["", "~", "null", "Null", "NULL"].contains(scalar.string)
  }

  private func at<Part>(_ node: Node, _ make: () throws(SigmaProblem) -> Part) throws(Failure) -> Part {
    do throws(SigmaProblem) { return try make() } catch { throw Failure(node, error.description) }
  }
}
