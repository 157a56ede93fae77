import Executive
import Glibc
import Synchronization
import Testing

@testable import ProcessTable

/// A classifier that a test turns.
private final class Policy: Sendable {
  private let state = Mutex<(flags: UInt32, rules: UInt32)>((0, 0))
  private let asked = Mutex<[Int32]>([])
  func set(flags: UInt32 = 0, rules: UInt32 = 0) { state.withLock { $0 = (flags, rules) } }
  var askedFor: [Int32] { asked.withLock { $0 } }

  func classify(_ facts: ProcessFacts) -> Classification {
    asked.withLock { $0.append(facts.context.processID) }
    let (flags, rules) = state.withLock { $0 }
    return Classification(flags: flags, rules: rules)
  }
}

/// Only the fields of the table in wdfilter.md 6.1.
private struct Payload: Equatable {
  var parent: Int32?
  var image: String?
  var type: UInt32
  var trusted: Bool?

  init(_ parent: Int32?, _ image: String?, _ type: UInt32, _ trusted: Bool?) {
    (self.parent, self.image, self.type, self.trusted) = (parent, image, type, trusted)
  }

  init(_ told: ProcessNotification) {
    self.init(told.parentID, told.imageFileName, told.operationType.rawValue, told.isTrusted)
  }
}

@Suite("Process notifications (wdfilter.md 6, 6.1)", .serialized)
struct NotificationTests {
  private let sleep = "/bin/sleep"
  private var sleepImage: String {
    var resolved = [CChar](repeating: 0, count: 4097)
    return realpath(sleep, &resolved).map { String(cString: $0) } ?? sleep
  }

  /// The spawn comes back before the kernel tells of the exec.
  private func waitUntil(_ table: ProcessTable, _ condition: () -> Bool) -> Bool {
    ProcessTableTests.waitUntil {
      table.settle()
      return condition()
    }
  }

  private func end(_ id: Int32) {
    kill(id, SIGKILL)
    waitpid(id, nil, 0)
  }

