import ConfigurationManager
import Executive
import Foundation
import HiveStorage
import Synchronization
import Testing

/// A folder of its own for one test, gone afterwards.
final class Folder {
  let path: String
  init() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    path = folder.path
  }
  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// A new hive file with one key `Key` that has a value `v`.
  func hive(_ name: String, value: UInt8 = 1) throws -> String {
    let file = path + "/" + name
    let device = try FileDevice(path: file, mode: .new)
    try Hive.format(device: device, minorVersion: 5)
    var hive = try Hive(device: device, access: .readWrite)
    let cell = try hive.createKey(under: hive.rootKey, named: UnicodeName("Key").units.span, time: .now())
    _ = try hive.setValue(
      of: cell, named: UnicodeName("v").units.span, type: .dword, data: [value, 0, 0, 0], time: .now())
    try hive.commit()
    return file
  }
}

@Suite struct SeveralHivesTests {
  let folder: Folder
  let stack = CallbackStack()
  let registry: Registry

  init() throws {
    folder = try Folder()
    registry = try Registry(callbacks: stack, isReadOnly: false)
    let file = try folder.hive("system")
    try registry.attach(try Hive(HiveFile(path: file, access: .readWrite)), from: file, at: place("SYSTEM"))
  }

  private func place(_ name: UnicodeName, in root: UnicodeName = "HKLM") throws -> HivePlace {
    try #require(HivePlace([root, name]))
  }

