import Executive
import Glibc
import Notifications
import PolicyFile
import ProcessTable
import Synchronization
import Testing
import WdFilter

@testable import regward

/// A socket in a folder of its own, over a mount that knows only versions.
final class FakeMount: Sendable {
  let folder: String
  let channel = SyncChannel(encoder: EventEncoder())
  let updates = Mutex<[String?]>([])
  let amendments = Mutex<[Amendment]>([])
  let audited = Mutex<[ControlEvent]>([])
  /// Without the connector: it tells of what a test does to it.
  let processes = ProcessTable()
  private let box = Mutex<ControlSocket?>(nil)

  init(mountPoint: String = "/mnt/x", refusing: Bool = false, folder: String? = nil) throws {
    var template = Array("/tmp/regward-test-XXXXXX".utf8CString)
    let made = try #require(folder ?? mkdtemp(&template).map { String(cString: $0) })
    self.folder = made
    let channel = self.channel
    let service = ControlService(ControlledMount(
      sync: channel, processes: processes, version: { 1 }, statistics: { .object(["pid": .count(getpid())]) },
      update: { [weak self] path throws(PolicyError) in
        self?.updates.withLock { $0.append(path) }
        if path?.hasSuffix("bad") == true {
          let keys = (1...5000).map { "x\($0): 1\n" }.joined()
          _ = try PolicyFile.parse(text: "version: 1\n" + keys, fileName: path ?? "?")
        }
        return RulesInForce.Update(oldVersion: 1, newVersion: 2, warnings: [])
      },
      amend: { [weak self] amendment throws(PolicyError) in
        self?.amendments.withLock { $0.append(amendment) }
        return 5
      },
      audit: { [weak self] event in self?.audited.withLock { $0.append(event) } }))
    let judge = ControlPeerJudge(ownerID: geteuid()) { _ in refusing ? nil : [] }
    let socket = try ControlSocket(
      for: mountPoint, in: RuntimeDirectory(path: made), service: service, judge: judge)
    box.withLock { $0 = socket }
  }

