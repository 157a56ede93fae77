import ConfigurationManager
import Executive
import HiveStorage
import Synchronization
import Testing

/// A callback made of two closures, which counts what it is told of the operations that a program is about.
final class Program: RegistryCallback {
  typealias Pre = @Sendable (RegistryOperation, inout RegistryCall) -> NTStatus
  typealias Post = @Sendable (RegistryOperation, NTStatus, inout RegistryCall) -> NTStatus

  private let seen = Mutex((pre: 0, post: 0, cleanups: 0))
  private let pre: Pre
  private let post: Post

  init(pre: @escaping Pre = { _, _ in .success }, post: @escaping Post = { _, _, _ in .success }) {
    self.pre = pre
    self.post = post
  }

  var counts: (pre: Int, post: Int) { seen.withLock { ($0.pre, $0.post) } }
  var cleanups: Int { seen.withLock { $0.cleanups } }

  func preOperation(_ operation: RegistryOperation, _ call: inout RegistryCall) -> NTStatus {
    if case .contextCleanup = operation {
      seen.withLock { $0.cleanups += 1 }
    } else {
      seen.withLock { $0.pre += 1 }
    }
    return pre(operation, &call)
  }

  func postOperation(_ operation: RegistryOperation, status: NTStatus, _ call: inout RegistryCall) -> NTStatus {
    seen.withLock { $0.post += 1 }
    return post(operation, status, &call)
  }
}

/// A note of a callback's own.
final class Note: Sendable {
  let text: String
  init(_ text: String) { self.text = text }
}

/// What the programs of Windows' registry filter sample show, one test a program. Registry transactions do not exist here: the two
/// programs about them have their counterpart in the one change that two operations make, the rename of a value.
@Suite struct CallbackProgramTests {
  let stack = CallbackStack()
  let registry: Registry
  private let data = RegistryValue(type: .dword, data: [1, 0, 0, 0])

  init() throws { registry = try makeRegistry(stack) }

