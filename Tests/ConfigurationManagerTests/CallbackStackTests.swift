import ConfigurationManager
import Executive
import Synchronization
import Testing

@Suite struct AltitudeTests {
  @Test(arguments: [
    ("1", "2"), ("9", "10"), ("328010", "328011"), ("328010", "3280100"), ("1", "1.5"), ("1.25", "1.3"),
    ("99999999999999999999999999", "100000000000000000000000000"),
  ])
  func comparesAsNumbers(low: String, high: String) throws {
    let a = try #require(Altitude(low))
    let b = try #require(Altitude(high))
    #expect(a < b)
    #expect(!(b < a))
  }

  @Test func equalNumbersAreOneAltitude() { #expect(Altitude("0042.50") == Altitude("42.5")) }

  @Test(arguments: ["", "a", "1.", ".5", "1.2.3", "-1", "1 "])
  func refusesWhatIsNoNumber(text: String) { #expect(Altitude(text) == nil) }
}

@Suite struct CallbackStackTests {
  private func altitude(_ text: String) throws -> Altitude { try #require(Altitude(text)) }

  @Test func aTakenAltitudeCollides() throws {
    let stack = CallbackStack()
    _ = try stack.register(RecordingCallback(), altitude: altitude("100"), interests: everything)
    #expect(throws: NTStatus.altitudeCollision) {
      try stack.register(RecordingCallback(), altitude: altitude("0100"), interests: everything)
    }
  }

  @Test func unregisteringABadCookieFails() throws {
    let stack = CallbackStack()
    let cookie = try stack.register(RecordingCallback(), altitude: altitude("1"), interests: everything)
    #expect(throws: NTStatus.invalidParameter) { try stack.unregister(CallbackCookie(rawValue: 999)) }
    try stack.unregister(cookie)
    #expect(throws: NTStatus.invalidParameter) { try stack.unregister(cookie) }
  }

  @Test func preRunsFromHighToLowAndTheBlockerAndThoseBelowGetNoPost() throws {
    let stack = CallbackStack()
    let order = Mutex<[String]>([])
    let high = RecordingCallback(during: { _ in order.withLock { $0.append("high") } })
    let middle = RecordingCallback(
      answer: { _ in .accessDenied }, during: { _ in order.withLock { $0.append("middle") } })
    let low = RecordingCallback(during: { _ in order.withLock { $0.append("low") } })
    _ = try stack.register(low, altitude: altitude("1"), interests: everything)
    _ = try stack.register(high, altitude: altitude("300"), interests: everything)
    _ = try stack.register(middle, altitude: altitude("20"), interests: everything)
    let registry = try makeRegistry(stack)
    #expect(throws: NTStatus.accessDenied) {
      try registry.setValue(
        of: registry.root, named: "v", to: RegistryValue(type: .sz, data: []), by: somebody)
    }
    #expect((high.pre, high.post) == (1, 1))
    #expect((middle.pre, middle.post) == (1, 0))
    #expect((low.pre, low.post) == (0, 0))
    #expect(high.all.last?.status == .accessDenied)
    #expect(order.withLock { $0 } == ["high", "middle"])
    #expect(try !registry.exists("v", in: registry.root, among: .values))
  }

  @Test func aClassThatNobodyAskedForIsNotDispatched() throws {
    let stack = CallbackStack()
    let callback = RecordingCallback(answer: { _ in .accessDenied })
    _ = try stack.register(callback, altitude: altitude("1"), interests: NotifyClass.preDeleteKey.bit)
    let registry = try makeRegistry(stack)
    try registry.setValue(of: registry.root, named: "v", to: RegistryValue(type: .sz, data: []), by: somebody)
    #expect(callback.all.isEmpty)
  }

  @Test func changedInterestsCountFromTheNextOperationOn() throws {
    let stack = CallbackStack()
    let callback = RecordingCallback(answer: { _ in .accessDenied })
    let cookie = try stack.register(callback, altitude: altitude("1"), interests: 0)
    let registry = try makeRegistry(stack)
    _ = try make("a", in: registry.root, registry)
    try stack.setInterests(NotifyClass.preCreateKeyEx.bit, of: cookie)
    #expect(throws: NTStatus.accessDenied) { try make("b", in: registry.root, registry) }
  }

  @Test func unregisteringWaitsForTheCallInFlight() throws {
    let stack = CallbackStack()
    let entered = KernelEvent()
    let leave = KernelEvent()
    let callback = RecordingCallback(during: { _ in
      entered.signal()
      leave.wait()
    })
    let cookie = try stack.register(callback, altitude: altitude("1"), interests: everything)
    let registry = try makeRegistry(stack)
    let writer = try #require(
      SystemThread(name: "writer") {
        try? registry.setValue(of: registry.root, named: "v", to: RegistryValue(type: .sz, data: []), by: somebody)
      })
    entered.wait()
    let isGone = Mutex(false)
    let gone = KernelEvent()
    let remover = try #require(
      SystemThread(name: "remover") {
        try? stack.unregister(cookie)
        isGone.withLock { $0 = true }
        gone.signal()
      })
    #expect(!gone.wait(milliseconds: 50))
    #expect(!isGone.withLock { $0 })
    leave.signal()
    writer.join()
    remover.join()
    #expect(isGone.withLock { $0 })
    #expect((callback.pre, callback.post) == (1, 1))
  }
}
