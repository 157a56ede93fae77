import Executive
import Glibc
import Notifications
import ProcessTable
import Synchronization
import Testing
import WdFilter

@testable import regward

@Suite("Messages about processes (wdfilter.md 8)", .serialized)
struct ProcessMessageTests {
  private func own(_ mount: FakeMount) throws -> ProcessRecord { try #require(mount.processes.record(ofProcess: getpid())) }

  @Test func exclusionsAreReadAsAPolicyReadsThem() throws {
    let mount = try FakeMount()
    defer { mount.end() }
    let answer = try mount.client().ask(#"{"message":"SET_PROCESS_EXCLUSION","exclusions":["/bin/cat","/opt/x/**","agent"]}"#)
    #expect(answer?["status"]?.string == "ok" && answer?["version"]?.integer == 5)
    #expect(answer?["problems"]?.elements?.isEmpty == false)
    guard case .exclusions(let list)? = mount.amendments.withLock({ $0.first }) else {
      Issue.record("no exclusions")
      return
    }
    #expect(list.map(\.pattern.text) == ["/bin/cat", "/opt/x/**", "agent"])
    #expect(list[0].source.description == "SET_PROCESS_EXCLUSION of process \(getpid()), uid \(getuid()):2")
  }

  @Test func anExecutableOfAnybodysIsNoExclusion() throws {
    var template = Array("/tmp/regward-test-XXXXXX".utf8CString)
    let folder = try #require(mkdtemp(&template).map { String(cString: $0) })
    let path = folder + "/agent"
    defer {
      unlink(path)
      rmdir(folder)
    }
    close(open(path, O_WRONLY | O_CREAT, 0o777))
    chmod(path, 0o777)
    let mount = try FakeMount()
    defer { mount.end() }
    let client = try mount.client()
    let answer = try client.ask(#"{"message":"SET_PROCESS_EXCLUSION","exclusions":["\#(path)"]}"#)
    #expect(answer?["error"]?.string?.contains("must rest on something that a caller cannot choose") == true)
    let friendly = try client.ask(#"{"message":"REGISTER_FRIENDLY_PROCESS","when":{"exe":"\#(path)"}}"#)
    #expect(friendly?["error"]?.string?.contains("must rest on something that a caller cannot choose") == true)
    #expect(mount.amendments.withLock { $0.isEmpty })
  }

  @Test func aFriendlyProcessAndDocumentRulesAreAmendments() throws {
    let mount = try FakeMount()
    defer { mount.end() }
    let client = try mount.client()
    #expect(
      try client.ask(#"{"message":"REGISTER_FRIENDLY_PROCESS","id":"db","when":{"uid":7,"cgroup":"db.service"}}"#)?["status"]?.string
        == "ok")
    #expect(
      try client.ask(#"{"message":"SET_DOC_OPEN_RULE","doc_open":[{"image":"AcroRd32","extension":"pdf"}]}"#)?["status"]?.string
        == "ok")
    let amendments = mount.amendments.withLock { $0 }
    guard amendments.count == 2, case .friendly(let entry) = amendments[0], case .documentRules(let rules) = amendments[1] else {
      Issue.record("\(amendments)")
      return
    }
    #expect(entry.id == "db" && entry.flags == .friendly && entry.when.userID == 7 && entry.when.cgroup == "db.service")
    #expect(rules.map(\.imageName) == ["AcroRd32"] && rules.map(\.fileExtension) == ["pdf"])
  }

  @Test func aProcessIsMeantByNumberAndStart() throws {
    let mount = try FakeMount()
    defer { mount.end() }
    let client = try mount.client()
    let start = try own(mount).facts.startTicks
    func ask(_ start: UInt64, _ rest: String) throws -> JSONValue? {
      try client.ask(#"{"message":"SET_PROCESS_INFO","pid":\#(getpid()),"start_ticks":\#(start)\#(rest)}"#)
    }
    #expect(try ask(start + 1, "")?["error"]?.string?.hasPrefix("there is no process") == true)
    #expect(
      try ask(start, #","set_flags":["MsSeces"],"clear_flags":8,"set_rules":["NotifyRegistryOperationSync"],"clear_rules":1024"#)?[
        "status"]?.string == "ok")
    guard case .process(let key, let change)? = mount.amendments.withLock({ $0.first }) else {
      Issue.record("no change")
      return
    }
    #expect(key == ProcessKey(processID: getpid(), startTicks: start))
    #expect(change.setFlags == .msSeces && change.clearedFlags == .msMpEng)
    #expect(change.setRules == .notifyRegistryOperationSync && change.clearedRules == .allowAllRegistryOperations)
    for rest in [#","set_flags":["Best"]"#, #","set_flags":[1]"#, #","set_flags":-1"#, #","set_flags":4294967296"#, #","set_flags":{}"#] {
      #expect(try ask(start, rest)?["status"]?.string == "error", "\(rest)")
    }
  }

  @Test(arguments: [
    #""set_flags":["Excluded"]"#, #""set_flags":["MsMpEng"]"#, #""set_flags":["MpServiceSid"]"#, #""set_flags":["Friendly"]"#,
    #""set_flags":["Trusted"]"#, #""set_flags":33"#, #""set_rules":["AllowAllRegistryOperations"]"#, #""set_rules":32"#,
  ])
  func noMessageGivesRightsByNumber(rest: String) throws {
    let mount = try FakeMount()
    defer { mount.end() }
    let start = try own(mount).facts.startTicks
    let answer = try mount.client().ask(
      #"{"message":"SET_PROCESS_INFO","pid":\#(getpid()),"start_ticks":\#(start),\#(rest)}"#)
    #expect(answer?["error"]?.string?.contains("cannot be set by this message") == true)
    #expect(mount.amendments.withLock { $0.isEmpty })
  }

  @Test func whatChangesSomethingIsAuditedWithWhoAndWhat() throws {
    let mount = try FakeMount()
    defer { mount.end() }
    let client = try mount.client()
    _ = try client.ask(#"{"message":"SET_PROCESS_EXCLUSION","exclusions":["/bin/cat"]}"#)
    _ = try client.ask(#"{"message":"SET_PROCESS_EXCLUSION","exclusions":["x/y"]}"#)
    _ = try client.ask(#"{"message":"QUERY_STATISTICS"}"#)
    _ = try client.ask(#"{"message":"UPDATE_SYNC_MONITOR_CONFIG","timeout_ms":77}"#)
    _ = try client.ask(#"{"message":"REG_UPDATE_DATA"}"#)
    let audited = mount.audited.withLock { $0 }
    #expect(
      audited.map(\.message)
        == ["SET_PROCESS_EXCLUSION", "SET_PROCESS_EXCLUSION", "UPDATE_SYNC_MONITOR_CONFIG", "REG_UPDATE_DATA"])
    #expect(audited.map { $0.refusal == nil } == [true, false, true, true])
    #expect(audited[0].text == #"{"message":"SET_PROCESS_EXCLUSION","exclusions":["/bin/cat"]}"#)
    #expect(audited.allSatisfy { $0.process.processID == getpid() && $0.process.executable != nil })
  }

  @Test func theListHasEveryProcessOnceAndSaysWhereItGoesOn() throws {
    let mount = try FakeMount()
    defer { mount.end() }
    let client = try mount.client()
    var ids: [Int64] = []
    var after = ""
    repeat {
      let answer = try #require(try client.ask(#"{"message":"QUERY_TRUSTED_AND_UNTRUSTED_PROCESS"\#(after)}"#))
      let page = (answer["trusted"]?.elements ?? []) + (answer["untrusted"]?.elements ?? [])
      #expect(answer.json.utf8.count <= SequencedSocket.longestPacket)
      ids += page.compactMap { $0["pid"]?.integer }
      after = answer["next"]?.integer.map { #","after":\#($0)"# } ?? ""
    } while !after.isEmpty
    #expect(ids == ids.sorted() && Set(ids).count == ids.count)
    #expect(ids.contains(Int64(getpid())))
    let own = try client.ask(#"{"message":"QUERY_TRUSTED_AND_UNTRUSTED_PROCESS","after":\#(getpid() - 1)}"#)?["untrusted"]?.elements?.first
    #expect(own?["pid"]?.integer == Int64(getpid()) && own?["parent"]?.integer == Int64(getppid()))
    #expect(own?["start_ticks"]?.integer == Int64(try self.own(mount).facts.startTicks))
    #expect(own?["denials"]?.integer == 0 && own?["image"]?.string?.hasPrefix("/") == true)
  }

  // MARK: Subscribers

  /// Tells the subscribers something that only this test does.
  private func tell(_ mount: FakeMount, _ isTrusted: Bool) throws {
    mount.processes.setInformation(Classification(flags: isTrusted ? 0x8 : 0), of: try own(mount))
  }

  private func ofUs(_ packet: JSONValue?) -> Bool { packet?["event"]?["process"]?["pid"]?.integer == Int64(getpid()) }

  private func next(_ client: Client) throws -> JSONValue {
    while true {
      let packet = try #require(try client.receive())
      if ofUs(packet) { return packet }
    }
  }

  @Test func subscribersComeAndGoAndGetEachTheirOwn() throws {
    let mount = try FakeMount()
    defer { mount.end() }
    _ = try own(mount)
    let first = try mount.client()
    #expect(try first.ask(#"{"message":"SUBSCRIBE_PROCESS_NOTIFICATIONS"}"#)?["status"]?.string == "ok")
    #expect(
      try first.ask(#"{"message":"SUBSCRIBE_PROCESS_NOTIFICATIONS"}"#)?["error"]?.string == "this connection is subscribed already")
    try tell(mount, true)
    do {
      let second = try mount.client()
      #expect(try second.ask(#"{"message":"SUBSCRIBE_PROCESS_NOTIFICATIONS"}"#)?["status"]?.string == "ok")
      try tell(mount, false)
      #expect(try next(second)["event"]?["event"]?["action"]?.string == "process-untrusted")
    }
    while try mount.socket.counters.connections > 1 { usleep(1000) }
    try tell(mount, true)
    let told = try (0..<3).map { _ in try next(first) }
    #expect(told.map { $0["event"]?["event"]?["action"]?.string } == ["process-trusted", "process-untrusted", "process-trusted"])
    #expect(told.map { $0["event"]?["regward"]?["trusted"]?.boolean } == [true, false, true])
    #expect(told.allSatisfy { $0["event"]?["regward"]?["operation_type"]?.integer == 3 })
    #expect(mount.processes.processCallback.hasRegistrations)
    shutdown(first.descriptor, Int32(SHUT_RDWR))
    while try mount.socket.counters.connections > 0 { usleep(1000) }
    #expect(!mount.processes.processCallback.hasRegistrations)
  }

  @Test func aRefreshTellsEveryLiveProcess() throws {
    let mount = try FakeMount()
    defer { mount.end() }
    let client = try mount.client()
    #expect(try client.ask(#"{"message":"SUBSCRIBE_PROCESS_NOTIFICATIONS","refresh":true}"#)?["status"]?.string == "ok")
    let own = try next(client)
    #expect(own["event"]?["event"]?["action"]?.string == "process-refreshed")
    #expect(own["event"]?["process"]?["executable"]?.string?.hasPrefix("/") == true)
  }

  @Test func whoReadsTooSlowlyLosesTheOldestAndIsToldHowMany() throws {
    let processes = ProcessTable()
    let record = try #require(processes.record(ofProcess: getpid()))
    let woken = Mutex(0)
    let subscription = ProcessSubscription(processes, capacity: 8) { woken.withLock { $0 += 1 } }
    #expect(subscription.start())
    for number in 0..<20 { processes.setInformation(Classification(flags: number % 2 == 0 ? 0x8 : 0), of: record) }
    #expect(woken.withLock { $0 } == 1)
    var sequences: [Int64] = []
    var lost: [Int64] = []
    while let bytes = subscription.next() {
      let packet = try JSONReader.read(bytes)
      sequences.append(packet["sequence"]?.integer ?? 0)
      if let dropped = packet["event"]?["regward"]?["lost"]?["dropped"]?.integer { lost.append(dropped) }
    }
    #expect(sequences == Array(13...20))
    #expect(lost == [12])
    subscription.stop()
    processes.setInformation(Classification(flags: 0x8), of: record)
    #expect(!subscription.hasMessages)
  }

  /// Thousands wait for one who does not read, and nobody waits for him.
  @Test func aSubscriberWhoDoesNotReadHoldsNobodyUp() throws {
    let mount = try FakeMount()
    defer { mount.end() }
    let slow = try mount.client()
    #expect(try slow.ask(#"{"message":"SUBSCRIBE_PROCESS_NOTIFICATIONS"}"#)?["status"]?.string == "ok")
    let record = try own(mount)
    for number in 0..<6000 { mount.processes.setInformation(Classification(flags: number % 2 == 0 ? 0x8 : 0), of: record) }
    #expect(try mount.client().ask(#"{"message":"QUERY_STATISTICS"}"#)?["status"]?.string == "ok")
    // He reads at last: what is left comes in order, and the gap is told.
    var last: Int64 = 0
    var lost: Int64 = 0
    while last < 6000 {
      let packet = try #require(try slow.receive())
      let sequence = try #require(packet["sequence"]?.integer)
      let dropped = packet["event"]?["regward"]?["lost"]?["dropped"]?.integer ?? 0
      #expect(sequence == last + dropped + 1)
      last = sequence
      lost += dropped
    }
    #expect(lost > 0)
  }
}
