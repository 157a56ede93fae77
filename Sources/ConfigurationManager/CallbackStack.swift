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
/// 1. Pre runs from the highest altitude to the lowest; a failure stops the walk and is what the caller gets. To bypass stops the
///    walk too, and the caller gets success.
/// 2. Every callback whose pre succeeded gets exactly one post, also when a lower one refused; the one that stopped the walk gets
///    none. A post may put another status in the place of what happened.
/// 3. A class that nobody asked for costs one load.
/// 4. Operations that a callback makes itself are seen by those below it only (`RegistryCall.caller`).
/// 5. Unregistering waits for the calls in flight. A context on a key object is given back through a call of the cleanup class,
///    when the object is closed and when its callback is unregistered.
package final class CallbackStack: Sendable {
  private struct State {
    /// Highest altitude first.
    var registrations: [CallbackRegistration] = []
    var nextCookie: UInt64 = 1
  }

  private let state = Mutex(State())
  /// The OR of all interests.
  private let mask = Atomic<UInt64>(0)

  package init() {}

  /// Adds a callback that is told of the classes in `interests`, by `NotifyClass.bit`; of queries of a value only where its name is
  /// among `queriedValues`, in any case (nil: of all). Throws `altitudeCollision` when the altitude is taken.
  package func register(
    _ callback: any RegistryCallback, altitude: Altitude, interests: UInt64, queriedValues: [UnicodeName]? = nil
  ) throws(NTStatus) -> CallbackCookie {
    try state.withLock { state throws(NTStatus) in
      guard !state.registrations.contains(where: { $0.altitude == altitude }) else { throw .altitudeCollision }
      let cookie = CallbackCookie(rawValue: state.nextCookie)
      state.nextCookie += 1
      let place = state.registrations.firstIndex { $0.altitude < altitude } ?? state.registrations.endIndex
      state.registrations.insert(
        CallbackRegistration(
          cookie: cookie, altitude: altitude, callback: callback, interests: interests, queriedValues: queriedValues),
        at: place)
      refreshMask(state)
      return cookie
    }
  }

  /// Changes what a callback is told of; the names of queried values as well, where they are given. Throws `invalidParameter` for an
  /// unknown cookie.
  package func setInterests(
    _ interests: UInt64, of cookie: CallbackCookie, queriedValues: [UnicodeName]? = nil
  ) throws(NTStatus) {
    try state.withLock { state throws(NTStatus) in
      guard let registration = state.registrations.first(where: { $0.cookie == cookie }) else {
        throw .invalidParameter
      }
      if let queriedValues { registration.setQueriedValues(queriedValues) }
      registration.interests.store(interests, ordering: .releasing)
      refreshMask(state)
    }
  }

  /// Takes a callback out, waits for its calls in flight, and gives back its object contexts. Throws `invalidParameter` for an
  /// unknown cookie.
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
    for (object, context) in gone.takeContexts() { gone.cleanUp(context, of: object) }
  }

  /// Hangs a callback's context on a key object, nil for none; the one that was there (CmSetCallbackObjectContext). Throws
  /// `invalidParameter` for an unknown cookie.
  @discardableResult
  package func setObjectContext(
    _ context: (any CallContext)?, of object: KeyObject, cookie: CallbackCookie
  ) throws(NTStatus) -> (any CallContext)? {
    guard let registration = state.withLock({ $0.registrations.first { $0.cookie == cookie } }) else {
      throw .invalidParameter
    }
    return registration.setContext(context, of: object)
  }

  /// The key object is closed: its contexts are given back.
  func forget(_ object: KeyObject) {
    for registration in state.withLock({ $0.registrations }) {
      guard let context = registration.takeContext(of: object), registration.rundown.acquire() else { continue }
      registration.cleanUp(context, of: object)
      registration.rundown.release()
    }
  }

  /// Whether anybody asked for one of the two classes.
  package func isWatched(_ pre: NotifyClass, _ post: NotifyClass) -> Bool {
    mask.load(ordering: .acquiring) & (pre.bit | post.bit) != 0
  }

  /// Whether anybody judges or watches the reading of values of this name.
  package func isQueryWatched(of valueName: UnicodeName) -> Bool {
    let classes = NotifyClass.preQueryValueKey.bit | NotifyClass.postQueryValueKey.bit
    guard mask.load(ordering: .acquiring) & classes != 0 else { return false }
    return state.withLock { state in
      state.registrations.contains {
        $0.interests.load(ordering: .acquiring) & classes != 0 && $0.asksFor(valueName)
      }
    }
  }

  /// The pre phase. Throws the status of the callback that refused, after the post of those above it.
  package func admit(
    _ operation: RegistryOperation, by caller: Caller, registry: any RegistryQueries
  ) throws(NTStatus) -> Admission {
    let (pre, post) = operation.classes
    var admission = Admission(operation: operation, caller: caller, registry: registry)
    guard isWatched(pre, post) else { return admission }
    for registration in registrations(below: caller.below) {
      let interests = registration.interests.load(ordering: .acquiring)
      guard interests & (pre.bit | post.bit) != 0 else { continue }
      if case .queryValueKey(_, let name) = operation, !registration.asksFor(name) { continue }
      guard registration.rundown.acquire() else { continue }
      var context: (any CallContext)?
      if interests & pre.bit != 0 {
        var call = RegistryCall(
          caller: caller.below(registration.cookie), registry: registry,
          objectContext: registration.context(of: operation.key?.object))
        let status = registration.callback.preOperation(operation, &call)
        guard status.isSuccess else {
          registration.rundown.release()
          if status == .callbackBypass {
            admission.isBypassed = true
            return admission
          }
          let outcome = admission.complete(status)
          // A post above that turns the refusal into success has done the work itself.
          guard outcome.isSuccess else { throw outcome }
          admission.isBypassed = true
          return admission
        }
        context = call.callContext
      }
      admission.passed.append((registration, context))
    }
    return admission
  }

  /// All, or those that are below a callback which makes operations of its own; all as well when that one is just being taken out.
  private func registrations(below cookie: CallbackCookie?) -> ArraySlice<CallbackRegistration> {
    let all = state.withLock { $0.registrations }
    guard let cookie, let place = all.firstIndex(where: { $0.cookie == cookie }) else { return all[...] }
    return all[(place + 1)...]
  }

  private func refreshMask(_ state: borrowing State) {
    mask.store(
      state.registrations.reduce(0) { $0 | $1.interests.load(ordering: .acquiring) }, ordering: .releasing)
  }
}
