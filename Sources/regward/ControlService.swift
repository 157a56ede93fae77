internal import Executive
internal import Glibc
internal import Notifications
internal import PolicyFile
internal import ProcessTable
internal import Synchronization
internal import WdFilter

/// Understands the messages of the control socket (wdfilter.md 8). Called on the socket's thread only.
///
/// A message is an object whose `message` names it; every other member must be one that it knows. The answer repeats the name and
/// has `status`, `ok` or `error`, and with that `error`, a sentence.
final class ControlService: Sendable {
  /// What is to be done with a connection after its message.
  struct Reaction {
    var answer: JSONValue?
    /// It spoke no JSON: whatever comes next is not to be trusted either.
    var cutsOff = false
  }

  let mount: ControlledMount
  /// The connection that is the sync client, and its number in the channel.
  private let client = Mutex<(connection: ControlConnection, id: UInt64)?>(nil)
  private let subscriptions = Mutex<[ObjectIdentifier: any ControlFeed]>([:])

  init(_ mount: ControlledMount) { self.mount = mount }

  struct Refusal: Error {
    let reason: String
    init(_ reason: String) { self.reason = reason }
  }

  func react(to packet: [UInt8], from connection: ControlConnection) -> Reaction {
    let request: JSONValue
    do throws(JSONReader.Problem) { request = try JSONReader.read(packet) } catch {
      return Reaction(
        answer: Self.failure(nil, "this is no message: \(error.description), at byte \(error.offset)"), cutsOff: true)
    }
    guard let name = request["message"]?.string, let members = request.members else {
      return Reaction(answer: Self.failure(nil, "a message is an object with the text 'message'"), cutsOff: true)
    }
    var reaction = Reaction()
    do throws(Refusal) { reaction.answer = try answer(name, request, members, connection) } catch {
      reaction.answer = Self.failure(name, error.reason)
    }
    if Self.changing.contains(name) { audit(name, request, reaction.answer, connection.peer) }
    return reaction
  }

  /// Messages that change something: each stands in the log, done or refused.
  private static let changing: Set<String> = [
    "REG_UPDATE_DATA", "UPDATE_SYNC_MONITOR_CONFIG", "REGISTER_SYNC_CLIENT", "SET_PROCESS_EXCLUSION", "SET_PROCESS_INFO",
    "REGISTER_FRIENDLY_PROCESS", "SET_DOC_OPEN_RULE",
  ]

  private func audit(_ name: String, _ request: JSONValue, _ answer: JSONValue?, _ peer: ControlPeer) {
    let known = mount.processes.context(forThread: peer.processID, uid: peer.userID, gid: peer.groupID)
    let process = known.map { ProcessDescription($0) }
      ?? ProcessDescription(
        processID: peer.processID, threadID: peer.processID, userID: peer.userID, groupID: peer.groupID)
    mount.audit(
      ControlEvent(
        time: .now(), message: name, text: request.json, process: process, refusal: answer?["error"]?.string,
        rulesVersion: mount.version()))
  }

  /// The connection is gone.
  func forget(_ connection: ControlConnection) {
    let id = client.withLock { client -> UInt64? in
      guard let known = client, known.connection === connection else { return nil }
      client = nil
      return known.id
    }
    if let id { mount.sync.detach(id, errno: ECONNRESET) }
    subscriptions.withLock { $0.removeValue(forKey: ObjectIdentifier(connection)) }?.stop()
  }

  static func failure(_ message: String?, _ reason: String) -> JSONValue {
    .object(["message": .optional(message), "status": .text("error"), "error": .text(reason)])
  }