  private func register(_ program: Program, at altitude: String = "380010", _ classes: NotifyClass...) throws -> CallbackCookie {
    let mask = classes.isEmpty ? everything : classes.reduce(UInt64(0)) { $0 | $1.bit }
    return try stack.register(program, altitude: #require(Altitude(altitude)), interests: mask)
  }

  private func set(_ name: UnicodeName) throws(NTStatus) {
    try registry.setValue(of: registry.root, named: name, to: data, by: somebody)
  }

  private func hasValue(_ name: UnicodeName) throws -> Bool { try registry.exists(name, in: registry.root, among: .values) }
  private func hasKey(_ name: UnicodeName) throws -> Bool { try registry.exists(name, in: registry.root, among: .keys) }

  @Test func preNotificationBlock() throws {
    let program = Program(pre: { operation, _ in
      switch operation {
      case .createKey, .setValueKey: .accessDenied
      default: .success
      }
    })
    let cookie = try register(program)
    #expect(throws: NTStatus.accessDenied) { _ = try make("Key", in: registry.root, registry) }
    #expect(throws: NTStatus.accessDenied) { try set("Value") }
    #expect(program.counts == (2, 0))
    try stack.unregister(cookie)
    try set("Value")
    #expect(try hasValue("Value") && !hasKey("Key"))
  }

  @Test func preNotificationBypass() throws {
    let registry = registry
    let program = Program(pre: { operation, call in
      switch operation {
      case .createKey(let name, _, _) where name.description.hasSuffix("Original"):
        // The work is done here, under another name.
        try? registry.createKey(named: "Modified", in: registry.root, by: call.caller) { key, _ in registry.close(key) }
        return .callbackBypass
      case .setValueKey(_, "Original", let value?):
        try? registry.setValue(of: registry.root, named: "Modified", to: value, by: call.caller)
        return .callbackBypass
      default: return .success
      }
    })
    let below = Program()
    _ = try register(program)
    _ = try register(below, at: "1")
    // The caller gets success, and no key: there is none of the name that was asked for.
    #expect(throws: NTStatus.objectNameNotFound) { _ = try make("Original", in: registry.root, registry) }
    try set("Original")
    #expect(try hasValue("Modified") && !hasValue("Original"))
    #expect(try hasKey("Modified") && !hasKey("Original"))
    #expect(program.counts == (2, 0))
    // Only what the callback did itself.
    #expect(below.counts == (2, 2))
  }

  @Test func aCreateThatACallbackDidGivesItsKey() throws {
    let registry = registry
    _ = try register(
      Program(pre: { operation, call in
        guard case .createKey(_, let parent, _) = operation else { return .success }
        #expect(parent.id == registry.root.id)
        try? registry.createKey(named: "K", in: registry.root, by: call.caller) { key, _ in registry.close(key) }
        return .callbackBypass
      }), .preCreateKeyEx)
    let key = try make("K", in: registry.root, registry)
    #expect(try registry.completeName(of: key) == #"\REGISTRY\MACHINE\TEST\K"#)
  }

  @Test func postNotificationOverrideSuccess() throws {
    // A failed operation becomes a success.
    let blocker = Program(pre: { _, _ in .accessDenied })
    let program = Program(post: { _, status, call in
      #expect(status == .accessDenied)
      #expect(call.returnStatus == .accessDenied)
      call.returnStatus = .success
      return .callbackBypass
    })
    _ = try register(program, .preSetValueKey, .postSetValueKey, .preCreateKeyEx, .postCreateKeyEx)
    _ = try register(blocker, at: "10", .preSetValueKey, .preCreateKeyEx)
    try set("Value")
    #expect(try !hasValue("Value"))
    #expect(program.counts == (1, 1))
    #expect(blocker.counts == (1, 0))
    // Nor is there a key, whatever the status says.
    #expect(throws: NTStatus.objectNameNotFound) { _ = try make("Key", in: registry.root, registry) }
  }

  @Test func postNotificationOverrideError() throws {
    // A success becomes a failure, and the callback has undone the operation.
    let registry = registry
    let program = Program(post: { operation, status, call in
      guard status.isSuccess else { return .success }
      switch operation {
      case .setValueKey(_, let name, _): try? registry.deleteValue(of: registry.root, named: name, by: call.caller)
      case .createKey:
        guard let made = call.result else { return .success }
        #expect(made.completeName == #"\REGISTRY\MACHINE\TEST\Key"#)
        try? registry.lookUp("Key", in: registry.root, among: .keys) { object in
          guard case .key(let key, _) = object else { return nil as KeyControlBlock? }
          return key
        }.map { key throws(NTStatus) in
          try registry.deleteKey(key, by: call.caller)
          registry.close(key)
        }
      default: break
      }
      call.returnStatus = .accessDenied
      return .callbackBypass
    })
    let above = Program()
    _ = try register(program, .preSetValueKey, .postSetValueKey, .preCreateKeyEx, .postCreateKeyEx)
    _ = try register(above, at: "400000", .postSetValueKey)
    #expect(throws: NTStatus.accessDenied) { try set("Value") }
    #expect(throws: NTStatus.accessDenied) { _ = try make("Key", in: registry.root, registry) }
    #expect(try !hasValue("Value") && !hasKey("Key"))
    #expect(program.counts == (2, 2))
    #expect(above.counts == (0, 1))
  }

  @Test func aPostThatDoesNotBypassChangesNothing() throws {
    _ = try register(
      Program(post: { _, _, call in
        call.returnStatus = .accessDenied
        return .accessDenied
      }))
    try set("Value")
    #expect(try hasValue("Value"))
  }

  @Test func transactionEnlist() throws {
    // Both operations of a value's rename are judged before either is done, and completed after both.
    try set("Old")
    let registry = registry
    let program = Program(
      pre: { _, _ in
        #expect((try? registry.exists("Old", in: registry.root, among: .values)) == true)
        #expect((try? registry.exists("New", in: registry.root, among: .values)) == false)
        return .success
      },
      post: { _, status, _ in
        #expect(status.isSuccess)
        #expect((try? registry.exists("Old", in: registry.root, among: .values)) == false)
        #expect((try? registry.exists("New", in: registry.root, among: .values)) == true)
        return .success
      })
    _ = try register(program, .preSetValueKey, .postSetValueKey, .preDeleteValueKey, .postDeleteValueKey)
    try registry.moveValue(
      of: registry.root, named: "Old", to: registry.root, named: "New", as: data, by: somebody)
    #expect(program.counts == (2, 2))
  }

  @Test func transactionReplay() throws {
    // One half refused: neither is done, and the half that was let through hears of it.
    try set("Old")
    let statuses = Mutex<[NTStatus]>([])
    let program = Program(
      pre: { operation, _ in if case .setValueKey = operation { .accessDenied } else { .success } },
      post: { _, status, _ in
        statuses.withLock { $0.append(status) }
        return .success
      })
    _ = try register(program, .preSetValueKey, .preDeleteValueKey, .postDeleteValueKey, .postSetValueKey)
    #expect(throws: NTStatus.accessDenied) {
      try registry.moveValue(
        of: registry.root, named: "Old", to: registry.root, named: "New", as: data, by: somebody)
    }
    #expect(try hasValue("Old") && !hasValue("New"))
    #expect(statuses.withLock { $0 } == [.accessDenied])
  }

