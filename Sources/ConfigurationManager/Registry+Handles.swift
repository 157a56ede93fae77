package import Executive

extension Registry {
  /// KEY_READ.
  package static let readAccess: UInt32 = 0x20019

  /// Opens a key (NtOpenKeyEx); given back with `closeKey`. It grants what is asked for: rights are the callbacks' affair.
  package func openKey(
    _ key: KeyControlBlock, desiredAccess: UInt32 = readAccess, by caller: Caller
  ) throws(NTStatus) -> KeyObject {
    let name = try completeName(of: key)
    var admission = try callbacks.admit(
      .openKey(key: KeyReference(id: key.id, completeName: name), desiredAccess: desiredAccess), by: caller, registry: self)
    retain(key)
    let object = KeyObject(id: takeID(), key: key, openedName: name, grantedAccess: desiredAccess)
    admission.result = KeyReference(id: key.id, completeName: name, object: object)
    let outcome = admission.complete(.success)
    guard outcome.isSuccess else {
      callbacks.forget(object)
      close(key)
      throw outcome
    }
    return object
  }

  /// Closes a key object (NtClose): its callbacks are told, and get their contexts back. Nobody can refuse it.
  package func closeKey(_ object: KeyObject, by caller: Caller) {
    let name = (try? completeName(of: object.key)) ?? object.openedName
    let reference = KeyReference(id: object.key.id, completeName: name, object: object)
    if var admission = try? callbacks.admit(.keyHandleClose(key: reference), by: caller, registry: self) {
      _ = admission.complete(.success)
    }
    callbacks.forget(object)
    close(object.key)
  }

  /// Asks a question, dispatched when somebody asked for its class. A callback that bypasses keeps those below it out; the registry
  /// answers all the same.
  func ask<Answer>(
    _ pre: NotifyClass, _ post: NotifyClass, of key: KeyControlBlock, by caller: Caller, through object: KeyObject?,
    _ operation: (KeyReference) -> RegistryOperation, _ body: () throws(NTStatus) -> Answer
  ) throws(NTStatus) -> Answer {
    guard callbacks.isWatched(pre, post) else { return try body() }
    let reference = KeyReference(id: key.id, completeName: try completeName(of: key), object: object)
    var admission = try callbacks.admit(operation(reference), by: caller, registry: self)
    let answer: Answer
    do throws(NTStatus) { answer = try body() } catch {
      let outcome = admission.complete(error)
      // There is nothing to answer with, so a failure cannot become a success.
      throw outcome.isSuccess ? error : outcome
    }
    let outcome = admission.complete(.success)
    guard outcome.isSuccess else { throw outcome }
    return answer
  }

  /// A key as it is (NtQueryKey).
  package func query(
    _ key: KeyControlBlock, by caller: Caller, through object: KeyObject? = nil
  ) throws(NTStatus) -> KeyInformation {
    try ask(.preQueryKey, .postQueryKey, of: key, by: caller, through: object, { .queryKey(key: $0) }) {
      () throws(NTStatus) in try query(key)
    }
  }

  /// Whether `caller` may read the value, and all who want to know are told (NtQueryValueKey); `body` reads it.
  package func queryValue<Answer>(
    of key: KeyControlBlock, named name: UnicodeName, by caller: Caller, through object: KeyObject? = nil,
    _ body: () throws(NTStatus) -> Answer
  ) throws(NTStatus) -> Answer {
    try ask(
      .preQueryValueKey, .postQueryValueKey, of: key, by: caller, through: object,
      { .queryValueKey(key: $0, valueName: name) }, body)
  }

  /// The self-relative security descriptor of a key, nil when it has no usable one (NtQuerySecurityObject).
  package func querySecurity(
    of key: KeyControlBlock, by caller: Caller, through object: KeyObject? = nil
  ) throws(NTStatus) -> [UInt8]? {
    try ask(
      .preQueryKeySecurity, .postQueryKeySecurity, of: key, by: caller, through: object,
      { .queryKeySecurity(key: $0, securityInformation: SecurityInformation.all) }
    ) { () throws(NTStatus) in try querySecurity(of: key) }
  }

  /// The subkeys (NtEnumerateKey) and values (NtEnumerateValueKey) of one moment, in the hive's order; one that a callback refuses
  /// is left out. What of the hive was left out, as offsets in its file.
  package func enumerate(
    _ key: KeyControlBlock, by caller: Caller, through object: KeyObject? = nil,
    keys body: (UnicodeName, _ identity: UInt64, _ isLink: Bool) -> Void,
    values valueBody: (ValueInformation) -> Void
  ) throws(NTStatus) -> (keys: Set<Int>, values: Set<Int>) {
    guard
      callbacks.isWatched(.preEnumerateKey, .postEnumerateKey) || callbacks.isWatched(.preEnumerateValueKey, .postEnumerateValueKey)
    else { return try enumerate(key, keys: body, values: valueBody) }
    // Listed first: no lock is held while a callback runs.
    var names: [(UnicodeName, UInt64, Bool)] = []
    var found: [ValueInformation] = []
    let lost = try enumerate(key, keys: { names.append(($0, $1, $2)) }, values: { found.append($0) })
    for (index, (name, identity, isLink)) in names.enumerated() {
      // Refused is not shown.
      try? ask(
        .preEnumerateKey, .postEnumerateKey, of: key, by: caller, through: object,
        { .enumerateKey(key: $0, index: index, name: name) }
      ) { () throws(NTStatus) in body(name, identity, isLink) }
    }
    for (index, value) in found.enumerated() {
      try? ask(
        .preEnumerateValueKey, .postEnumerateValueKey, of: key, by: caller, through: object,
        { .enumerateValueKey(key: $0, index: index, valueName: value.name) }
      ) { () throws(NTStatus) in valueBody(value) }
    }
    return lost
  }
}

/// Parts of a security descriptor (SECURITY_INFORMATION).
package enum SecurityInformation {
  package static let owner: UInt32 = 1
  package static let group: UInt32 = 2
  package static let dacl: UInt32 = 4
  package static let sacl: UInt32 = 8
  package static let all = owner | group | dacl | sacl
}