  private func answer(
    _ name: String, _ request: JSONValue, _ members: [JSONValue.Member], _ connection: ControlConnection
  ) throws(Refusal) -> JSONValue? {
    func allow(_ known: Set<String>) throws(Refusal) {
      if let stranger = members.first(where: { $0.name != "message" && !known.contains($0.name) }) {
        throw Refusal("\(name) knows no member '\(stranger.name)'")
      }
    }
    let ok = JSONValue.object(["message": .text(name), "status": .text("ok")])
    switch name {
    case "REG_UPDATE_DATA":
      try allow(["policy"])
      return updateRules(name, from: try text(request["policy"], "policy"))
    case "QUERY_STATISTICS":
      try allow([])
      return .object(["message": .text(name), "status": .text("ok"), "statistics": mount.statistics()])
    case "UPDATE_SYNC_MONITOR_CONFIG":
      try allow(["timeout_ms", "timeouts_until_pass_through", "retry_after_ms", "on_timeout"])
      try configure(request)
      return ok
    case "REGISTER_SYNC_CLIENT":
      try allow(["deciding"])
      guard let isDeciding = request["deciding"]?.boolean else { throw Refusal("'deciding' must be true or false") }
      try register(connection, isDeciding: isDeciding)
      return ok
    case SyncMessageType.registryEventSync.name:
      try allow(["type", "sequence", "verdict"])
      try receive(request, from: connection)
      return nil
    case "SUBSCRIBE_PROCESS_NOTIFICATIONS":
      try allow(["refresh"])
      try subscribe(connection, refreshes: request["refresh"])
      return ok
    case "SUBSCRIBE_EVENTS":
      try allow([])
      try subscribe(connection)
      return ok
    case "QUERY_TRUSTED_AND_UNTRUSTED_PROCESS":
      try allow(["after"])
      return try listProcesses(name, after: request["after"])
    case "SET_PROCESS_EXCLUSION":
      try allow(["exclusions"])
      return amend(name, .exclusions, try section("exclusions", request), by: connection.peer)
    case "SET_DOC_OPEN_RULE":
      try allow(["doc_open"])
      return amend(name, .documentRules, try section("doc_open", request), by: connection.peer)
    case "REGISTER_FRIENDLY_PROCESS":
      try allow(["id", "when"])
      return amend(name, .friendly, try friendlySection(request), by: connection.peer)
    case "SET_PROCESS_INFO":
      try allow(["pid", "start_ticks", "set_flags", "clear_flags", "set_rules", "clear_rules"])
      return amend(name, try processChange(request))
    default:
      throw Refusal("unknown message")
    }
  }

  /// A connection subscribes once, for as long as it lasts. The answer comes before what it is told.
  private func subscribe(_ connection: ControlConnection, refreshes: JSONValue?) throws(Refusal) {
    let isRefreshing = try flag(refreshes, "refresh")
    let subscription = ProcessSubscription(mount.processes, wake: connection.wake)
    try note(subscription, of: connection)
    // What was before is told to those who were there.
    mount.processes.settle()
    guard subscription.start() else { throw Refusal("there is room for one subscriber only") }
    connection.attach(subscription)
    mount.processes.settle()
    if isRefreshing { mount.processes.refreshCallback.notify(0, nil) }
  }

  /// To everything that the logs are told, from now on.
  private func subscribe(_ connection: ControlConnection) throws(Refusal) {
    guard let queue = mount.events, let subscription = EventSubscription(queue, mount.encoder, wake: connection.wake) else {
      throw Refusal("there is no room for one more subscriber")
    }
    do throws(Refusal) { try note(subscription, of: connection) } catch {
      subscription.stop()
      throw error
    }
    connection.attach(subscription)
  }

  private func note(_ subscription: any ControlFeed, of connection: ControlConnection) throws(Refusal) {
    let isNew = subscriptions.withLock { subscriptions in
      guard subscriptions[ObjectIdentifier(connection)] == nil else { return false }
      subscriptions[ObjectIdentifier(connection)] = subscription
      return true
    }
    guard isNew else { throw Refusal("this connection is subscribed already") }
  }

  private func flag(_ value: JSONValue?, _ name: String) throws(Refusal) -> Bool {
    guard let value else { return false }
    guard let flag = value.boolean else { throw Refusal("'\(name)' must be true or false") }
    return flag
  }

  private func text(_ value: JSONValue?, _ name: String) throws(Refusal) -> String? {
    guard let value else { return nil }
    guard let text = value.string else { throw Refusal("'\(name)' must be a text") }
    return text
  }