  @Test func setObjectContext() throws {
    // Of two openings of one key only the first one has a context; it is seen in the operations that come through it.
    let stack = stack
    let cookie = Mutex<CallbackCookie?>(nil)
    let opened = Mutex(0)
    let seen = Mutex<[String?]>([])
    let program = Program(
      pre: { operation, call in
        switch operation {
        case .setValueKey: seen.withLock { $0.append((call.objectContext as? Note)?.text) }
        case .contextCleanup: seen.withLock { $0.append("cleanup " + ((call.objectContext as? Note)?.text ?? "none")) }
        default: break
        }
        return .success
      },
      post: { operation, status, call in
        guard case .openKey = operation, status.isSuccess, let object = call.result?.object,
          opened.withLock({ count in
            count += 1
            return count == 1
          })
        else { return .success }
        guard let cookie = cookie.withLock({ $0 }) else { return .success }
        let old = try? stack.setObjectContext(Note("first"), of: object, cookie: cookie)
        #expect(old == nil)
        return .success
      })
    let own = try register(program)
    cookie.withLock { $0 = own }
    let first = try registry.openKey(registry.root, by: somebody)
    let second = try registry.openKey(registry.root, by: somebody)
    for object in [first, second] {
      try registry.setValue(of: object.key, named: "v", to: data, by: somebody, through: object)
    }
    try set("v")
    registry.closeKey(second, by: somebody)
    #expect(program.cleanups == 0)
    registry.closeKey(first, by: somebody)
    #expect(program.cleanups == 1)
    #expect(seen.withLock { $0 } == ["first", nil, nil, "cleanup first"])
  }

  @Test func unregisteringGivesBackTheObjectContexts() throws {
    let program = Program()
    let cookie = try register(program)
    let object = try registry.openKey(registry.root, by: somebody)
    #expect(try stack.setObjectContext(Note("a"), of: object, cookie: cookie) == nil)
    #expect((try stack.setObjectContext(Note("b"), of: object, cookie: cookie) as? Note)?.text == "a")
    try stack.unregister(cookie)
    #expect(program.cleanups == 1)
    registry.closeKey(object, by: somebody)
    #expect(program.cleanups == 1)
    #expect(throws: NTStatus.invalidParameter) { try stack.setObjectContext(Note("c"), of: object, cookie: cookie) }
  }

  @Test func setCallContext() throws {
    // Set in pre, seen in the post of the same operation and by the same callback only.
    func contextual(_ mark: String) -> Program {
      Program(
        pre: { operation, call in
          #expect(call.callContext == nil)
          call.callContext = Note("\(mark) \(operation.preClass)")
          return .success
        },
        post: { operation, _, call in
          #expect((call.callContext as? Note)?.text == "\(mark) \(operation.preClass)")
          return .success
        })
    }
    let high = contextual("high")
    let low = contextual("low")
    _ = try register(high, at: "2")
    _ = try register(low, at: "1")
    try set("v")
    _ = try make("k", in: registry.root, registry)
    #expect(high.counts == (2, 2))
    #expect(low.counts == (2, 2))
  }