  /// Nobody has taken it from the connector when the subscriber comes.
  @Test func whatWasBeforeASubscriberIsNotToldIt() throws {
    guard let table = tableWithConnector(classify: { _ in Classification() }) else { return }
    table.settle()
    let process = try spawn(sleep, ["60"])
    // It sleeps in its own code: the kernel has told of its exec, which the executable alone does not say.
    #expect(
      ProcessTableTests.waitUntil {
        let directory = TaskDirectory.open(process)
        return directory?.link("exe") == sleepImage && directory?.text("stat")?.contains(") S ") == true
      })
    let told = Told()
    _ = try table.subscribe(told)
    table.settle()
    #expect(told.of(process).isEmpty)
    end(process)
    #expect(waitUntil(table) { told.of(process).map(\.operationType) == [.terminated] })
  }

  @Test func aProcessIsToldOnceWhenItBeginsAndOnceWhenItEnds() throws {
    let policy = Policy()
    guard let table = tableWithConnector(classify: policy.classify) else { return }
    let told = Told()
    _ = try table.subscribe(told)
    policy.set(flags: 0x8)
    let first = try spawn(sleep, ["60"])
    #expect(waitUntil(table) { told.of(first).count == 1 })
    policy.set()
    let second = try spawn(sleep, ["60"])
    #expect(waitUntil(table) { told.of(second).count == 1 })
    #expect(told.of(first).map(Payload.init) == [Payload(getpid(), sleepImage, 1, true)])
    #expect(told.of(second).map(Payload.init) == [Payload(getpid(), sleepImage, 1, false)])
    #expect(told.of(first).first?.record?.facts.processID == first)
    // Who asks is known already.
    for _ in 0..<3 { _ = table.context(first) }
    end(second)
    end(first)
    table.settle()
    #expect(told.of([first, second]).map(\.processID) == [first, second, second, first])
    #expect(told.of(first).map(Payload.init).last == Payload(nil, nil, 2, nil))
    #expect(told.of(first).last?.record == nil)
    #expect(policy.askedFor.filter { $0 == first }.count == 1)
  }

  @Test func theClassifierIsAskedBeforeTheProcessIsTold() throws {
    let policy = Policy()
    guard let table = tableWithConnector(classify: policy.classify) else { return }
    let late = Mutex<[Int32]>([])
    let registration = table.processCallback.register { _, told in
      if let told, told.operationType == .created, told.record != nil, !policy.askedFor.contains(told.processID) {
        late.withLock { $0.append(told.processID) }
      }
    }
    try #require(registration != nil)
    let id = try spawn(sleep, ["60"])
    #expect(waitUntil(table) { policy.askedFor.contains(id) })
    end(id)
    #expect(late.withLock { $0 } == [])
  }

  /// However short: what cannot be read any more is told all the same.
  @Test func manyShortProcessesAreAllTold() throws {
    guard let table = tableWithConnector() else { return }
    table.start()
    defer { table.stop() }
    let told = Told()
    _ = try table.subscribe(told)
    var ids: Set<Int32> = []
    for _ in 0..<300 {
      let id = try spawn("/bin/true")
      waitpid(id, nil, 0)
      // A number that came twice would be two processes.
      if !ids.insert(id).inserted { return skipped(#function, "the numbers wrapped") }
    }
    table.settle()
    for id in ids {
      let story = told.of(id)
      // Listeners of other tests that come and go make gaps in the connector's numbers: the table looks around then, and may tell a
      // process again that it had told.
      var types = story.map(\.operationType)
      while types.starts(with: [.created, .created]) { types.removeFirst() }
      #expect(types == [.created, .terminated], "\(id)")
      #expect(story.first?.parentID == getpid())
    }
    let readable = told.of(ids).filter { $0.record != nil }.count
    print("of \(ids.count) short processes \(readable) could be read")
  }

  @Test func theCallbackObjectsAreFoundByTheirNames() throws {
    let directory = CallbackDirectory<ProcessNotification>()
    func table(_ name: String? = nil) -> ProcessTable {
      guard let name else { return ProcessTable(monitor: nil, problem: nil, callbacks: directory) { _ in Classification() } }
      return ProcessTable(monitor: nil, problem: nil, callbacks: directory, callbackName: name) { _ in Classification() }
    }
    let table1 = table()
    #expect(try directory.open("WdProcessNotificationCallback", create: false) === table1.processCallback)
    #expect(try directory.open("WdNriNotificationCallback", create: false) === table1.refreshCallback)
    #expect(throws: NTStatus.objectNameNotFound) { _ = try directory.open("MpProcessNotificationCallback", create: false) }
    let table2 = table("MpProcessNotificationCallback")
    #expect(try directory.open("MpProcessNotificationCallback", create: false) === table2.processCallback)
    #expect(table2.processCallback !== table1.processCallback)
    // Create or open: who comes second finds what is there.
    #expect(table().processCallback === table1.processCallback)
    #expect(table1.processCallback.allowsSeveral)
  }

  /// Looking around after a loss of events must not tell the dead again.
  @Test func whatIsLeftOfAProcessIsNoProcess() throws {
    for table in tables() {
      let told = Told()
      let id = try spawn("/bin/true")
      #expect(waitUntil(table) { TaskDirectory.open(id)?.text("stat")?.contains(") Z ") == true })
      // Not by `subscribe`: the table would look around for it.
      let registration = table.processCallback.register { _, notification in if let notification { told.note(notification) } }
      try #require(registration != nil)
      table.scan(announces: true)
      table.deliver()
      #expect(told.of(id).isEmpty)
      #expect(table.record(ofProcess: id) == nil)
      waitpid(id, nil, 0)
    }
  }

  @Test func everyExecIsToldAndAForkIsNot() throws {
    guard let table = tableWithConnector() else { return }
    let told = Told()
    _ = try table.subscribe(told)
    let id = try spawn("/bin/sh", ["-c", "(:); (:); exec /bin/sleep 60"])
    #expect(waitUntil(table) { TaskDirectory.open(id)?.text("comm") == "sleep\n" })
    #expect(waitUntil(table) { told.of(id).count == 2 })
    // The shell may have been gone before anybody looked.
    #expect(told.of(id).map(\.parentID) == [getpid(), getpid()])
    #expect(told.of(id).last.map(Payload.init) == Payload(getpid(), sleepImage, 1, false))
    #expect(told.all.allSatisfy { $0.parentID != id })
    end(id)
    table.settle()
    #expect(told.of(id).map(\.operationType) == [.created, .created, .terminated])
  }

  @Test func aProcessThatIsFirstSeenWhenItAsksIsToldThen() throws {
    for table in tables() {
      let id = try spawn(sleep, ["60"])
      #expect(waitUntil(table) { TaskDirectory.open(id)?.text("comm") == "sleep\n" })
      table.settle()
      let told = Told()
      // Not by `subscribe`: with the connector the table would look around and know it.
      let registration = table.processCallback.register { _, notification in if let notification { told.note(notification) } }
      try #require(registration != nil)
      _ = table.context(id)
      _ = table.context(id)
      #expect(told.of(id).map(Payload.init) == [Payload(getpid(), sleepImage, 1, false)])
      end(id)
      table.settle()
      table.sweep()
      table.settle()
      #expect(told.of(id).map(\.operationType) == [.created, .terminated])
    }
  }

  @Test func trustIsToldOnlyWhenTheBitChanges() throws {
    for connector in [true, false] {
      let policy = Policy()
      guard let table = connector ? tableWithConnector(classify: policy.classify) : tableWithoutConnector(classify: policy.classify)
      else { continue }
      let told = Told()
      _ = try table.subscribe(told)
      let id = try spawn(sleep, ["60"])
      defer { end(id) }
      #expect(waitUntil(table) { table.context(id)?.executable == sleepImage })
      let record = try #require(table.context(id)?.record)
      table.settle()
      told.clear()
      let before = table.trustedCount
      let steps: [(Classification, Bool?)] = [
        (Classification(flags: 0x21), nil), (Classification(flags: 0x8), true), (Classification(flags: 0x10), nil),
        (Classification(rules: 0x20), nil), (Classification(rules: 0x400), false), (Classification(flags: 0x40), nil),
        (Classification(flags: 0x18, rules: 0x20), true), (Classification(), false),
      ]
      for (classification, change) in steps {
        told.clear()
        table.setInformation(classification, of: record)
        #expect(told.of(id).map(Payload.init) == (change.map { [Payload(nil, nil, 3, $0)] } ?? []), "\(classification)")
        #expect(told.of(id).allSatisfy { !$0.isRefresh })
        #expect(record.isTrusted == (classification.flags & 0x18 != 0 || classification.rules & 0x20 != 0))
        #expect(table.trustedCount == before + (record.isTrusted ? 1 : 0))
        #expect(record.rules == classification.rules)
        #expect(record.flags & ~0x40 == classification.flags & ~0x40)
      }
    }
  }

  @Test func aNewPolicyJudgesEveryLiveProcessAgain() throws {
    for connector in [true, false] {
      let policy = Policy()
      guard let table = connector ? tableWithConnector(classify: policy.classify) : tableWithoutConnector(classify: policy.classify)
      else { continue }
      let ids = try (0..<3).map { _ in try spawn(sleep, ["60"]) }
      defer { ids.forEach(end) }
      for id in ids { #expect(waitUntil(table) { table.context(id)?.executable == sleepImage }) }
      let told = Told()
      _ = try table.subscribe(told)
      told.clear()
      policy.set(flags: 0x10)
      table.reclassify()
      #expect(told.of(Set(ids)).map { [$0.processID, $0.isTrusted == true ? 1 : 0] } == ids.sorted().map { [$0, 1] })
      table.reclassify()
      #expect(told.of(Set(ids)).count == 3)
      policy.set(flags: 0x1)
      table.reclassify()
      #expect(told.of(Set(ids)).count == 6)
      #expect(ids.allSatisfy { table.context($0)?.record?.flags == 0x1 })
      // One that was read under the old policy and comes late is judged by the new one.
      let record = try #require(table.context(ids[0])?.record)
      record.classifierGeneration.store(0, ordering: .releasing)
      policy.set(flags: 0x20)
      #expect(table.context(ids[0])?.record?.flags == 0x20)
    }
  }

  @Test func aRefreshTellsEveryLiveProcessOnExactlyTheRequest() throws {
    for connector in [true, false] {
      let policy = Policy()
      policy.set(flags: 0x8)
      guard let table = connector ? tableWithConnector(classify: policy.classify) : tableWithoutConnector(classify: policy.classify)
      else { continue }
      let ids = Set(try (0..<3).map { _ in try spawn(sleep, ["60"]) })
      let gone = try spawn(sleep, ["60"])
      #expect(waitUntil(table) { ids.union([gone]).allSatisfy { table.context($0)?.executable == sleepImage } })
      end(gone)
      let told = Told()
      _ = try table.subscribe(told)
      told.clear()
      table.refreshCallback.notify(1, nil)
      table.refreshCallback.notify(0, .created(try #require(table.context(ids.min() ?? 0)?.record)))
      #expect(told.of(ids) == [])
      table.refreshCallback.notify(0, nil)
      let refreshed = told.all.filter { $0.operationType == .trust }
      #expect(told.of(ids).map(\.processID) == ids.sorted())
      #expect(told.of(ids).allSatisfy { Payload($0) == Payload(nil, sleepImage, 3, true) && $0.isRefresh })
      #expect(refreshed.filter { $0.processID == getpid() }.count == 1)
      #expect(refreshed.allSatisfy { $0.processID != gone })
      #expect(Set(refreshed.map(\.processID)).count == refreshed.count)
      ids.forEach(end)
    }
  }

  @Test func othersMayComeAndGoMeanwhile() throws {
    guard let table = tableWithConnector() else { return }
    table.start()
    defer { table.stop() }
    let told = Told()
    _ = try table.subscribe(told)
    let isOver = Over()
    let coming = (0..<2).compactMap { _ in
      SystemThread(name: "subscriber") {
        while !isOver.flag.load(ordering: .relaxed) {
          let registration = table.processCallback.register { _, _ in sched_yield() }
          sched_yield()
          if let registration { table.processCallback.unregister(registration) }
        }
      }
    }
    var ids: [Int32] = []
    for _ in 0..<100 {
      let id = try spawn(sleep, ["60"])
      ids.append(id)
      #expect(waitUntil(table) { told.of(id).count == 1 })
    }
    for id in ids { end(id) }
    table.settle()
    isOver.flag.store(true, ordering: .relaxed)
    coming.forEach { $0.join() }
    let story = told.of(Set(ids))
    #expect(story.filter { $0.operationType == .created }.map(\.processID) == ids)
    #expect(story.filter { $0.operationType == .terminated }.map(\.processID) == ids)
    #expect(story.filter { $0.operationType == .created }.allSatisfy { Payload($0) == Payload(getpid(), sleepImage, 1, false) })
    #expect(story.count == 200)
  }

  private final class Over: Sendable { let flag = Atomic<Bool>(false) }

  @Test func aSubscriberMayAskTheTable() throws {
    guard let table = tableWithConnector() else { return }
    let seen = Mutex<[Int32]>([])
    let registration = table.processCallback.register { [weak table] _, told in
      guard let told, told.operationType == .created, let context = table?.context(told.processID) else { return }
      seen.withLock { $0.append(context.processID) }
    }
    try #require(registration != nil)
    let id = try spawn(sleep, ["60"])
    #expect(waitUntil(table) { seen.withLock { $0 }.contains(id) })
    end(id)
  }

  /// 20,000 forks, and then 2,000 programs, beside a caller that is judged all the time.
  @Test func aForkStormLeavesNothingBehindAndJudgesNobodyWrong() throws {
    for isFollowing in [false, true] {
      guard let table = tableWithConnector() else { return }
      table.start()
      defer { table.stop() }
      if isFollowing {
        let registration = table.processCallback.register { _, _ in }
        try #require(registration != nil)
      }
      table.settle()
      let caller = try spawn(sleep, ["600"])
      defer { end(caller) }
      #expect(waitUntil(table) { table.context(caller)?.executable == sleepImage })
      let before = table.statistics
      let memory = residentPages()
      let storm = try spawn(
        "/bin/dash",
        ["-c", "i=0; while [ $i -lt 20000 ]; do (:); i=$((i+1)); done; while [ $i -lt 22000 ]; do /bin/true; i=$((i+1)); done"])
      var judged = 0
      var wrong = 0
      while waitpid(storm, nil, WNOHANG) == 0 {
        judged += 1
        if table.context(caller)?.executable != sleepImage { wrong += 1 }
        if judged % 64 == 0 { usleep(1000) }
      }
      table.settle()
      let after = table.statistics
      let grown = (residentPages() - memory) * 4
      print("following \(isFollowing): \(judged) judged, \(after.losses) losses, \(grown) kB more, \(before) -> \(after)")
      #expect(wrong == 0)
      #expect(grown < 16_384)
      #expect(after.records <= before.records + 50)
      #expect(after.followed <= before.followed + 50)
      #expect(after.tainted <= before.tainted + 50)
    }
  }

  private func residentPages() -> Int {
    let text = TaskDirectory.open(getpid())?.text("statm") ?? ""
    return text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
  }
}
