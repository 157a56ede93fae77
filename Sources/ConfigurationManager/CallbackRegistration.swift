internal import Executive
internal import Synchronization

/// One registered callback.
final class CallbackRegistration: Sendable {
  let cookie: CallbackCookie
  let altitude: Altitude
  let callback: any RegistryCallback
  /// The classes it asked for, by `NotifyClass.bit`.
  let interests: Atomic<UInt64>
  let rundown = RundownReference()
  /// Names of values whose queries it asked for; nil: of all.
  private let queriedValues: Mutex<[UnicodeName]?>
  /// Its contexts by the id of their key object.
  private let contexts = Mutex<[UInt64: (object: KeyObject, context: any CallContext)]>([:])

  init(
    cookie: CallbackCookie, altitude: Altitude, callback: any RegistryCallback, interests: UInt64,
    queriedValues: [UnicodeName]?
  ) {
    self.cookie = cookie
    self.altitude = altitude
    self.callback = callback
    self.interests = Atomic(interests)
    self.queriedValues = Mutex(queriedValues)
  }

  func asksFor(_ valueName: UnicodeName) -> Bool {
    queriedValues.withLock { $0 }.map { $0.contains { $0.equalsIgnoringCase(valueName) } } ?? true
  }

  func setQueriedValues(_ names: [UnicodeName]) { queriedValues.withLock { $0 = names } }

  func context(of object: KeyObject?) -> (any CallContext)? {
    guard let object else { return nil }
    return contexts.withLock { $0[object.id]?.context }
  }

  /// The context that was there.
  func setContext(_ context: (any CallContext)?, of object: KeyObject) -> (any CallContext)? {
    contexts.withLock { contexts in
      let old = contexts[object.id]?.context
      contexts[object.id] = context.map { (object, $0) }
      return old
    }
  }

  func takeContext(of object: KeyObject) -> (any CallContext)? {
    contexts.withLock { $0.removeValue(forKey: object.id)?.context }
  }

  func takeContexts() -> [(object: KeyObject, context: any CallContext)] {
    contexts.withLock { contexts in
      defer { contexts = [:] }
      return Array(contexts.values)
    }
  }

  /// The call of the cleanup class.
  func cleanUp(_ context: any CallContext, of object: KeyObject) {
    var call = RegistryCall(
      caller: Caller.unknown.below(cookie), registry: NoQueries.shared, objectContext: context)
    _ = callback.preOperation(
      .contextCleanup(key: KeyReference(id: object.key.id, completeName: object.openedName, object: object)), &call)
  }
}

/// The registry as a cleanup sees it: the key may be gone, so there is nothing to ask.
private final class NoQueries: RegistryQueries {
  static let shared = NoQueries()
  func queryValue(of key: KeyReference, named valueName: UnicodeName) -> RegistryValue? { nil }
}
