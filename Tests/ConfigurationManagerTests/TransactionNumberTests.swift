import ConfigurationManager
import Executive
import Synchronization
import Testing

/// The number of the log entry that holds a change, as its post is told.
@Suite struct TransactionNumberTests {
  private final class Numbers: RegistryCallback {
    let all = Mutex<[UInt32?]>([])
    func preOperation(_ operation: RegistryOperation, _ call: inout RegistryCall) -> NTStatus {
      #expect(call.transactionID == nil)
      return .success
    }
    func postOperation(_ operation: RegistryOperation, status: NTStatus, _ call: inout RegistryCall) -> NTStatus {
      all.withLock { $0.append(call.transactionID) }
      return .success
    }
  }

  @Test func goesUpWithEveryChangeAndIsNoneWhereNothingWasChanged() throws {
    let callbacks = CallbackStack()
    let numbers = Numbers()
    _ = try callbacks.register(numbers, altitude: try #require(Altitude("1")), interests: everything)
    let registry = try makeRegistry(callbacks)
    let key = try make("k", in: registry.root, registry)
    let value = RegistryValue(type: .dword, data: [1, 0, 0, 0])
    try registry.setValue(of: key, named: "v", to: value, by: somebody)
    // A set and a delete, done as one.
    try registry.moveValue(of: key, named: "v", to: key, named: "w", as: value, by: somebody)
    #expect(throws: NTStatus.self) { try registry.deleteValue(of: registry.root, named: "none", by: somebody) }
    #expect(throws: NTStatus.self) { try registry.deleteKey(registry.root, by: somebody) }
    try registry.deleteValue(of: key, named: "w", by: somebody)
    let all = numbers.all.withLock { $0 }
    let first = try #require(all.first ?? nil)
    let told = all.map { $0.map { $0 - first } }
    #expect(told.filter { $0 != nil } == [0, 1, 2, 2, 3])
  }
}