  private func updateRules(_ name: String, from path: String?) -> JSONValue {
    // The daemon's folder is not the client's.
    if let path, !path.hasPrefix("/") { return Self.failure(name, "'policy' must be an absolute path") }
    do throws(PolicyError) {
      let update = try mount.update(path)
      return Self.bounded(update.warnings) { warnings in
        var answer: [JSONValue.Member] = [
          .init(name: "message", value: .text(name)), .init(name: "status", value: .text("ok")),
          .init(name: "old_version", value: .count(update.oldVersion)),
          .init(name: "version", value: .count(update.newVersion)), .init(name: "problems", value: warnings),
        ]
        if let dropped = update.dropped { answer.append(.init(name: "dropped", value: .text(dropped))) }
        return .object(answer)
      }
    } catch {
      let version = mount.version()
      return Self.bounded(error.problems) { problems in
        .object([
          "message": .text(name), "status": .text("error"),
          "error": .text("the policy cannot be used; the rules of version \(version) stay in force"),
          "version": .count(version), "problems": problems,
        ])
      }
    }
  }

  /// As many problems as a packet has room for.
  static func bounded(_ problems: [PolicyProblem], _ answer: (JSONValue) -> JSONValue) -> JSONValue {
    var problems = problems.prefix(200)
    while true {
      let list = problems.map { problem in
        JSONValue.object([
          "severity": .text(problem.severity.rawValue), "file": .text(problem.file), "line": .count(problem.line),
          "column": .count(problem.column), "text": .text(problem.message),
        ])
      }
      let whole = answer(.list(list))
      if list.isEmpty || whole.json.utf8.count <= SequencedSocket.longestPacket { return whole }
      problems = problems.prefix(problems.count / 2)
    }
  }

  private func configure(_ request: JSONValue) throws(Refusal) {
    var configuration = mount.sync.configuration
    func number(
      _ name: String, _ range: ClosedRange<Int>, _ set: (inout SyncConfiguration, Int) -> Void
    ) throws(Refusal) {
      guard let value = request[name] else { return }
      guard let number = value.integer.map({ Int(clamping: $0) }), range.contains(number) else {
        throw Refusal("'\(name)' must be a number from \(range.lowerBound) to \(range.upperBound)")
      }
      set(&configuration, number)
    }
    try number("timeout_ms", SyncConfiguration.timeoutRange) { $0.timeout = $1 }
    try number("timeouts_until_pass_through", SyncConfiguration.timeoutsRange) { $0.timeoutsUntilPassThrough = $1 }
    try number("retry_after_ms", SyncConfiguration.retryRange) { $0.retryAfter = $1 }
    if let value = request["on_timeout"] {
      guard let verdict = value.string.flatMap({ SyncVerdict(rawValue: $0) }) else {
        throw Refusal("'on_timeout' must be allow or deny")
      }
      configuration.onTimeout = verdict
    }
    mount.sync.configuration = configuration
  }

  private func register(_ connection: ControlConnection, isDeciding: Bool) throws(Refusal) {
    let id = mount.sync.attach(
      SyncClient(processID: connection.peer.processID, isDeciding: isDeciding) { connection.send($0) })
    guard let id else { throw Refusal("a sync client is registered already") }
    client.withLock { $0 = (connection, id) }
  }

  private func receive(_ request: JSONValue, from connection: ControlConnection) throws(Refusal) {
    guard let type = request["type"]?.integer, let sequence = request["sequence"]?.integer else {
      throw Refusal("'type' and 'sequence' must be the numbers of the event")
    }
    var verdict: SyncVerdict?
    if let value = request["verdict"] {
      verdict = value.string.flatMap { SyncVerdict(rawValue: $0) }
      if verdict == nil { throw Refusal("'verdict' must be allow or deny") }
    }
    guard let id = client.withLock({ $0.flatMap { $0.connection === connection ? $0.id : nil } }) else {
      throw Refusal("this connection is not the sync client")
    }
    let reply = SyncChannel.Reply(
      type: Int(clamping: type), sequence: UInt64(clamping: sequence), verdict: verdict)
    guard mount.sync.receive(reply, from: id) else { throw Refusal("nothing waits for this answer") }
  }
}
