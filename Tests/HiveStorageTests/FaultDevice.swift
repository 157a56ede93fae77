import Executive
import HiveModel
import HiveStorage
import Synchronization

/// Counts the calls of every device that shares it, and says which one fails.
final class FaultPlan: Sendable {
  private struct State {
    var calls = 0
    var failing: Int?
  }

  private let state = Mutex(State())

  /// The call of this number fails, counted from now on; nil: none does.
  func fail(at call: Int?) {
    state.withLock { $0 = State(calls: 0, failing: call) }
  }

  /// Whether the call that is made now fails, and whether one has failed before.
  func next() -> Bool {
    state.withLock { state in
      defer { state.calls += 1 }
      return state.calls == state.failing
    }
  }

  var calls: Int { state.withLock { $0.calls } }
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

  /// What a power cut leaves.
  func afterPowerCut(_ random: inout SeededGenerator) -> [UInt8] {
    let (durable, pending) = state.withLock { ($0.durable, $0.pending) }
    let device = MemoryDevice(durable)
    for change in pending {
      switch change {
      case .write(let bytes, let offset):
        let fate = Int.random(in: 0..<3, using: &random)
        let kept = fate == 0 ? 0 : fate == 1 ? bytes.count : Int.random(in: 0...bytes.count, using: &random)
        bytes.prefix(kept).withUnsafeBytes { try? device.write($0, at: offset) }
      case .resize(let size):
        if Bool.random(using: &random) { try? device.resize(to: size) }
      }
    }
    return device.bytes
  }

  private func refuse(_ operation: String) throws(HiveError) {
    if plan.next() { throw .device(operation: operation, name: name, errno: 5) }
  }

  func size() throws(HiveError) -> Int { try memory.size() }

  func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(HiveError) {
    try memory.read(at: offset, into: buffer)
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(HiveError) {
    // A write that fails has done half of its work.
    do throws(HiveError) { try refuse("write") } catch {
      try put(UnsafeRawBufferPointer(rebasing: bytes.prefix(bytes.count / 2)), at: offset)
      throw error
    }
    try put(bytes, at: offset)
  }

  private func put(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(HiveError) {
    try memory.write(bytes, at: offset)
    let copy = Array(bytes)
    state.withLock { $0.pending.append(.write(copy, offset)) }
  }

  func resize(to size: Int) throws(HiveError) {
    try refuse("resize")
    try memory.resize(to: size)
    state.withLock { $0.pending.append(.resize(size)) }
  }

  func close() {}
  func sync() throws(HiveError) {
    try refuse("sync")
    let bytes = memory.bytes
    state.withLock { $0 = State(durable: bytes) }
  }
}
