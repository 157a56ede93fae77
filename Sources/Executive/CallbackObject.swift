internal import Glibc
internal import Synchronization

/// Something by which one part tells others what happened, without knowing them (executive callback object, wdfilter.md 6.1).
///
/// 1. Those registered are called in the order of their registration, each with the same two arguments
///    (ExNotifyCallback). They answer nothing and can veto nothing.
/// 2. A notification calls those who were registered when it began: who registers during it is first called by the next.
/// 3. After `unregister` has returned the callback does not run and is not called again: it waits for the calls in flight
///    (ExUnregisterCallback). From inside a notification, of this object or of another, it does not wait, because two callbacks
///    that took each other away would wait for each other for ever: nothing new is called then, and calls that
///    were in flight come to their end by themselves.
/// 4. No lock is held during a call: a callback may register, unregister and notify.
package final class CallbackObject<Argument: Sendable>: Sendable {
  package typealias Callback = @Sendable (_ first: UInt, _ second: Argument?) -> Void

  /// One callback's place in the list; what `unregister` takes.
  package final class Registration: Sendable {
    fileprivate let callback: Callback
    fileprivate let inFlight = RundownReference()
    fileprivate let isClosed = Atomic<Bool>(false)

    fileprivate init(_ callback: @escaping Callback) { self.callback = callback }

    fileprivate func call(_ first: UInt, _ second: Argument?) {
      guard inFlight.acquire() else { return }
      defer { inFlight.release() }
      if !isClosed.load(ordering: .acquiring) { callback(first, second) }
    }
  }

  package let name: String
  /// False: one registration at a time.
  package let allowsSeveral: Bool
  private let registrations = Mutex<[Registration]>([])
  private let count = Atomic<Int>(0)

  package init(name: String, allowsSeveral: Bool) {
    self.name = name
    self.allowsSeveral = allowsSeveral
  }

  /// Somebody would be told (one load, no lock).
  package var hasRegistrations: Bool { count.load(ordering: .acquiring) > 0 }

  /// Nil when the object takes one registration and has it (ExRegisterCallback).
  package func register(_ callback: @escaping Callback) -> Registration? {
    registrations.withLock { registrations in
      guard allowsSeveral || registrations.isEmpty else { return nil }
      let registration = Registration(callback)
      registrations.append(registration)
      count.store(registrations.count, ordering: .releasing)
      return registration
    }
  }

  /// The second time for one registration, and for one of another object, it does nothing.
  package func unregister(_ registration: Registration) {
    let found = registrations.withLock { registrations in
      guard let index = registrations.firstIndex(where: { $0 === registration }) else { return false }
      registrations.remove(at: index)
      count.store(registrations.count, ordering: .releasing)
      return true
    }
    guard found else { return }
    registration.isClosed.store(true, ordering: .releasing)
    if NotificationDepth.isInside { return }
    registration.inFlight.waitForRelease()
  }

  package func notify(_ first: UInt, _ second: Argument?) {
    guard hasRegistrations else { return }
    let registered = registrations.withLock { $0 }
    NotificationDepth.enter()
    defer { NotificationDepth.leave() }
    for registration in registered { registration.call(first, second) }
  }
}

/// How many notifications the calling thread is inside of.
private enum NotificationDepth {
  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    let failure = pthread_key_create(&key, nil)
    precondition(failure == 0, "pthread_key_create failed with \(failure)")
    return key
  }()

  /// The pointer is a number: nothing lies behind it.
  private static var depth: Int {
    get { Int(bitPattern: pthread_getspecific(key)) }
    set { pthread_setspecific(key, UnsafeRawPointer(bitPattern: newValue)) }
  }

  static var isInside: Bool { depth > 0 }
  static func enter() { depth += 1 }
  static func leave() { depth -= 1 }
}

/// The names of callback objects (the object manager's \Callback directory).
///
/// An object that was made stays under its name: whoever comes later finds the same one, whatever became of its maker.
package final class CallbackDirectory<Argument: Sendable>: Sendable {
  private let objects = Mutex<[String: CallbackObject<Argument>]>([:])

  package init() {}

  /// The object of that name; one that is not there is made when `create` is set, else objectNameNotFound
  /// (ExCreateCallback). `allowsSeveral` says nothing about an object that is there already.
  package func open(
    _ name: String, create: Bool, allowsSeveral: Bool = true
  ) throws(NTStatus) -> CallbackObject<Argument> {
    guard !name.isEmpty else { throw .objectNameInvalid }
    let object = objects.withLock { objects -> CallbackObject<Argument>? in
      if let object = objects[name] { return object }
      guard create else { return nil }
      let object = CallbackObject<Argument>(name: name, allowsSeveral: allowsSeveral)
      objects[name] = object
      return object
    }
    guard let object else { throw .objectNameNotFound }
    return object
  }
}
