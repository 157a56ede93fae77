import ConfigurationManager
import Executive
import HiveStorage
import Synchronization
import Testing

@Suite struct RegistryTests {
  private let value = RegistryValue(type: .dword, data: [1, 0, 0, 0])

  @Test func everyChangeHasOnePreAndOnePost() throws {
    let stack = CallbackStack()
    let callback = RecordingCallback()
    _ = try stack.register(callback, altitude: try #require(Altitude("1")), interests: everything)
    let registry = try makeRegistry(stack)
    let key = try make("Key", in: registry.root, registry)
    try registry.setValue(of: key, named: "v", to: value, by: somebody)
    try registry.deleteValue(of: key, named: "V", by: somebody)
    try registry.setLastWriteTime(of: key, to: FileTime(rawValue: 7), by: somebody)
    try registry.renameKey(key, to: "Other", by: somebody)
    try registry.deleteKey(key, by: somebody)
    let root = #"\REGISTRY\MACHINE\TEST"#
    #expect(
      callback.all.map(\.notifyClass) == [
        .preCreateKeyEx, .postCreateKeyEx, .preSetValueKey, .postSetValueKey, .preDeleteValueKey, .postDeleteValueKey,
        .preSetInformationKey, .postSetInformationKey, .preRenameKey, .postRenameKey, .preDeleteKey, .postDeleteKey,
      ])
    #expect(callback.all.compactMap(\.status).allSatisfy { $0 == .success })
    #expect(callback.all.first?.name == root + #"\Key"#)
    #expect(callback.all.last?.name == root + #"\Other"#)
  }

  @Test(arguments: 0..<6)
  func aRefusedChangeLeavesTheOldState(which: Int) throws {
    let isArmed = Mutex(false)
    let stack = CallbackStack()
    let callback = RecordingCallback(answer: { _ in isArmed.withLock { $0 } ? .accessDenied : .success })
    _ = try stack.register(callback, altitude: try #require(Altitude("1")), interests: everything)
    let registry = try makeRegistry(stack)
    let key = try make("Key", in: registry.root, registry)
    let empty = try make("Empty", in: registry.root, registry)
    try registry.setValue(of: key, named: "v", to: value, by: somebody)
    isArmed.withLock { $0 = true }
    #expect(throws: NTStatus.accessDenied) {
      switch which {
      case 0: try registry.setValue(of: key, named: "v", to: RegistryValue(type: .sz, data: []), by: somebody)
      case 1: try registry.deleteValue(of: key, named: "v", by: somebody)
      case 2: try registry.deleteKey(empty, by: somebody)
      case 3: try registry.renameKey(key, to: "x", by: somebody)
      case 4: _ = try make("New", in: registry.root, registry)
      default:
        try registry.moveValue(of: key, named: "v", to: registry.root, named: "w", as: value, by: somebody)
      }
    }
    let now = try registry.queryValue(of: key, named: "v")
    #expect(now.data == value.data && now.information.type == .dword)
    #expect(try registry.completeName(of: key).description == #"\REGISTRY\MACHINE\TEST\Key"#)
    let root = try registry.query(registry.root)
    #expect(root.subkeyCount == 2 && root.valueCount == 0)
    #expect(callback.all.compactMap(\.status).allSatisfy { $0 == .success })
  }

