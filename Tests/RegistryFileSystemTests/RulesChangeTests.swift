import ConfigurationManager
import Executive
import HiveStorage
import RegistryFileSystem
import Synchronization
import Testing

/// A file system with a callback whose rules can be changed: it refuses a set by anybody, by the unknown, or by nobody.
private final class RulesFixture: RegistryCallback, ControlHandler, OpenWatcher {
  enum Rules { case allow, denyUnknown, deny }

  let registry: Registry
  private let rules = Mutex(Rules.allow)
  private let cookie = Mutex<CallbackCookie?>(nil)
  private let box = Mutex<RegistryFileSystem?>(nil)
  let judged = Mutex<[Caller]>([])
  let posts = Mutex(0)
  let opener = Caller(threadID: 1, userID: 0, groupID: 0)
  let closer = Caller(threadID: 2, userID: 0, groupID: 0)

  init() throws {
    let device = MemoryDevice(name: "memory", [])
    try Hive.format(device: device, minorVersion: 5)
    registry = Registry(
      hive: try Hive(device: device, access: .readWrite, logs: LogPair(MemoryDevice(name: "LOG1"), MemoryDevice(name: "LOG2"))),
      completeName: #"\REGISTRY\MACHINE\TEST"#, callbacks: CallbackStack(), isReadOnly: false)
    let made = try registry.callbacks.register(
      self, altitude: try #require(Altitude("1")), interests: Self.interests)
    cookie.withLock { $0 = made }
    try registry.setValue(
      of: registry.root, named: "v", to: RegistryValue(type: .sz, data: [0x41, 0, 0, 0]), by: opener)
    let fs = RegistryFileSystem(
      registry: registry, presentation: Presentation(userID: 0, groupID: 0, umask: 0o022, isReadOnly: false),
      largestText: 1 << 20, handler: self, openWatcher: self)
    box.withLock { $0 = fs }
    judged.withLock { $0 = [] }
    posts.withLock { $0 = 0 }
  }

  private static let interests = NotifyClass.preSetValueKey.bit | NotifyClass.postSetValueKey.bit

  var fs: RegistryFileSystem { get throws { try #require(box.withLock { $0 }) } }

  func change(to rules: Rules) throws {
    self.rules.withLock { $0 = rules }
    try registry.callbacks.setInterests(Self.interests, of: try #require(cookie.withLock { $0 }))
  }

  func preOperation(_ operation: RegistryOperation, _ call: inout RegistryCall) -> NTStatus {
    let caller = call.caller
    judged.withLock { $0.append(Caller(threadID: caller.threadID, userID: caller.userID, groupID: caller.groupID)) }
    return switch rules.withLock({ $0 }) {
    case .allow: .success
    case .denyUnknown: caller.threadID == 0 ? .accessDenied : .success
    case .deny: .accessDenied
    }
  }

  func postOperation(_ operation: RegistryOperation, status: NTStatus, _ call: inout RegistryCall) -> NTStatus {
    posts.withLock { $0 += 1 }
    return .success
  }

  let opened = Mutex<[String]>([])
  func isWatched(_ valueName: UnicodeName) -> Bool { valueName != "dull" }
  func opened(_ valueName: UnicodeName, of keyName: UnicodeName, by caller: Caller) {
    opened.withLock { $0.append("\(keyName) \(valueName) \(caller.threadID)") }
  }

  func why(_ name: UnicodeName) -> String { "" }
  func status() -> String { "" }
  func stats() -> String { "" }
  func ruleListing() -> String { "" }
  func openEvents(onArrival: @escaping @Sendable () -> Void) -> (any EventStream)? { nil }
  func export(_ saved: UnnamedFile, named name: UnicodeName, to file: UnnamedFile) throws(NTStatus) {
    throw .invalidParameter
  }
  func execute(
    _ verb: String, _ arguments: [String], by caller: Caller, registryName: (String) -> UnicodeName?
  ) -> String? { nil }

  /// Bytes of the value's data; nil when it is not there.
  var size: Int? { (try? registry.queryValue(of: registry.root, named: "v"))?.data.count }

  func emptied() throws -> OpenFile {
    try fs.open(try fs.lookUp("v", in: 1).nodeID, flags: 1 | 0o1000, by: opener).file
  }
}

@Suite("A handle opened earlier is judged by the rules in force now (wdfilter.md 4, row 12)")
struct RulesChangeTests {
  @Test func withTheSameRulesATruncationRestsOnItsOpen() throws {
    let fixture = try RulesFixture()
    let file = try fixture.emptied()
    _ = try fixture.fs.flush(file, by: fixture.closer)
    try fixture.fs.release(file)
    #expect(fixture.size == 0)
    #expect(fixture.judged.withLock { $0 } == [fixture.opener])
    #expect(fixture.posts.withLock { $0 } == 1)
  }

  @Test func whoClosesATruncationOfOldRulesIsJudgedByTheNew() throws {
    let fixture = try RulesFixture()
    let file = try fixture.emptied()
    try fixture.change(to: .denyUnknown)
    _ = try fixture.fs.flush(file, by: fixture.closer)
    try fixture.fs.release(file)
    #expect(fixture.size == 0)
    #expect(fixture.judged.withLock { $0 } == [fixture.opener, fixture.closer])
    // The old admission is told that nothing came of it, the new one what did.
    #expect(fixture.posts.withLock { $0 } == 2)
  }

  @Test func aTruncationThatTheNewRulesRefuseIsRefusedAtClose() throws {
    let fixture = try RulesFixture()
    let file = try fixture.emptied()
    try fixture.change(to: .deny)
    #expect(throws: Errno.accessDenied) { _ = try fixture.fs.flush(file, by: fixture.closer) }
    try fixture.fs.release(file)
    #expect(fixture.size == 4)
  }

  @Test(arguments: [true, false])
  func rulesThatChangeBetweenCloseAndReleaseFindAnUnknownCaller(isAllowed: Bool) throws {
    let fixture = try RulesFixture()
    let file = try fixture.emptied()
    _ = try fixture.fs.flush(file, by: fixture.closer)
    try fixture.change(to: isAllowed ? .allow : .denyUnknown)
    try fixture.fs.release(file)
    #expect(fixture.judged.withLock { $0.map(\.threadID) } == [1, 0])
    #expect(fixture.size == (isAllowed ? 0 : 4))
  }

  @Test func whatIsOpenedOrMadeIsToldAndWhatIsRefusedIsNot() throws {
    let fixture = try RulesFixture()
    let node = try fixture.fs.lookUp("v", in: 1).nodeID
    _ = try fixture.fs.open(node, flags: 0, by: fixture.opener)
    _ = try fixture.fs.open(node, flags: 1, by: fixture.closer)
    _ = try fixture.fs.create("new", in: 1, flags: 1, by: fixture.opener)
    _ = try fixture.fs.create("v", in: 1, flags: 1, by: fixture.closer)
    _ = try fixture.fs.create("dull", in: 1, flags: 1, by: fixture.closer)
    try fixture.change(to: .deny)
    #expect(throws: Errno.accessDenied) { _ = try fixture.fs.open(node, flags: 1, by: fixture.opener) }
    let key = #"\REGISTRY\MACHINE\TEST"#
    #expect(fixture.opened.withLock { $0 } == ["\(key) v 1", "\(key) v 2", "\(key) new 1", "\(key) v 2"])
  }

  @Test func aNewValueThatTheNewRulesRefuseIsNotMade() throws {
    let fixture = try RulesFixture()
    let made = try fixture.fs.create("new", in: 1, flags: 1, by: fixture.opener)
    try fixture.change(to: .deny)
    #expect(throws: Errno.accessDenied) { _ = try fixture.fs.flush(made.file, by: fixture.closer) }
    try fixture.fs.release(made.file)
    #expect(throws: Errno.noEntry) { _ = try fixture.fs.lookUp("new", in: 1) }
  }

  @Test func theNextWriteIsJudgedByTheNewRules() throws {
    let fixture = try RulesFixture()
    let file = try fixture.fs.open(try fixture.fs.lookUp("v", in: 1).nodeID, flags: 1, by: fixture.opener).file
    func write() throws {
      try Array("B\n".utf8).withUnsafeBytes { try fixture.fs.write(file, $0, offset: 0, by: fixture.closer) }
    }
    try write()
    try fixture.change(to: .deny)
    #expect(throws: Errno.accessDenied) { try write() }
    #expect(throws: Errno.accessDenied) { _ = try fixture.fs.flush(file, by: fixture.closer) }
    try fixture.fs.release(file)
    #expect(fixture.size == 4)
  }

  @Test func aHandleThatMayNowBeWrittenMay() throws {
    let fixture = try RulesFixture()
    try fixture.change(to: .deny)
    #expect(throws: Errno.accessDenied) { _ = try fixture.emptied() }
    try fixture.change(to: .allow)
    let file = try fixture.emptied()
    _ = try fixture.fs.flush(file, by: fixture.closer)
    try fixture.fs.release(file)
    #expect(fixture.size == 0)
  }
}
