import ConfigurationManager
import Executive
import PolicyFile
import Sigma
import Synchronization
import Testing
import WdFilter

@testable import Notifications

/// SEMANTICS 12.5: rules that tell what they fire on.
@Suite(.timeLimit(.minutes(1))) struct SigmaDetectionTests {
  private static let policy = """
    version: 1
    monitored: [{id: own, key: HKLM\\SOFTWARE\\Own, rules: [SetValueKeyOperation]}]
    sigma: { path: rules, actor: { '/**': 'C:\\Windows\\regedit.exe' } }
    """

  private func rules() throws -> RuleSet {
    try RuleFolder(
      Self.policy,
      [
        "a.yml": rule("acme", "selection: { TargetObject|contains: '\\Acme' }\ncondition: selection", level: "low"),
        "b.yml": rule("own-value", "selection: { TargetObject|endswith: '\\Own\\x', Image|endswith: regedit.exe }\ncondition: selection"),
        "c.yml": rule("acme-too", "selection: { Details: a }\ncondition: selection", level: "critical"),
      ]
    ).load().rules
  }

  private let own = #"\REGISTRY\MACHINE\SOFTWARE\Own"#

  @Test func whatFiresIsToldAndNothingElseMore() throws {
    let bench = Bench(try rules())
    bench.run(set(acme, "v", "a"))
    bench.run(set(run, "v", "b"))
    bench.run(set(own, "x", "b"))
    bench.run(set(own, "y", "b"))
    bench.run(.deleteValueKey(key: key(acme), valueName: "v"))
    let told = bench.told
    #expect(told.map { $0.detections.map(\.id) } == [["acme", "acme-too"], ["own-value"], []])
    // Numbers go up by one: what nobody is told of is no loss.
    #expect(told.map(\.sequence) == [1, 2, 3] && bench.dropped == [0, 0, 0])
    #expect(told.allSatisfy { $0.rulesVersion == 1 })
    #expect(told.map(\.ruleIDs) == [[], ["own"], ["own"]])
    #expect(told.allSatisfy { $0.notifyClass == .postSetValueKey && !$0.denied && $0.process.image == #"C:\Windows\regedit.exe"# })
    #expect(told.allSatisfy { $0.process.processID > 1 && $0.process.executable?.hasPrefix("/") == true })
  }

  @Test(arguments: EventScope.allCases) func theScopeStillSaysWhatIsTold(scope: EventScope) throws {
    let bench = Bench(try rules(), scope: scope)
    bench.run(set(acme, "v", "a"))
    bench.run(set(run, "v", "b"))
    let told = bench.told.map { $0.detections.count }
    #expect(told == (scope == .denied ? [] : scope == .matched ? [2] : [2, 0]))
  }

  @Test func withoutAReaderNobodyIsAsked() throws {
    let queue = NotificationQueue(sinks: [])
    let event = try event(acme)
    queue.enqueue(event)
    #expect(queue.counters.enqueued == 0)
    let feed = try #require(queue.subscribe())
    queue.enqueue(event)
    feed.wait(milliseconds: 30_000)
    #expect(feed.next()?.event.event.sequence == 1)
    queue.shutdown(milliseconds: 30_000)
  }

  private func event(_ key: String) throws -> Notifications.Notification {
    var event = Notification(
      time: FileTime(rawValue: 1), notifyClass: .postSetValueKey, status: .success, denied: false,
      process: ProcessDescription(processID: 1, threadID: 1, userID: 0, groupID: 0), keyName: UnicodeName(key))
    event.detector = try #require(try rules().sigma).rules
    event.isOnlyForDetection = true
    return event
  }

  /// What is dropped before the rules were asked is told with the next that fires, to every reader.
  @Test func whatIsDroppedOnTheWayIsTold() throws {
    let passed = Mutex<[UInt64]>([])
    let detector = SigmaDetector(currentControlSet: 1) { event, lost in
      _ = event
      passed.withLock { $0.append(lost) }
    }
    for (key, dropped) in [(run, 3), (acme, 2), (acme, 0), (run, 1), (run, 0), (acme, 4)] as [(String, UInt64)] {
      detector.deliver(.registry(try event(key)), dropped: dropped)
    }
    #expect(passed.withLock { $0 } == [5, 0, 5])
    let feed = EventFeed(capacity: 4, starvationLimit: 8)
    _ = feed.offer(QueuedEvent(.registry(try event(acme))), lost: 5)
    #expect(feed.counters == EventFeed.Counters(enqueued: 6, delivered: 0, dropped: 5))
    #expect(feed.next()?.dropped == 5)
  }

  /// What needs no rules waits behind what does.
  @Test func everythingStaysInOrder() throws {
    let queue = NotificationQueue(capacity: 1000, sinks: [])
    let feed = try #require(queue.subscribe(capacity: 1000))
    var (plain, loud) = (try event(run), try event(acme))
    (plain.detector, plain.isOnlyForDetection) = (nil, false)
    loud.isOnlyForDetection = false
    for _ in 0..<200 {
      queue.enqueue(loud)
      queue.enqueue(plain)
    }
    queue.shutdown(milliseconds: 30_000)
    var keys: [UnicodeName] = []
    while let (queued, _) = feed.next() { if case .registry(let told) = queued.event { keys.append(told.keyName) } }
    #expect(keys == (0..<200).flatMap { _ in [loud.keyName, plain.keyName] })
  }

  @Test func aFloodIsCountedToTheLast() throws {
    let list = EventList()
    let queue = NotificationQueue(capacity: 4, sinks: [list])
    let (silent, loud) = (try event(run), try event(acme))
    for _ in 0..<2000 {
      queue.enqueue(silent)
      queue.enqueue(loud)
    }
    queue.shutdown(milliseconds: 30_000)
    // Those on which no rule fired are told of by nobody; of the others each was told or counted.
    let accounted = list.events.withLock { $0.count } + Int(list.dropped.withLock { $0.reduce(0, +) })
    #expect((2000...4000).contains(accounted))
    let feed = queue.sinks[0].feed
    #expect(feed.enqueued == feed.delivered + feed.dropped && Int(feed.enqueued) == accounted)
  }

  /// 12.8: an event is told by the rules that were in force when it happened.
  @Test func aReloadChangesTheRulesAtOnce() throws {
    let folder = try RuleFolder(Self.policy, ["a.yml": rule("before", "selection: { TargetObject|contains: '\\Acme' }\ncondition: selection")])
    let bench = Bench(try folder.load().rules)
    for _ in 0..<50 { bench.run(set(acme, "v", "a")) }
    try folder.write(rule("after", "selection: { TargetObject|contains: '\\Acme' }\ncondition: selection"), to: "rules/a.yml")
    bench.filter.replaceRules(try folder.load(version: 2).rules)
    for _ in 0..<50 { bench.run(set(acme, "v", "a")) }
    let told = bench.told
    #expect(told.map { $0.detections.map(\.id) } == Array(repeating: ["before"], count: 50) + Array(repeating: ["after"], count: 50))
  }

  /// SEMANTICS 12.7: every format has a place for them.
  @Test(arguments: EventFormat.allCases) func everyFormatTellsThem(format: EventFormat) throws {
    let bench = Bench(try rules())
    bench.run(set(acme, "v", "a"))
    let line = String(decoding: EventEncoder(format: format, currentControlSet: 1).line(for: .registry(try #require(bench.told.first))), as: UTF8.self)
    switch format {
    case .ecs:
      #expect(line.contains(#""rule":{"id":["acme","acme-too"],"name":["Title of acme","Title of acme-too"]}"#))
      #expect(line.contains(#""severity":99"#) && line.contains(#""Image":"C:\\Windows\\regedit.exe""#) && !line.contains(#""executable":"C:"#))
      #expect(line.contains(#""sigma":[{"id":"acme","title":"Title of acme","level":"low","source":""#))
    case .sysmon: #expect(line.contains(#""RuleName":"Title of acme; Title of acme-too""#) && line.contains(#""RegwardExecutable":"/"#))
    case .sysmonXML: #expect(line.contains(#"<Data Name="RuleName">Title of acme; Title of acme-too</Data>"#))
    case .ocsf: #expect(line.contains(#""severity_id":5,"severity":"Critical""#) && line.contains(#""sigma_rules":[{"uid":"acme","name":"Title of acme","level":"low"}"#))
    case .wdfilter: #expect(line.contains(#""SigmaRules":[{"Id":"acme","Title":"Title of acme","Level":"low"}"#))
    }
  }
}