  @Test func aThrownAwayAdmissionIsCancelled() throws {
    let stack = CallbackStack()
    let callback = RecordingCallback()
    _ = try stack.register(callback, altitude: try #require(Altitude("1")), interests: everything)
    let registry = try makeRegistry(stack)
    do { _ = try registry.admitSetValue(of: registry.root, named: "v", by: somebody) }
    #expect(callback.all.map(\.status) == [nil, .cancelled])
    #expect(try !registry.exists("v", in: registry.root, among: .values))
  }

  @Test func aHeldAdmissionSetsTheValueWithoutASecondPre() throws {
    let stack = CallbackStack()
    let callback = RecordingCallback()
    _ = try stack.register(callback, altitude: try #require(Altitude("1")), interests: everything)
    let registry = try makeRegistry(stack)
    let admission = try registry.admitSetValue(of: registry.root, named: "v", by: somebody)
    try registry.setValue(of: registry.root, named: "v", to: value, admitted: admission)
    #expect(callback.all.map(\.status) == [nil, .success])
    #expect(try registry.queryValue(of: registry.root, named: "v").data == value.data)
  }

  @Test func aHeldAdmissionForARenamedKeyIsJudgedAgain() throws {
    let stack = CallbackStack()
    let callback = RecordingCallback(answer: { operation in
      operation.completeName.description.hasSuffix("Protected") && operation.preClass == .preSetValueKey
        ? .accessDenied : .success
    })
    _ = try stack.register(callback, altitude: try #require(Altitude("1")), interests: everything)
    let registry = try makeRegistry(stack)
    let key = try make("Free", in: registry.root, registry)
    let admission = try registry.admitSetValue(of: key, named: "v", by: somebody)
    try registry.renameKey(key, to: "Protected", by: somebody)
    var refusal: NTStatus?
    do { try registry.setValue(of: key, named: "v", to: value, admitted: admission) } catch { refusal = error }
    #expect(refusal == .accessDenied)
    #expect(try !registry.exists("v", in: key, among: .values))
  }

  @Test func aKeyThatMovesWhileItIsJudgedIsJudgedAgainUnderItsNewName() throws {
    let stack = CallbackStack()
    let other = Mutex<(@Sendable () -> Void)?>(nil)
    let callback = RecordingCallback(
      answer: { $0.completeName.description.hasSuffix(#"Protected\Child"#) ? .accessDenied : .success },
      during: { operation in
        guard operation.preClass == .preSetValueKey else { return }
        other.withLock { action in
          let now = action
          action = nil
          return now
        }?()
      })
    _ = try stack.register(callback, altitude: try #require(Altitude("1")), interests: everything)
    let registry = try makeRegistry(stack)
    let parent = try make("Free", in: registry.root, registry)
    let child = try make("Child", in: parent, registry)
    other.withLock { $0 = { try? registry.renameKey(parent, to: "Protected", by: somebody) } }
    #expect(throws: NTStatus.accessDenied) { try registry.setValue(of: child, named: "v", to: value, by: somebody) }
    #expect(try !registry.exists("v", in: child, among: .values))
  }

  @Test func aRenameIsSeenByAllWhoHoldTheKeyOrOneBelow() throws {
    let registry = try makeRegistry()
    let a = try make("a", in: registry.root, registry)
    let b = try make("b", in: a, registry)
    let c = try make("c", in: b, registry)
    let neighbour = try make("ab", in: registry.root, registry)
    try registry.renameKey(a, to: "a much longer name than before, so that its node moves", by: somebody)
    let root = #"\REGISTRY\MACHINE\TEST\"#
    #expect(
      try registry.completeName(of: c).description
        == root + #"a much longer name than before, so that its node moves\b\c"#)
    #expect(try registry.completeName(of: neighbour).description == root + "ab")
    try registry.lookUp("A MUCH LONGER NAME THAN BEFORE, SO THAT ITS NODE MOVES", in: registry.root, among: .keys) {
      if case .key(let found, _) = $0 { #expect(found === a) } else { Issue.record("no key") }
    }
  }

  @Test func aDeletedKeyServesNobodyAndItsCellMayBeAnothers() throws {
    let registry = try makeRegistry()
    let gone = try make("gone", in: registry.root, registry)
    try registry.deleteKey(gone, by: somebody)
    let next = try make("gone", in: registry.root, registry)
    #expect(next !== gone)
    #expect(throws: NTStatus.keyDeleted) { try registry.query(gone) }
    #expect(throws: NTStatus.keyDeleted) { try registry.setValue(of: gone, named: "v", to: value, by: somebody) }
    registry.close(gone)
    #expect(try registry.query(next).name.description == "gone")
  }

  @Test func oneObjectPerKeyUntilTheLastHolderCloses() throws {
    let registry = try makeRegistry()
    let first = try make("k", in: registry.root, registry)
    func find() throws -> KeyControlBlock? {
      try registry.lookUp("K", in: registry.root, among: .keys) { if case .key(let key, _) = $0 { key } else { nil } }
    }
    let second = try #require(try find())
    #expect(second === first)
    registry.close(first)
    registry.close(second)
    let third = try #require(try find())
    #expect(third.id != first.id)
  }

  @Test func createOfAnExistingKeyIsNoCreate() throws {
    let stack = CallbackStack()
    let callback = RecordingCallback()
    _ = try stack.register(callback, altitude: try #require(Altitude("1")), interests: everything)
    let registry = try makeRegistry(stack)
    _ = try make("k", in: registry.root, registry)
    let before = callback.all.count
    #expect(throws: NTStatus.objectNameCollision) { try make("K", in: registry.root, registry) }
    #expect(callback.all.count == before)
  }

  @Test func aKeyWithSubkeysOrValuesIsNotDeleted() throws {
    let registry = try makeRegistry()
    let key = try make("k", in: registry.root, registry)
    try registry.setValue(of: key, named: "", to: value, by: somebody)
    #expect(throws: NTStatus.cannotDelete) { try registry.deleteKey(key, by: somebody) }
    try registry.deleteValue(of: key, named: "", by: somebody)
    _ = try make("below", in: key, registry)
    #expect(throws: NTStatus.cannotDelete) { try registry.deleteKey(key, by: somebody) }
  }

  @Test func theDeletionOfAKeyThatIsNotEmptyIsJudgedAllTheSame() throws {
    let stack = CallbackStack()
    let callback = RecordingCallback(answer: { $0.preClass == .preDeleteKey ? .accessDenied : .success })
    _ = try stack.register(callback, altitude: try #require(Altitude("1")), interests: everything)
    let registry = try makeRegistry(stack)
    let key = try make("k", in: registry.root, registry)
    _ = try make("below", in: key, registry)
    #expect(throws: NTStatus.accessDenied) { try registry.deleteKey(key, by: somebody) }
  }

  @Test func movingAValueSetsAndDeletesAsOne() throws {
    let stack = CallbackStack()
    let callback = RecordingCallback()
    _ = try stack.register(callback, altitude: try #require(Altitude("1")), interests: everything)
    let registry = try makeRegistry(stack)
    try registry.setValue(of: registry.root, named: "a", to: value, by: somebody)
    try registry.moveValue(of: registry.root, named: "A", to: registry.root, named: "b", as: value, by: somebody)
    #expect(try !registry.exists("a", in: registry.root, among: .values))
    #expect(try registry.queryValue(of: registry.root, named: "b").data == value.data)
    #expect(
      callback.all.suffix(4).map(\.notifyClass) == [
        .preDeleteValueKey, .preSetValueKey, .postSetValueKey, .postDeleteValueKey,
      ])
    try registry.moveValue(of: registry.root, named: "b", to: registry.root, named: "B", as: value, by: somebody)
    #expect(try registry.queryValue(of: registry.root, named: "b").information.name.description == "B")
  }

  @Test func aReadOnlyRegistryRefusesBeforeAnybodyIsAsked() throws {
    let stack = CallbackStack()
    let callback = RecordingCallback()
    _ = try stack.register(callback, altitude: try #require(Altitude("1")), interests: everything)
    let registry = try makeRegistry(stack, isReadOnly: true)
    #expect(throws: NTStatus.mediaWriteProtected) { try make("k", in: registry.root, registry) }
    #expect(callback.all.isEmpty)
  }

  @Test func writersInParallelLoseNothing() throws {
    let registry = try makeRegistry()
    let threads = (0..<4).compactMap { number in
      SystemThread(name: "writer") {
        for round in 0..<200 {
          let name = UnicodeName("t\(number)-\(round)")
          let bytes = [UInt8(number), UInt8(round)]
          try? registry.setValue(
            of: registry.root, named: name, to: RegistryValue(type: .binary, data: bytes), by: somebody)
        }
      }
    }
    threads.forEach { $0.join() }
    #expect(threads.count == 4)
    #expect(try registry.query(registry.root).valueCount == 800)
    for number in 0..<4 {
      let data = try registry.queryValue(of: registry.root, named: UnicodeName("t\(number)-199")).data
      #expect(data == [UInt8(number), 199])
    }
  }
}