  private func key(_ path: String) throws -> KeyControlBlock {
    var key = registry.root
    for component in path.split(separator: "/") {
      key = try #require(
        try registry.lookUp(UnicodeName(component), in: key, among: .keys) { object -> KeyControlBlock? in
          if case .key(let key, _) = object { key } else { nil }
        })
    }
    return key
  }

  private func value(_ path: String) throws -> UInt8 {
    try registry.queryValue(of: key(path), named: "v").data[0]
  }

  @Test func placesHaveTheRegistrysNamesAndDirectoriesTheUsers() throws {
    #expect(try registry.completeName(of: key("HKLM/SYSTEM/Key")) == #"\REGISTRY\MACHINE\SYSTEM\Key"#)
    #expect(registry.completeName(ofPath: ["hku", "S-1"]) == #"\REGISTRY\USER\S-1"#)
    #expect(registry.path(ofCompleteName: #"\Registry\Machine\System\Key"#) == ["HKLM", "System", "Key"])
    #expect(registry.path(ofCompleteName: #"\REGISTRY\A\x"#) == nil)
    #expect(try registry.depth(of: key("HKLM/SYSTEM/Key")) == 3)
  }

  @Test(arguments: [["HKLM"], ["HKLM", "a", "b"], ["HKCR", "a"], ["HKLM", ""], ["HKLM", #"a\b"#]])
  func onlyOneNameBelowARootIsAPlace(components: [String]) {
    #expect(HivePlace(components.map { UnicodeName($0) }) == nil)
  }

  @Test func nothingIsMadeOrChangedInTheNamespace() throws {
    let machine = try key("HKLM")
    #expect(throws: NTStatus.invalidParameter) { _ = try make("New", in: machine, registry) }
    #expect(throws: NTStatus.invalidParameter) { try registry.renameKey(machine, to: "X", by: somebody) }
    #expect(throws: NTStatus.invalidParameter) {
      try registry.setValue(of: registry.root, named: "v", to: RegistryValue(type: .sz, data: []), by: somebody)
    }
    #expect(throws: NTStatus.cannotDelete) { try registry.deleteKey(key("HKLM/SYSTEM"), by: somebody) }
  }

  @Test func aDamagedHiveIsNotLoaded() throws {
    let file = try folder.hive("damaged")
    // The size of the root's cell.
    try Data([0, 0, 0, 0]).withUnsafeBytes { bytes in
      try FileDevice(path: file, mode: .writing).write(bytes, at: 4096 + 32)
    }
    #expect(throws: NTStatus.registryCorrupt) {
      try registry.loadKey(at: place("S-1", in: "HKU"), file: file, by: somebody)
    }
  }

  @Test func keysOfTwoHivesAreTwoObjectsWhateverTheirCells() throws {
    let file = try folder.hive("user", value: 7)
    try registry.loadKey(at: place("S-1", in: "HKU"), file: file, by: somebody)
    #expect(try value("HKLM/SYSTEM/Key") == 1)
    #expect(try value("HKU/S-1/Key") == 7)
    let (first, second) = (try registry.query(key("HKLM/SYSTEM/Key")), try registry.query(key("HKU/S-1/Key")))
    #expect(first.identity != second.identity)
    #expect(throws: NTStatus.notSameDevice) {
      try registry.moveValue(
        of: key("HKLM/SYSTEM/Key"), named: "v", to: key("HKU/S-1/Key"), named: "w",
        as: RegistryValue(type: .sz, data: []), by: somebody)
    }
  }

  @Test func loadingIsJudgedAndARefusedHiveIsNotThere() throws {
    let file = try folder.hive("user")
    let callback = RecordingCallback(answer: { operation in
      if case .loadKey(let name, let source, _) = operation {
        return name == #"\REGISTRY\USER\S-1"# && source == file ? .accessDenied : .success
      }
      return .success
    })
    _ = try stack.register(callback, altitude: try #require(Altitude("1")), interests: NotifyClass.preLoadKey.bit)
    #expect(throws: NTStatus.accessDenied) { try registry.loadKey(at: place("S-1", in: "HKU"), file: file, by: somebody) }
    #expect(throws: NTStatus.objectNameNotFound) { try key("HKU/S-1") }
    try registry.loadKey(at: place("S-2", in: "HKU"), file: file, by: somebody)
    #expect(try value("HKU/S-2/Key") == 1)
  }

  @Test func aFileIsLoadedOnceAndAPlaceHasOneHive() throws {
    #expect(throws: NTStatus.sharingViolation) {
      try registry.loadKey(at: place("Again"), file: folder.path + "/system", by: somebody)
    }
    let other = try folder.hive("other")
    #expect(throws: NTStatus.objectNameCollision) { try registry.loadKey(at: place("system"), file: other, by: somebody) }
    // Nor is it a source for anything: closing it would end the lock of the loaded hive.
    #expect(throws: NTStatus.sharingViolation) {
      try registry.restoreKey(key("HKLM/SYSTEM/Key"), from: folder.path + "/system", by: somebody)
    }
  }

  @Test func anUnloadedHiveIsOnTheDiskAndItsKeysAreGone() throws {
    let file = try folder.hive("user")
    try registry.loadKey(at: place("S-1", in: "HKU"), file: file, by: somebody)
    let held = try key("HKU/S-1/Key")
    try registry.setValue(of: held, named: "v", to: RegistryValue(type: .dword, data: [9, 0, 0, 0]), by: somebody)
    let callback = RecordingCallback()
    let cookie = try stack.register(callback, altitude: try #require(Altitude("1")), interests: everything)
    try registry.unloadKey(key("HKU/S-1"), by: somebody)
    #expect(callback.all.map(\.notifyClass) == [.preUnLoadKey, .postUnLoadKey])
    try stack.unregister(cookie)
    #expect(throws: NTStatus.keyDeleted) { _ = try registry.query(held) }
    #expect(throws: NTStatus.objectNameNotFound) { try key("HKU/S-1") }
    let hive = try Hive(HiveFile(path: file, access: .readWrite))
    let cell = try #require(try hive.findSubkey(of: hive.rootKey, named: UnicodeName("Key").units.span))
    let found = try #require(try hive.findValue(of: cell, named: UnicodeName("v").units.span))
    #expect(try hive.data(ofValue: found)[0] == 9)
  }

  @Test func whatIsLoadedAgainHasOtherNumbersThanWhatWasUnloaded() throws {
    let file = try folder.hive("user")
    var seen: Set<UInt64> = []
    for _ in 0..<3 {
      try registry.loadKey(at: place("S-1", in: "HKU"), file: file, by: somebody)
      #expect(try seen.insert(registry.query(key("HKU/S-1/Key")).identity).inserted)
      try registry.unloadKey(key("HKU/S-1"), by: somebody)
    }
  }

  /// SEMANTICS 5.16: what is unloaded is on the disk, so a sync that comes too late has nothing to do and fails of nothing.
  @Test func aSyncThatMeetsAnUnloadIsNoFailure() throws {
    let file = try folder.hive("user")
    let failures = Mutex<[String]>([])
    registry.whenHiveStops { hive, failure in failures.withLock { $0.append("\(hive) stops: \(failure)") } }
    for _ in 0..<60 {
      try registry.loadKey(at: place("S-1", in: "HKU"), file: file, by: somebody)
      let held = try key("HKU/S-1/Key")
      let isUnloaded = Atomic(false)
      let written = KernelEvent()
      let threads = (0..<3).compactMap { number in
        SystemThread(name: "syncs") { [registry] in
          while !isUnloaded.load(ordering: .relaxed) {
            // After the unload the key is a deleted one.
            try? registry.setValue(
              of: held, named: "w", to: RegistryValue(type: .dword, data: [UInt8(number), 0, 0, 0]), by: somebody)
            written.signal()
            do throws(NTStatus) { try registry.flushKey(held, by: somebody) } catch {
              failures.withLock { $0.append("\(error)") }
            }
          }
        }
      }
      written.wait()
      try registry.unloadKey(key("HKU/S-1"), by: somebody)
      isUnloaded.store(true, ordering: .relaxed)
      for thread in threads { thread.join() }
    }
    #expect(failures.withLock { $0 } == [])
  }

  @Test func aRefusedUnloadLeavesTheHive() throws {
    let callback = RecordingCallback(answer: { if case .unloadKey = $0 { .accessDenied } else { .success } })
    _ = try stack.register(callback, altitude: try #require(Altitude("1")), interests: everything)
    #expect(throws: NTStatus.accessDenied) { try registry.unloadKey(key("HKLM/SYSTEM"), by: somebody) }
    #expect(try value("HKLM/SYSTEM/Key") == 1)
    #expect(throws: NTStatus.invalidParameter) { try registry.unloadKey(key("HKLM/SYSTEM/Key"), by: somebody) }
  }

  /// SEMANTICS 1.4: else a restore in between would be half listed.
  @Test func subkeysAndValuesAreListedAsTheyAreAtOneMoment() throws {
    let parent = try key("HKLM/SYSTEM")
    for number in 0..<200 {
      let late = UnicodeName("late\(number)")
      let isBegun = KernelEvent()
      var writer: SystemThread?
      var isListed = false
      _ = try registry.enumerate(
        parent, by: somebody,
        keys: { [registry] _, _, _ in
          // Somebody who sets a value as soon as he is let.
          writer = SystemThread(name: "late") {
            isBegun.signal()
            try? registry.setValue(of: parent, named: late, to: RegistryValue(type: .sz, data: []), by: somebody)
          }
          isBegun.wait()
          for _ in 0..<100 { sched_yield() }
        },
        values: { isListed = isListed || $0.name == late })
      writer?.join()
      #expect(try !isListed && registry.exists(late, in: parent, among: .values))
    }
  }

  @Test func saveAndRestoreAreOneChangeEach() throws {
    let saved = folder.path + "/saved"
    let source = try key("HKLM/SYSTEM/Key")
    try registry.saveKey(source, to: saved, by: somebody)
    #expect(throws: NTStatus.objectNameCollision) { try registry.saveKey(source, to: saved, by: somebody) }
    let target = try make("Target", in: key("HKLM/SYSTEM"), registry)
    let below = try make("Below", in: target, registry)
    var isToldUnderTheLock = false
    try registry.restoreKey(target, from: saved, by: somebody) { isToldUnderTheLock = true }
    #expect(isToldUnderTheLock)
    #expect(try registry.queryValue(of: target, named: "v").data == [1, 0, 0, 0])
    #expect(throws: NTStatus.keyDeleted) { _ = try registry.query(below) }
    #expect(throws: NTStatus.invalidParameter) { try registry.restoreKey(target, from: saved, flags: 2, by: somebody) }
  }

  @Test func replaceIsJudgedAtTheRootAndKeepsTheOldHive() throws {
    let new = try folder.hive("new", value: 5)
    let old = folder.path + "/old"
    let callback = RecordingCallback()
    _ = try stack.register(callback, altitude: try #require(Altitude("1")), interests: NotifyClass.preReplaceKey.bit)
    try registry.replaceKey(key("HKLM/SYSTEM/Key"), by: new, savingTo: old, by: somebody)
    #expect(callback.all.map(\.name) == [#"\REGISTRY\MACHINE\SYSTEM"#])
    #expect(try value("HKLM/SYSTEM/Key") == 5)
    try registry.restoreKey(key("HKLM/SYSTEM/Key"), from: old, by: somebody)
    #expect(try value("HKLM/SYSTEM/Key/Key") == 1)
    #expect(throws: NTStatus.objectNameCollision) {
      try registry.replaceKey(key("HKLM/SYSTEM"), by: new, savingTo: old, by: somebody)
    }
  }

  @Test func refusedRestoreReplaceAndSaveChangeNothingAndLeaveNoFile() throws {
    let source = try folder.hive("source", value: 5)
    let callback = RecordingCallback(answer: { operation in
      switch operation {
      case .restoreKey, .replaceKey, .saveKey, .setKeySecurity: .accessDenied
      default: .success
      }
    })
    _ = try stack.register(callback, altitude: try #require(Altitude("1")), interests: everything)
    let target = try key("HKLM/SYSTEM")
    let file = folder.path + "/file"
    #expect(throws: NTStatus.accessDenied) { try registry.restoreKey(target, from: source, by: somebody) }
    #expect(throws: NTStatus.accessDenied) { try registry.replaceKey(target, by: source, savingTo: file, by: somebody) }
    #expect(throws: NTStatus.accessDenied) { try registry.saveKey(target, to: file, by: somebody) }
    let descriptor = try #require(try registry.querySecurity(of: target))
    #expect(throws: NTStatus.accessDenied) { try registry.setKeySecurity(of: target, to: descriptor, by: somebody) }
    #expect(try value("HKLM/SYSTEM/Key") == 1)
    #expect(!FileManager.default.fileExists(atPath: file))
  }

  @Test func aLinkIsACreateAndASetAndARefusedSetTakesItBack() throws {
    let parent = try key("HKLM/SYSTEM")
    let target: UnicodeName = #"\REGISTRY\MACHINE\SYSTEM\Key"#
    let callback = RecordingCallback(answer: { operation in
      if case .setValueKey(let key, _, _) = operation, key.completeName.description.hasSuffix("Bad") { .accessDenied } else { .success }
    })
    _ = try stack.register(
      callback, altitude: try #require(Altitude("1")),
      interests: NotifyClass.preCreateKeyEx.bit | NotifyClass.preSetValueKey.bit)
    try registry.setLink(named: "Link", in: parent, to: target, by: somebody)
    #expect(try registry.queryLinkTarget(of: key("HKLM/SYSTEM/Link")) == target)
    #expect(callback.all.map(\.notifyClass) == [.preCreateKeyEx, .preSetValueKey])
    #expect(throws: NTStatus.accessDenied) { try registry.setLink(named: "Bad", in: parent, to: target, by: somebody) }
    #expect(throws: NTStatus.objectNameNotFound) { try key("HKLM/SYSTEM/Bad") }
    #expect(throws: NTStatus.objectNameCollision) { try registry.setLink(named: "Key", in: parent, to: target, by: somebody) }
    #expect(throws: NTStatus.objectNameInvalid) { try registry.setLink(named: "L2", in: parent, to: "relative", by: somebody) }
    try registry.setLink(named: "Link", in: parent, to: #"\REGISTRY\USER"#, by: somebody)
    #expect(try registry.queryLinkTarget(of: key("HKLM/SYSTEM/Link")) == #"\REGISTRY\USER"#)
    try registry.deleteKey(key("HKLM/SYSTEM/Link"), by: somebody)
    #expect(throws: NTStatus.objectNameNotFound) { try key("HKLM/SYSTEM/Link") }
  }

  @Test func whatCannotBeCommittedIsSavedBesideTheHive() throws {
    #expect(registry.saveUncommitted() == [])
    try registry.setValue(
      of: key("HKLM/SYSTEM/Key"), named: "v", to: RegistryValue(type: .dword, data: [8, 0, 0, 0]), by: somebody)
    // Somebody else writes to the file.
    let file = folder.path + "/system"
    var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: file)))
    bytes[4096 + 200] ^= 1
    try Data(bytes).write(to: URL(fileURLWithPath: file))
    #expect(throws: HiveError.self) { try registry.commit() }
    #expect([UInt8](try Data(contentsOf: URL(fileURLWithPath: file))) == bytes)
    #expect(registry.saveUncommitted() == [file + ".unsaved"])
    #expect(registry.saveUncommitted() == [file + ".unsaved1"])
    let saved = try Hive(HiveFile(path: file + ".unsaved", access: .readOnly))
    let cell = try #require(try saved.findSubkey(of: saved.rootKey, named: UnicodeName("Key").units.span))
    let found = try #require(try saved.findValue(of: cell, named: UnicodeName("v").units.span))
    #expect(try saved.data(ofValue: found)[0] == 8)
    // Nothing is changed any more.
    #expect(throws: NTStatus.mediaWriteProtected) {
      try registry.setValue(
        of: key("HKLM/SYSTEM/Key"), named: "v", to: RegistryValue(type: .dword, data: [9, 0, 0, 0]), by: somebody)
    }
    #expect(registry.hiveStates.map { $0.failure != nil } == [true])
  }

  @Test func securityIsSet() throws {
    let target = try key("HKLM/SYSTEM/Key")
    // Owner and group are the system, no lists.
    let sid: [UInt8] = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0]
    let descriptor: [UInt8] = [1, 0, 0, 0x80, 20, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] + sid + sid
    try registry.setKeySecurity(of: target, to: descriptor, by: somebody)
    #expect(try registry.querySecurity(of: target) == descriptor)
    #expect(throws: NTStatus.invalidParameter) { try registry.setKeySecurity(of: target, to: [1, 2, 3], by: somebody) }
  }
}