  var socket: ControlSocket { get throws { try #require(box.withLock { $0 }) } }

  func end(removes: Bool = true) {
    box.withLock { $0.take() }?.stop()
    if removes { rmdir(folder) }
  }

  func client() throws -> Client { try Client(socket.path) }
}

/// A client that waits two minutes at most: under a sanitizer an answer can take one.
final class Client {
  let descriptor: Int32

  init(_ path: String) throws {
    descriptor = try SequencedSocket.make(blocks: true)
    var limit = timeval(tv_sec: 120, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    try SequencedSocket.connect(descriptor, to: path)
  }

  deinit { close(descriptor) }

  @discardableResult
  func send(_ text: String) -> Int32 { SequencedSocket.send(Array(text.utf8), to: descriptor) }

  /// Nil at the end of the connection.
  func receive() throws -> JSONValue? {
    do {
      return try SequencedSocket.receive(from: descriptor).map { try JSONReader.read($0) }
    } catch let error as SystemError {
      if error.code == ECONNRESET || error.code == EPIPE { return nil }
      throw error
    }
  }

  func ask(_ text: String) throws -> JSONValue? {
    send(text)
    return try receive()
  }
}

@Suite("The control socket (wdfilter.md 8)", .serialized)
struct ControlSocketTests {
  @Test func messagesAndTheirAnswers() throws {
    let mount = try FakeMount()
    defer { mount.end() }
    let client = try mount.client()
    #expect(
      try client.ask(#"{"message":"REG_UPDATE_DATA"}"#)
        == .object([
          "message": .text("REG_UPDATE_DATA"), "status": .text("ok"), "old_version": .number(1), "version": .number(2),
          "problems": .list([]),
        ]))
    _ = try client.ask(#"{"message":"REG_UPDATE_DATA","policy":"/p.yaml"}"#)
    #expect(mount.updates.withLock { $0 } == [nil, "/p.yaml"])
    let answer = try client.ask(#"{"message":"QUERY_STATISTICS"}"#)
    #expect(answer?["statistics"]?["pid"]?.integer == Int64(getpid()))
    #expect(try mount.socket.counters.packets == 3)
  }

  @Test(
    "a message that is understood and refused leaves the connection",
    arguments: [
      #"{"message":"SET_PROCESS_EXCLUSION"}"#, #"{"message":"SET_PROCESS_EXCLUSION","exclusions":"/bin/cat"}"#,
      #"{"message":"SET_PROCESS_EXCLUSION","exclusions":["bin/cat"]}"#, #"{"message":"SET_PROCESS_EXCLUSION","exclusions":[[]]}"#,
      #"{"message":"SET_PROCESS_EXCLUSION","exclusions":[],"x":1}"#, #"{"message":"SET_DOC_OPEN_RULE"}"#,
      #"{"message":"SET_DOC_OPEN_RULE","doc_open":[{"image":"a"}]}"#,
      #"{"message":"SET_DOC_OPEN_RULE","doc_open":[{"image":"a","extension":".b"}]}"#,
      #"{"message":"REGISTER_FRIENDLY_PROCESS"}"#, #"{"message":"REGISTER_FRIENDLY_PROCESS","when":{}}"#,
      #"{"message":"REGISTER_FRIENDLY_PROCESS","when":{"name":"cat"}}"#,
      #"{"message":"REGISTER_FRIENDLY_PROCESS","when":{"uid":"x"}}"#,
      #"{"message":"REGISTER_FRIENDLY_PROCESS","id":"","when":{"uid":7}}"#, #"{"message":"SET_PROCESS_INFO"}"#,
      #"{"message":"SET_PROCESS_INFO","pid":-1,"start_ticks":1}"#, #"{"message":"SET_PROCESS_INFO","pid":1,"start_ticks":-1}"#,
      #"{"message":"SET_PROCESS_INFO","pid":4294967297,"start_ticks":1}"#,
      #"{"message":"SET_PROCESS_INFO","pid":1,"start_ticks":9223372036854775807}"#,
      #"{"message":"QUERY_TRUSTED_AND_UNTRUSTED_PROCESS","after":-1}"#,
      #"{"message":"QUERY_TRUSTED_AND_UNTRUSTED_PROCESS","after":"x"}"#,
      #"{"message":"SUBSCRIBE_PROCESS_NOTIFICATIONS","refresh":1}"#, #"{"message":""}"#, #"{"message":"QUERY_STATISTICS","x":1}"#,
      #"{"message":"REG_UPDATE_DATA","policy":"relative"}"#, #"{"message":"REG_UPDATE_DATA","policy":7}"#,
      #"{"message":"REGISTER_SYNC_CLIENT"}"#, #"{"message":"REGISTER_SYNC_CLIENT","deciding":1}"#,
      #"{"message":"UPDATE_SYNC_MONITOR_CONFIG","timeout_ms":0}"#,
      #"{"message":"UPDATE_SYNC_MONITOR_CONFIG","timeout_ms":9223372036854775807}"#,
      #"{"message":"UPDATE_SYNC_MONITOR_CONFIG","on_timeout":"maybe"}"#,
      #"{"message":"RegistryEventSync","type":2,"sequence":1,"verdict":"allow"}"#,
      #"{"message":"RegistryEventSync","type":2,"sequence":-1}"#,
    ])
  func refusedMessages(text: String) throws {
    let mount = try FakeMount()
    defer { mount.end() }
    let client = try mount.client()
    let answer = try client.ask(text)
    #expect(answer?["status"]?.string == "error")
    #expect(answer?["error"]?.string?.isEmpty == false)
    #expect(try client.ask(#"{"message":"QUERY_STATISTICS"}"#)?["status"]?.string == "ok")
    #expect(mount.updates.withLock { $0.isEmpty } && mount.amendments.withLock { $0.isEmpty })
    #expect(mount.channel.configuration == SyncConfiguration())
  }

  @Test(
    "who speaks no JSON is cut off",
    arguments: ["x", "{", "[]", "{}", #"{"message":1}"#, #""REG_UPDATE_DATA""#, "\u{0}", String(repeating: "[", count: 65536)])
  func malformed(text: String) throws {
    let mount = try FakeMount()
    defer { mount.end() }
    let client = try mount.client()
    #expect(try client.ask(text)?["status"]?.string == "error")
    #expect(try client.receive() == nil)
    #expect(try mount.socket.counters.cutOff == 1)
    #expect(try mount.client().ask(#"{"message":"QUERY_STATISTICS"}"#)?["status"]?.string == "ok")
  }

  @Test func aPacketThatIsTooLongIsCutOffAndTheLongestIsNot() throws {
    let mount = try FakeMount()
    defer { mount.end() }
    let message = #"{"message":"QUERY_STATISTICS"}"#
    let longest = message + String(repeating: " ", count: SequencedSocket.longestPacket - message.utf8.count)
    #expect(try mount.client().ask(longest)?["status"]?.string == "ok")
    let client = try mount.client()
    #expect(try client.ask(longest + " ")?["error"]?.string == "the packet is too long")
    #expect(try client.receive() == nil)
  }

  @Test func aRefusedPeerIsToldAndCounted() throws {
    let mount = try FakeMount(refusing: true)
    defer { mount.end() }
    for _ in 0..<3 {
      let client = try mount.client()
      let answer = try client.receive()
      #expect(answer?["status"]?.string == "error")
      #expect(try client.receive() == nil)
    }
    let counters = try mount.socket.counters
    #expect((counters.refused, counters.accepted, counters.packets) == (3, 0, 0))
  }

  @Test func thereAreAtMost64Connections() throws {
    let mount = try FakeMount()
    defer { mount.end() }
    var descriptors: [Int32] = []
    defer { for descriptor in descriptors { close(descriptor) } }
    for _ in 0..<ControlSocket.mostConnections {
      let descriptor = try SequencedSocket.make(blocks: true)
      try SequencedSocket.connect(descriptor, to: mount.socket.path)
      descriptors.append(descriptor)
    }
    let client = try mount.client()
    #expect(try client.receive()?["error"]?.string == "too many connections")
    #expect(SequencedSocket.send(Array(#"{"message":"QUERY_STATISTICS"}"#.utf8), to: descriptors[0]) == 0)
    #expect(try SequencedSocket.receive(from: descriptors[0]) != nil)
    close(descriptors.removeLast())
    while try mount.socket.counters.connections == ControlSocket.mostConnections { usleep(1000) }
    #expect(try mount.client().ask(#"{"message":"QUERY_STATISTICS"}"#)?["status"]?.string == "ok")
  }

  @Test func whoDoesNotReadIsCutOffAndHoldsNobodyUp() throws {
    let mount = try FakeMount()
    defer { mount.end() }
    let slow = try mount.client()
    let deadline = MonotonicClock.nanoseconds() + 20_000_000_000
    while try mount.socket.counters.cutOff == 0, MonotonicClock.nanoseconds() < deadline {
      if slow.send(#"{"message":"QUERY_STATISTICS"}"#) != 0 { usleep(1000) }
    }
    #expect(try mount.socket.counters.cutOff == 1)
    #expect(try mount.client().ask(#"{"message":"QUERY_STATISTICS"}"#)?["status"]?.string == "ok")
  }

  @Test func problemsAreBoundedByThePacket() throws {
    let mount = try FakeMount()
    defer { mount.end() }
    let answer = try mount.client().ask(#"{"message":"REG_UPDATE_DATA","policy":"/p.bad"}"#)
    #expect(answer?["status"]?.string == "error")
    #expect(answer?["version"]?.integer == 1)
    let problems = try #require(answer?["problems"]?.elements)
    #expect(problems.count >= 50 && problems.count <= 200)
    #expect(ReloadCommand.line(problems[0]) .hasPrefix("/p.bad:2:1: error: unknown"))
  }

  @Test func theSyncClientGetsAsksAndItsDeathWakes() throws {
    let mount = try FakeMount()
    defer { mount.end() }
    let client = try mount.client()
    #expect(try client.ask(#"{"message":"REGISTER_SYNC_CLIENT","deciding":true}"#)?["status"]?.string == "ok")
    #expect(
      try mount.client().ask(#"{"message":"REGISTER_SYNC_CLIENT","deciding":true}"#)?["error"]?.string
        == "a sync client is registered already")
    #expect(
      try client.ask(#"{"message":"UPDATE_SYNC_MONITOR_CONFIG","timeout_ms":60000,"on_timeout":"deny"}"#)?["status"]?.string
        == "ok")
    #expect(mount.channel.configuration.timeout == 60_000)
    #expect(mount.channel.configuration.onTimeout == .deny)

    func ask(_ outcomes: Outcomes, _ processID: Int32) throws -> SystemThread {
      let channel = mount.channel
      return try #require(
        SystemThread(name: "asker") {
          let notification = Notification(
            time: .now(), notifyClass: .preDeleteKey, status: .success, denied: false,
            process: ProcessDescription(processID: processID, threadID: 1, userID: 0, groupID: 0), keyName: "x")
          outcomes.add(channel.ask(notification, by: SyncProcess(processID: processID, startTicks: 1)))
        })
    }
    let outcomes = Outcomes()
    // A process id that nobody has: ours is the client's.
    let first = try ask(outcomes, -1)
    let event = try #require(try client.receive())
    #expect(event["message"]?.string == "RegistryEventSync")
    #expect(event["event"]?["event"]?["action"]?.string == "RegNtPreDeleteKey")
    let sequence = try #require(event["sequence"]?.integer)
    #expect(
      try client.ask(#"{"message":"RegistryEventSync","type":3,"sequence":\#(sequence),"verdict":"allow"}"#)?["error"]?.string
        == "nothing waits for this answer")
    client.send(#"{"message":"RegistryEventSync","type":2,"sequence":\#(sequence),"verdict":"allow"}"#)
    first.join()
    #expect(outcomes.all == [.answered(.allow)])

    let second = try ask(outcomes, -2)
    _ = try client.receive()
    shutdown(client.descriptor, Int32(SHUT_RDWR))
    second.join()
    #expect(outcomes.all.last == .unattended(.deny))
    #expect(mount.channel.standing.client == nil)
  }

  private final class Outcomes: Sendable {
    private let list = Mutex<[SyncOutcome]>([])
    func add(_ outcome: SyncOutcome) { list.withLock { $0.append(outcome) } }
    var all: [SyncOutcome] { list.withLock { $0 } }
  }

  @Test func aStaleNameIsTakenOverALivingOneIsNot() throws {
    let first = try FakeMount()
    let path = try first.socket.path
    let second = try FakeMount(folder: first.folder)
    #expect(try second.socket.path == path.replacing(".sock", with: "-\(getpid()).sock"))
    second.end(removes: false)
    #expect(access(path, F_OK) == 0)
    first.end(removes: false)
    #expect(access(path, F_OK) != 0)

    // What a daemon leaves that was killed: a socket that nobody listens on.
    let left = try SequencedSocket.make(blocks: true)
    try SequencedSocket.bind(left, to: path)
    close(left)
    let other = try SequencedSocket.make(blocks: true)
    try SequencedSocket.bind(other, to: first.folder + "/other.sock")
    close(other)
    let third = try FakeMount(folder: first.folder)
    defer { third.end() }
    #expect(try third.socket.path == path)
    #expect(access(first.folder + "/other.sock", F_OK) != 0)
    #expect(try third.client().ask(#"{"message":"QUERY_STATISTICS"}"#)?["status"]?.string == "ok")
  }

  @Test func aNameThatIsAnothersByNowIsNotRemoved() throws {
    let first = try FakeMount()
    let path = try first.socket.path
    unlink(path)
    let second = try FakeMount(folder: first.folder)
    #expect(try second.socket.path == path)
    first.end(removes: false)
    #expect(try second.client().ask(#"{"message":"QUERY_STATISTICS"}"#)?["status"]?.string == "ok")
    second.end()
  }

  @Test func aFolderThatOthersCanWriteIsNoPlace() throws {
    var template = Array("/tmp/regward-test-XXXXXX".utf8CString)
    let folder = try #require(mkdtemp(&template).map { String(cString: $0) })
    defer { rmdir(folder) }
    chmod(folder, 0o777)
    #expect(throws: MountFailure.self) { _ = try FakeMount(folder: folder) }
    chmod(folder, 0o700)
    let mount = try FakeMount(folder: folder)
    var status = stat()
    #expect(try stat(mount.socket.path, &status) == 0)
    #expect(status.st_mode & 0o777 == 0o600)
    mount.end(removes: false)
  }
}

@Suite("Who may control a mount")
struct ControlPeerTests {
  private func judge(_ ownerID: UInt32, _ doubts: [ExemptionDoubt]?) -> ControlPeerJudge {
    ControlPeerJudge(ownerID: ownerID) { _ in doubts }
  }
  private func peer(_ userID: UInt32, pid: Int32 = 7) -> ControlPeer {
    ControlPeer(processID: pid, userID: userID, groupID: userID)
  }

  @Test func rootAndTheMountingUserMay() {
    #expect(judge(0, []).refusal(of: peer(0)) == nil)
    #expect(judge(1000, []).refusal(of: peer(1000)) == nil)
    #expect(judge(1000, []).refusal(of: peer(0)) == nil)
  }

  @Test func nobodyElseMay() {
    #expect(judge(0, []).refusal(of: peer(1000)) != nil)
    #expect(judge(1000, []).refusal(of: peer(1001)) != nil)
    #expect(judge(1000, []).refusal(of: peer(65534)) != nil)
  }

  @Test func anUnknownProcessMayNot() {
    #expect(judge(0, []).refusal(of: peer(0, pid: 0)) != nil)
    #expect(judge(0, nil).refusal(of: peer(0)) != nil)
    #expect(judge(1000, nil).refusal(of: peer(1000)) != nil)
  }

  @Test(arguments: ExemptionDoubt.allCases)
  func aDoubtedProcessOfTheUserMayNot(doubt: ExemptionDoubt) {
    let isHisOwn = doubt == .ownExecutable
    #expect((judge(1000, [doubt]).refusal(of: peer(1000)) == nil) == isHisOwn)
    #expect((judge(1000, [.ownExecutable, doubt]).refusal(of: peer(1000)) == nil) == isHisOwn)
  }

  @Test func rootOfAnotherUserNamespaceMayNot() {
    #expect(judge(0, [.foreignUserNamespace]).refusal(of: peer(0)) != nil)
    #expect(judge(0, [.traced, .loaderEnvironment]).refusal(of: peer(0)) == nil)
    // A user's daemon cannot see root's namespace.
    #expect(judge(1000, [.noExecutable, .foreignUserNamespace]).refusal(of: peer(0)) == nil)
  }
}
