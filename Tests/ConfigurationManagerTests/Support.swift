import ConfigurationManager
import Executive
import HiveStorage
import Synchronization

/// Notes what it is told and answers with what it was given.
final class RecordingCallback: RegistryCallback {
  struct Call: Equatable {
    var notifyClass: NotifyClass
    var name: String
    var status: NTStatus?
  }

  private let calls = Mutex<[Call]>([])
  private let answer: @Sendable (RegistryOperation) -> NTStatus
  private let during: @Sendable (RegistryOperation) -> Void

  init(
    answer: @escaping @Sendable (RegistryOperation) -> NTStatus = { _ in .success },
    during: @escaping @Sendable (RegistryOperation) -> Void = { _ in }
  ) {
    self.answer = answer
    self.during = during
  }

  var all: [Call] { calls.withLock { $0 } }
  var pre: Int { all.count { $0.status == nil } }
  var post: Int { all.count { $0.status != nil } }

  func preOperation(
    _ operation: RegistryOperation, _ call: inout RegistryCall
  ) -> NTStatus {
    calls.withLock {
      $0.append(Call(notifyClass: operation.preClass, name: operation.completeName.description, status: nil))
    }
    during(operation)
    return answer(operation)
  }

  func postOperation(
    _ operation: RegistryOperation, status: NTStatus, _ call: inout RegistryCall
  ) -> NTStatus {
    calls.withLock {
      $0.append(Call(notifyClass: operation.postClass, name: operation.completeName.description, status: status))
    }
    return .success
  }
}

let everything = NotifyClass.allCases.reduce(UInt64(0)) { $0 | $1.bit }
let somebody = Caller(threadID: 42, userID: 0, groupID: 0)

func makeRegistry(_ callbacks: CallbackStack = CallbackStack(), isReadOnly: Bool = false) throws -> Registry {
  let device = MemoryDevice(name: "memory", [])
  try Hive.format(device: device, minorVersion: 5)
  let hive = try Hive(device: device, access: .readWrite, logs: LogPair(MemoryDevice(name: "LOG1"), MemoryDevice(name: "LOG2")))
  return Registry(
    hive: hive, completeName: #"\REGISTRY\MACHINE\TEST"#, callbacks: callbacks, isReadOnly: isReadOnly)
}

/// Makes a key and gives back the hold on it.
func make(_ name: UnicodeName, in parent: KeyControlBlock, _ registry: Registry) throws -> KeyControlBlock {
  var made: KeyControlBlock?
  try registry.createKey(named: name, in: parent, by: somebody) { key, _ in made = key }
  struct NotMade: Error {}
  guard let made else { throw NotMade() }
  return made
}