  @Test func multipleAltitudeBlockDuringPre() throws {
    let high = Program()
    let middle = Program(pre: { _, _ in .accessDenied })
    let low = Program()
    for (program, altitude) in [(high, "380020"), (middle, "380010"), (low, "380000")] {
      _ = try register(program, at: altitude)
    }
    #expect(throws: NTStatus.accessDenied) { _ = try make("k", in: registry.root, registry) }
    #expect(high.counts == (1, 1))
    #expect(middle.counts == (1, 0))
    #expect(low.counts == (0, 0))
  }

  @Test func multipleAltitudeInternalInvocation() throws {
    // The middle one opens and closes a key in its pre and in its post.
    let registry = registry
    let openAndClose: @Sendable (RegistryCall) -> Void = { call in
      guard let object = try? registry.openKey(registry.root, by: call.caller) else { return }
      registry.closeKey(object, by: call.caller)
    }
    let high = Program()
    let middle = Program(
      pre: { _, call in
        openAndClose(call)
        return .success
      },
      post: { _, _, call in
        openAndClose(call)
        return .success
      })
    let low = Program()
    for (program, altitude) in [(high, "380020"), (middle, "380010"), (low, "380000")] {
      _ = try register(program, at: altitude)
    }
    _ = try make("k", in: registry.root, registry)
    #expect(high.counts == (1, 1))
    #expect(middle.counts == (1, 1))
    #expect(low.counts == (5, 5))
  }

  @Test func createOpenVersion1() throws {
    // A create and an open tell the whole name and the key that the name is relative to.
    let names = Mutex<[String]>([])
    _ = try register(
      Program(
        pre: { operation, _ in
          switch operation {
          case .createKey(let name, let root, _): names.withLock { $0.append("\(name) in \(root.completeName)") }
          case .openKey(let key, let access): names.withLock { $0.append("\(key.completeName) for \(access)") }
          default: break
          }
          return .success
        }))
    let parent = try make("Parent", in: registry.root, registry)
    let child = try make("Child", in: parent, registry)
    registry.closeKey(try registry.openKey(child, desiredAccess: 1, by: somebody), by: somebody)
    #expect(
      names.withLock { $0 } == [
        #"\REGISTRY\MACHINE\TEST\Parent in \REGISTRY\MACHINE\TEST"#,
        #"\REGISTRY\MACHINE\TEST\Parent\Child in \REGISTRY\MACHINE\TEST\Parent"#,
        #"\REGISTRY\MACHINE\TEST\Parent\Child for 1"#,
      ])
  }

  @Test func capture() throws {
    // What a callback has been told stays as it was told, whatever becomes of the key and the caller's buffer.
    let kept = Mutex<[RegistryOperation]>([])
    _ = try register(
      Program(pre: { operation, _ in
        kept.withLock { $0.append(operation) }
        return .success
      }), .preSetValueKey)
    var bytes: [UInt8] = [1, 2, 3]
    try registry.setValue(of: registry.root, named: "v", to: RegistryValue(type: .binary, data: bytes), by: somebody)
    bytes[0] = 9
    try registry.deleteValue(of: registry.root, named: "v", by: somebody)
    guard case .setValueKey(let key, "v", let value?)? = kept.withLock({ $0.first }) else {
      Issue.record("the operation was not told")
      return
    }
    #expect(value.data == [1, 2, 3])
    #expect(key.completeName == #"\REGISTRY\MACHINE\TEST"#)
  }
}

