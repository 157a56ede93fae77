package import Executive
package import Sigma

extension SigmaOperation {
  /// Nil for what Sysmon has no event for.
  package init?(_ notifyClass: NotifyClass) {
    self.init(rawValue: EventVerb(notifyClass).name)
  }
}

extension SigmaEvent {
  /// What Sysmon would tell of a notification: the same texts that the format `sysmon` has; nil when it would tell nothing.
  package init?(_ event: Notification, currentControlSet: UInt32?) {
    let verb = EventVerb(event.notifyClass)
    guard let operation = SigmaOperation(rawValue: verb.name), let id = verb.sysmonID else { return nil }
    self.init(operation)
    self[.eventID] = .text(SigmaText(String(id)))
    let fields = SysmonEvent.fields(
      of: event, key: EventKeyName(event.keyName), verb: verb, currentControlSet: currentControlSet)
    for (name, text) in fields {
      if let field = SigmaField(rawValue: name.description) { self[field] = .text(SigmaText(text)) }
    }
  }
}

extension Event {
  var detector: SigmaRuleSet? { if case .registry(let event) = self { event.detector } else { nil } }

  var isOnlyForDetection: Bool { if case .registry(let event) = self { event.isOnlyForDetection } else { false } }
}

extension Notification {
  /// The ids of the policy's own rules.
  var ownRuleIDs: [String] { ruleIDs.filter { id in !detections.contains { $0.id == id } } }

  /// The highest of the Sigma rules that fired.
  var level: SigmaLevel? { detections.compactMap(\.level).max() }

  /// Of MITRE ATT&CK, each once.
  var techniques: [String] {
    detections.flatMap(\.techniques).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }
}

extension EventEncoder {
  /// Elastic's numbers for the levels of rules, from informational up.
  static let severities = [1, 21, 47, 73, 99]

  /// ECS, `rule`, `tags` and `threat`. The rule that decided comes first, and the Sigma rules that fired behind it, in their order: one id
  /// is a text, several are a list, which is the same to Elastic.
  static func writeRules(of event: Notification, to json: inout JSONWriter) {
    var rules = event.ruleIDs.prefix(1).map { id in (id: id, name: event.detections.first { $0.id == id }?.title ?? id) }
    rules += event.detections.filter { rule in rule.id != event.ruleIDs.first }.map { (id: $0.id, name: $0.title) }
    guard !rules.isEmpty else { return }
    json.object("rule") { json in
      json.member("id", oneOrMore: rules.map(\.id))
      json.member("name", oneOrMore: rules.map(\.name))
    }
    let tags = event.detections.flatMap(\.tags).reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }
    if !tags.isEmpty { json.member("tags", tags) }
    let techniques = event.techniques
    guard !techniques.isEmpty else { return }
    let parents = techniques.map { String($0.prefix { $0 != "." }) }.reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }
    let subtechniques = techniques.filter { $0.contains(".") }
    json.object("threat") { json in
      json.member("framework", "MITRE ATT&CK")
      json.object("technique") { json in
        json.member("id", parents)
        if !subtechniques.isEmpty { json.object("subtechnique") { $0.member("id", subtechniques) } }
      }
    }
  }
}

extension String {
  var capitalizedWord: String { prefix(1).uppercased() + dropFirst() }
}
