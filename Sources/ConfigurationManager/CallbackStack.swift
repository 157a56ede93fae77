package import Executive
internal import Synchronization

/// What a registered callback is known by (the cookie of CmRegisterCallbackEx).
package struct CallbackCookie: Hashable, Sendable {
  package let rawValue: UInt64

  package init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// The callbacks in order of altitude, and **the one dispatch**: `admit` is the pre phase, `Admission.complete` the post phase,
/// and the registry changes nothing without an `Admission` in its hands.
///
/// 1. Pre runs from the highest altitude to the lowest; a failure stops the walk and is what the caller gets.
/// 2. Every callback whose pre succeeded gets exactly one post, also when a lower one refused.
/// 3. A class that nobody asked for costs one load.
/// 4. Unregistering waits for the calls in flight.
package final class CallbackStack: Sendable {
  /// One registered callback.
  final class Registration: Sendable {
    let cookie: CallbackCookie
    let altitude: Altitude
    let callback: any RegistryCallback
    /// The classes it asked for, by `NotifyClass.bit`.
    let interests: Atomic<UInt64>
    let rundown = RundownReference()

    init(cookie: CallbackCookie, altitude: Altitude, callback: any RegistryCallback, interests: UInt64) {
      self.cookie = cookie
      self.altitude = altitude
      self.callback = callback
      self.interests = Atomic(interests)
    }
  }

  private struct State {
    /// Highest altitude first.
    var registrations: [Registration] = []
    var nextCookie: UInt64 = 1
  }

  private let state = Mutex(State())
  /// The OR of all interests.
  private let mask = Atomic<UInt64>(0)

  package init() {}

  /// Adds a callback that is told of the classes in `interests`. Throws `altitudeCollision` when the altitude is taken.
  package func register(
    _ callback: any RegistryCallback, altitude: Altitude, interests: UInt64
  ) throws(NTStatus) -> CallbackCookie {
    try state.withLock { state throws(NTStatus) in
      guard !state.registrations.contains(where: { $0.altitude == altitude }) else { throw .altitudeCollision }
      let cookie = CallbackCookie(rawValue: state.nextCookie)
      state.nextCookie += 1
      let place = state.registrations.firstIndex { $0.altitude < altitude } ?? state.registrations.endIndex
      state.registrations.insert(
        Registration(cookie: cookie, altitude: altitude, callback: callback, interests: interests), at: place)
      refreshMask(state)
      return cookie
    }
  }

  /// Changes what a callback is told of. Throws `invalidParameter` for an unknown cookie.
  package func setInterests(_ interests: UInt64, of cookie: CallbackCookie) throws(NTStatus) {
    try state.withLock { state throws(NTStatus) in
      guard let registration = state.registrations.first(where: { $0.cookie == cookie }) else {
        throw .invalidParameter
      }
      registration.interests.store(interests, ordering: .releasing)
      refreshMask(state)
    }
  }

  /// Takes a callback out and waits for its calls in flight. Throws `invalidParameter` for an unknown cookie.
  package func unregister(_ cookie: CallbackCookie) throws(NTStatus) {
    let gone = try state.withLock { state throws(NTStatus) in
      guard let place = state.registrations.firstIndex(where: { $0.cookie == cookie }) else {
        throw .invalidParameter
      }
      let gone = state.registrations.remove(at: place)
      refreshMask(state)
      return gone
    }
    gone.rundown.waitForRelease()
  }

  /// Whether anybody asked for one of the operation's two classes.
  package func isWatched(_ pre: NotifyClass, _ post: NotifyClass) -> Bool {
    mask.load(ordering: .acquiring) & (pre.bit | post.bit) != 0
  }

  /// The pre phase. Throws the status of the callback that refused, after the post of those above it.
  package func admit(
    _ operation: RegistryOperation, by caller: Caller, registry: any RegistryQueries
  ) throws(NTStatus) -> Admission {
    let pre = operation.preClass
    let post = operation.postClass
    guard isWatched(pre, post) else { return Admission(operation: operation, caller: caller) }
    var admission = Admission(operation: operation, caller: caller)
    for registration in state.withLock({ $0.registrations }) {
      let interests = registration.interests.load(ordering: .acquiring)
      guard interests & (pre.bit | post.bit) != 0, registration.rundown.acquire() else { continue }
      var context: (any CallContext)?
      if interests & pre.bit != 0 {
        let status = registration.callback.preOperation(
          operation, by: caller, registry: registry, context: &context)
        guard status.isSuccess else {
          registration.rundown.release()
          admission.complete(status)
          throw status
        }
      }
      admission.passed.append((registration, context))
    }
    return admission
  }

  private func refreshMask(_ state: borrowing State) {
    mask.store(
      state.registrations.reduce(0) { $0 | $1.interests.load(ordering: .acquiring) }, ordering: .releasing)
  }
}

/// Leave to do one operation, given by the pre phase. It is used up by doing the operation; thrown away, its callbacks are
/// told that the operation was cancelled.
package struct Admission: ~Copyable, Sendable {
  /// A set value admitted when its file was opened gets its data later; nothing else changes.
  package internal(set) var operation: RegistryOperation
  package let caller: Caller
  fileprivate var passed: [(registration: CallbackStack.Registration, context: (any CallContext)?)] = []

  init(operation: RegistryOperation, caller: Caller) {
    self.operation = operation
    self.caller = caller
  }

  /// The post phase; only the first call does anything.
  mutating func complete(_ status: NTStatus) {
    Self.runPost(of: passed, operation, caller, status)
    passed = []
  }

  deinit { Self.runPost(of: passed, operation, caller, .cancelled) }

  /// Lowest altitude first.
  private static func runPost(
    of passed: [(registration: CallbackStack.Registration, context: (any CallContext)?)],
    _ operation: RegistryOperation, _ caller: Caller, _ status: NTStatus
  ) {
    for (registration, context) in passed.reversed() {
      if registration.interests.load(ordering: .acquiring) & operation.postClass.bit != 0 {
        registration.callback.postOperation(operation, by: caller, status: status, context: context)
      }
      registration.rundown.release()
    }
  }
}