/// Questions and the classes around them.
@Suite struct QuestionTests {
  @Test func everyQuestionIsToldToThoseWhoAskedForItsClass() throws {
    let stack = CallbackStack()
    let registry = try makeRegistry(stack)
    let key = try make("k", in: registry.root, registry)
    try registry.setValue(of: key, named: "v", to: RegistryValue(type: .sz, data: []), by: somebody)
    let callback = RecordingCallback()
    _ = try stack.register(callback, altitude: try #require(Altitude("1")), interests: everything)
    _ = try registry.query(key, by: somebody)
    _ = try registry.queryValue(of: key, named: "v", by: somebody) { () throws(NTStatus) in }
    _ = try registry.querySecurity(of: key, by: somebody)
    _ = try registry.enumerate(registry.root, by: somebody, keys: { _, _, _ in }, values: { _ in })
    _ = try registry.enumerate(key, by: somebody, keys: { _, _, _ in }, values: { _ in })
    try registry.flushKey(key, by: somebody)
    let object = try registry.openKey(key, by: somebody)
    registry.closeKey(object, by: somebody)
    let pairs: [(NotifyClass, NotifyClass)] = [
      (.preQueryKey, .postQueryKey), (.preQueryValueKey, .postQueryValueKey), (.preQueryKeySecurity, .postQueryKeySecurity),
      (.preEnumerateKey, .postEnumerateKey), (.preEnumerateValueKey, .postEnumerateValueKey),
      (.preFlushKey, .postFlushKey), (.preOpenKeyEx, .postOpenKeyEx), (.preKeyHandleClose, .postKeyHandleClose),
    ]
    #expect(callback.all.map(\.notifyClass) == pairs.flatMap { [$0.0, $0.1] })
  }

  @Test func aRefusedQuestionIsNotAnsweredAndARefusedNameNotListed() throws {
    let stack = CallbackStack()
    let registry = try makeRegistry(stack)
    for name in ["a", "b", "c"] as [UnicodeName] {
      registry.close(try make(name, in: registry.root, registry))
      try registry.setValue(of: registry.root, named: name, to: RegistryValue(type: .sz, data: []), by: somebody)
    }
    let callback = RecordingCallback(answer: { operation in
      switch operation {
      case .enumerateKey(_, 1, "b"), .enumerateValueKey(_, 0, "a"), .queryKey, .queryKeySecurity: .accessDenied
      default: .success
      }
    })
    _ = try stack.register(callback, altitude: try #require(Altitude("1")), interests: everything)
    var names: [String] = []
    _ = try registry.enumerate(
      registry.root, by: somebody, keys: { name, _, _ in names.append("k" + name.description) },
      values: { names.append("v" + $0.name.description) })
    #expect(names == ["ka", "kc", "vb", "vc"])
    #expect(throws: NTStatus.accessDenied) { _ = try registry.query(registry.root, by: somebody) }
    #expect(throws: NTStatus.accessDenied) { _ = try registry.querySecurity(of: registry.root, by: somebody) }
  }

  @Test func aCallbackThatNamedItsValuesHearsOfNoOtherQuery() throws {
    let stack = CallbackStack()
    let registry = try makeRegistry(stack)
    let callback = RecordingCallback(answer: { _ in .accessDenied })
    _ = try stack.register(
      callback, altitude: try #require(Altitude("1")), interests: NotifyClass.preQueryValueKey.bit,
      queriedValues: ["LoadAppInit_DLLs"])
    #expect(stack.isQueryWatched(of: "loadappinit_dlls"))
    #expect(!stack.isQueryWatched(of: "LoadAppInit"))
    try registry.queryValue(of: registry.root, named: "Other", by: somebody) { () throws(NTStatus) in }
    #expect(throws: NTStatus.accessDenied) {
      try registry.queryValue(of: registry.root, named: "LOADAPPINIT_DLLS", by: somebody) { () throws(NTStatus) in }
    }
  }

  @Test func nobodyCanRefuseAClose() throws {
    let stack = CallbackStack()
    let registry = try makeRegistry(stack)
    let object = try registry.openKey(registry.root, by: somebody)
    let callback = RecordingCallback(answer: { _ in .accessDenied })
    let cookie = try stack.register(callback, altitude: try #require(Altitude("1")), interests: everything)
    try stack.setObjectContext(Note("x"), of: object, cookie: cookie)
    registry.closeKey(object, by: somebody)
    #expect(callback.all.map(\.notifyClass) == [.preKeyHandleClose, .callbackObjectContextCleanup])
  }

  @Test func aRefusedOpenGivesNoObject() throws {
    let stack = CallbackStack()
    let registry = try makeRegistry(stack)
    let callback = RecordingCallback(answer: { _ in .accessDenied })
    _ = try stack.register(callback, altitude: try #require(Altitude("1")), interests: NotifyClass.preOpenKeyEx.bit)
    #expect(throws: NTStatus.accessDenied) { _ = try registry.openKey(registry.root, by: somebody) }
  }
}
