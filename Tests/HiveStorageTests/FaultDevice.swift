import Executive
import HiveModel
import HiveStorage
import Synchronization

/// Counts the calls of every device that shares it, and says which one fails.
final class FaultPlan: Sendable {
  private struct State {
    var calls = 0
    var failing: Int?
    var errno: Int32 = 5
    var isDeadly = false
    var onSync: (@Sendable () -> Void)?
  }

  private let state = Mutex(State())

  /// The call of this number fails, counted from now on, with half of its work done; nil: none does.
  func fail(at call: Int?, errno: Int32 = 5) {
    state.withLock { $0 = State(failing: call, errno: errno, onSync: $0.onSync) }
  }

  /// From the call of this number on nothing is done any more.
  func die(at call: Int) {
    state.withLock { $0 = State(failing: call, isDeadly: true, onSync: $0.onSync) }
  }

  /// What happens before each sync, while that is waited for.
  func beforeEachSync(_ body: (@Sendable () -> Void)?) { state.withLock { $0.onSync = body } }

  func meetSync() { state.withLock { $0.onSync }?() }

  enum Fate: Equatable {
    case done
    case half(errno: Int32)
    case nothing
  }

  /// Of the call that is made now.
  func next() -> Fate {
    state.withLock { state in
      defer { state.calls += 1 }
      guard let failing = state.failing else { return .done }
      if state.isDeadly { return state.calls < failing ? .done : .nothing }
      return state.calls == failing ? .half(errno: state.errno) : .done
    }
  }

  var calls: Int { state.withLock { $0.calls } }

  /// Whether the call that was to fail has been made.
  var hasFailed: Bool { state.withLock { state in state.failing.map { state.calls > $0 } ?? false } }
}

/// A device that fails where its plan says, and knows what a power cut would leave: writes since the last sync may be
/// there, torn or lost.
final class FaultDevice: HiveDevice {
  let name: String
  private let plan: FaultPlan
  private let memory: MemoryDevice
  private let state: Mutex<State>

  private struct State {
    var durable: [UInt8]
    var pending: [Change] = []
    var bytesWritten = 0
  }

  private enum Change {
    case write([UInt8], Int)
    case resize(Int)
  }

  init(name: String, _ bytes: [UInt8], plan: FaultPlan) {
    self.name = name
    self.plan = plan
    memory = MemoryDevice(name: name, bytes)
    state = Mutex(State(durable: bytes))
  }

  /// What kill -9 leaves: every write that was made.
  var bytes: [UInt8] { memory.bytes }

  /// In all writes so far.
  var bytesWritten: Int { state.withLock { $0.bytesWritten } }

  /// What a power cut leaves.
  func afterPowerCut(_ random: inout SeededGenerator) -> [UInt8] {
    let (durable, pending) = state.withLock { ($0.durable, $0.pending) }
    let device = MemoryDevice(durable)
    func put(_ bytes: ArraySlice<UInt8>, _ offset: Int) { bytes.withUnsafeBytes { try? device.write($0, at: offset) } }
    for change in pending {
      switch change {
      case .write(let bytes, let offset):
        switch Int.random(in: 0..<4, using: &random) {
        case 0: break
        case 1: put(bytes[...], offset)
        case 2: put(bytes.prefix(Int.random(in: 0...bytes.count, using: &random)), offset)
        default:
          for start in stride(from: 0, to: bytes.count, by: 512) where Bool.random(using: &random) {
            put(bytes[start..<min(start + 512, bytes.count)], offset + start)
          }
        }
      case .resize(let size):
        if Bool.random(using: &random) { try? device.resize(to: size) }
      }
    }
    return device.bytes
  }

  /// How much of `count` is done, and what is thrown then.
  private func share(of count: Int, _ operation: String) -> (count: Int, failure: HiveError?) {
    switch plan.next() {
    case .done: (count, nil)
    case .half(let errno): (count / 2, .device(operation: operation, name: name, errno: errno))
    case .nothing: (0, .device(operation: operation, name: name, errno: 5))
    }
  }

  func size() throws(HiveError) -> Int { try memory.size() }

  func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(HiveError) {
    try memory.read(at: offset, into: buffer)
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(HiveError) { try write(Array(bytes), offset) }

  func write(_ pieces: UnsafeBufferPointer<UnsafeRawBufferPointer>, at offset: Int) throws(HiveError) {
    try write(pieces.flatMap { Array($0) }, offset)
  }

  private func write(_ bytes: [UInt8], _ offset: Int) throws(HiveError) {
    let (count, failure) = share(of: bytes.count, "write")
    let done = Array(bytes.prefix(count))
    if count > 0 {
      done.withUnsafeBytes { try? memory.write($0, at: offset) }
      state.withLock {
        $0.pending.append(.write(done, offset))
        $0.bytesWritten += count
      }
    }
    if let failure { throw failure }
  }

  func resize(to size: Int) throws(HiveError) {
    if let failure = share(of: 0, "resize").failure { throw failure }
    try memory.resize(to: size)
    state.withLock { $0.pending.append(.resize(size)) }
  }

  func close() {}

  func sync() throws(HiveError) {
    // What is written while the sync goes on need not be in it.
    let bytes = memory.bytes
    let pending = state.withLock { $0.pending.count }
    if let failure = share(of: 0, "sync").failure { throw failure }
    plan.meetSync()
    state.withLock {
      $0.durable = bytes
      $0.pending.removeFirst(pending)
    }
  }
}
