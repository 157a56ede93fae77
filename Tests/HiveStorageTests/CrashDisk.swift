import HiveModel
import HiveStorage
import Synchronization

/// A disk in memory with some files: it notes in what order they are written, resized and made durable, fails where it
/// is told to, and knows what could be on it after the power went at any moment.
final class CrashDisk: Sendable {
  enum Change: Sendable {
    case write([UInt8], at: Int)
    case resize(Int)
    /// Makes durable what the first `since` events did to the file: what is written while a sync goes on need
    /// not be in it.
    case sync(since: Int)
    /// A sync that failed: what it should have made durable may be lost for good, whatever a later sync says.
    case failedSync
  }

  struct Event: Sendable {
    /// Which file.
    let file: Int
    let change: Change
  }

  /// A call to a device that fails.
  struct Fault: Sendable {
    /// Counted from 0, over all files.
    let call: Int
    let errno: Int32
    /// Of a write: the share of its bytes that is done all the same, in eighths.
    let done: Int
  }

  private struct State {
    var events: [Event] = []
    var calls = 0
    var fault: Fault?
    var failures = 0
    var onSync: (@Sendable () -> Void)?
  }

  /// What lay on the disk at first.
  let base: [[UInt8]]
  private let memories: [MemoryDevice]
  private let state = Mutex(State())

  init(_ files: [[UInt8]]) {
    base = files
    memories = files.enumerated().map { MemoryDevice(name: "file \($0.offset)", $0.element) }
  }

  func device(_ file: Int) -> CrashDevice { CrashDevice(disk: self, file: file, memory: memories[file]) }

  var events: [Event] { state.withLock { $0.events } }
  /// Calls that changed something or should have, since `fail` or the beginning.
  var calls: Int { state.withLock { $0.calls } }
  /// Calls that failed.
  var failures: Int { state.withLock { $0.failures } }

  /// Whether a fault was ordered, met or not.
  var hasFault: Bool { state.withLock { $0.fault != nil } }

  /// What happens while each sync is waited for.
  func duringEachSync(_ body: (@Sendable () -> Void)?) { state.withLock { $0.onSync = body } }

  /// What `kill -9` leaves: every write that was made.
  var contents: [[UInt8]] { memories.map(\.bytes) }

  /// This call, counted from now on, fails; nil: none does.
  func fail(_ fault: Fault?) {
    state.withLock {
      $0.calls = 0
      $0.fault = fault
    }
  }

  fileprivate func note(_ change: Change, to file: Int) {
    state.withLock { $0.events.append(Event(file: file, change: change)) }
  }

  fileprivate func meetSync() { state.withLock { $0.onSync }?() }

  /// The fault that the call that is made now meets.
  fileprivate func nextCall() -> Fault? {
    state.withLock { state in
      defer { state.calls += 1 }
      guard let fault = state.fault, fault.call == state.calls else { return nil }
      state.failures += 1
      return fault
    }
  }
}

/// A file of a `CrashDisk`.
final class CrashDevice: HiveDevice {
  private let disk: CrashDisk
  private let file: Int
  private let memory: MemoryDevice
  var name: String { memory.name }

  fileprivate init(disk: CrashDisk, file: Int, memory: MemoryDevice) {
    self.disk = disk
    self.file = file
    self.memory = memory
  }

  var bytes: [UInt8] { memory.bytes }

  func size() throws(HiveError) -> Int { try memory.size() }

  func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(HiveError) {
    try memory.read(at: offset, into: buffer)
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(HiveError) {
    try put(Array(bytes), at: offset)
  }

  func write(_ pieces: UnsafeBufferPointer<UnsafeRawBufferPointer>, at offset: Int) throws(HiveError) {
    try put(pieces.flatMap { Array($0) }, at: offset)
  }

  private func put(_ bytes: [UInt8], at offset: Int) throws(HiveError) {
    let fault = disk.nextCall()
    let done = Array(bytes.prefix(fault.map { bytes.count * $0.done / 8 } ?? bytes.count))
    // Memory takes every write.
    done.withUnsafeBytes { try? memory.write($0, at: offset) }
    if !done.isEmpty { disk.note(.write(done, at: offset), to: file) }
    if let fault { throw .device(operation: "write", name: name, errno: fault.errno) }
  }

  func resize(to size: Int) throws(HiveError) {
    if let fault = disk.nextCall() { throw .device(operation: "resize", name: name, errno: fault.errno) }
    try memory.resize(to: size)
    disk.note(.resize(size), to: file)
  }

  func sync() throws(HiveError) {
    if let fault = disk.nextCall() {
      disk.note(.failedSync, to: file)
      throw .device(operation: "sync", name: name, errno: fault.errno)
    }
    let since = disk.events.count
    disk.meetSync()
    disk.note(.sync(since: since), to: file)
  }

  func close() {}
}

extension CrashDisk {
  /// What a power cut left.
  struct Cut {
    /// Events that had been made.
    let position: Int
    /// Which of the writes that were not durable are there.
    let kind: Kind
    let contents: [[UInt8]]
  }

  /// What became of what was written since each file's last sync.
  enum Kind: Hashable, Sendable {
    case allLost
    /// What kill -9 leaves.
    case allKept
    /// One write is missing, the others are there.
    case oneLost
    /// One write is there, the others are missing.
    case oneKept
    /// Some sectors of one write, all or nothing of the others.
    case torn
    /// Any sectors of any writes.
    case mixed
  }

  static let sectorSize = 512

  /// Cuts of the recorded events: just after the first 0, 1, 2… of them, as `positions` says, each kind; `mixed` as
  /// often as `samples` says. That only the first few of the pending writes are there is `allKept` of an earlier
  /// position.
  ///
  /// Whatever is kept is applied in the order in which it was written; which sectors are kept is free.
  func forEachCut(
    after positions: some Sequence<Int>, samples: Int, _ random: inout SeededGenerator, _ body: (Cut) throws -> Void
  ) rethrows {
    let events = events
    var durable = base
    var pending: [Pending] = []
    let positions = Set(positions)
    for position in 0...events.count {
      if position > 0 { Self.note(events[position - 1], position - 1, in: &pending, &durable) }
      guard positions.contains(position) else { continue }
      func cut(_ kind: Kind, _ fates: [Fate]) throws {
        var contents = durable
        for (write, fate) in zip(pending, fates) {
          (write.isDurable ? .kept : fate).apply(write.event.change, to: &contents[write.event.file])
        }
        try body(Cut(position: position, kind: kind, contents: contents))
      }
      let count = pending.count
      try cut(.allKept, Array(repeating: .kept, count: count))
      guard count > 0 else { continue }
      try cut(.allLost, Array(repeating: .lost, count: count))
      for one in 0..<count where !pending[one].isDurable {
        var fates = [Fate](repeating: .kept, count: count)
        fates[one] = .lost
        try cut(.oneLost, fates)
        fates = Array(repeating: .lost, count: count)
        fates[one] = .kept
        try cut(.oneKept, fates)
        for others in [Fate.kept, .lost] {
          fates = Array(repeating: others, count: count)
          fates[one] = .sectors(Self.someSectors(of: pending[one].event.change, &random))
          try cut(.torn, fates)
        }
      }
      for _ in 0..<samples {
        try cut(
          .mixed,
          pending.map { write in
            switch Int.random(in: 0..<3, using: &random) {
            case 0: .kept
            case 1: .lost
            default: .sectors(Self.someSectors(of: write.event.change, &random))
            }
          })
      }
    }
  }

  /// A change that is not on the disk for certain, or lies over one that is not.
  private struct Pending {
    let event: Event
    let number: Int
    var isDurable = false
    var isDoubtful = false
  }

  private static func note(_ event: Event, _ number: Int, in pending: inout [Pending], _ durable: inout [[UInt8]]) {
    let file = event.file
    switch event.change {
    case .write, .resize:
      pending.append(Pending(event: event, number: number))
    case .failedSync:
      for place in pending.indices where pending[place].event.file == file && !pending[place].isDurable {
        pending[place].isDoubtful = true
      }
    case .sync(let since):
      for place in pending.indices
      where pending[place].event.file == file && !pending[place].isDoubtful && pending[place].number < since {
        pending[place].isDurable = true
      }
      // What lies over a doubtful write waits for it, as the order counts.
      let first = pending.firstIndex { $0.event.file == file && !$0.isDurable } ?? pending.endIndex
      for place in 0..<first where pending[place].event.file == file {
        apply(pending[place].event.change, to: &durable[file])
      }
      pending = pending.enumerated().filter { $0.offset >= first || $0.element.event.file != file }.map(\.element)
    }
  }

  private enum Fate {
    case kept
    case lost
    /// Whether each sector of a write is there; of a resize, whether it was done.
    case sectors([Bool])

    func apply(_ change: Change, to contents: inout [UInt8]) {
      switch (self, change) {
      case (.lost, _): break
      case (.kept, _): CrashDisk.apply(change, to: &contents)
      case (.sectors(let sectors), .write(let bytes, let offset)):
        for (number, isKept) in sectors.enumerated() where isKept {
          let (start, end) = CrashDisk.sector(number, of: bytes.count, at: offset)
          CrashDisk.apply(.write(Array(bytes[start..<end]), at: offset + start), to: &contents)
        }
      case (.sectors(let sectors), .resize): if sectors[0] { CrashDisk.apply(change, to: &contents) }
      case (.sectors, .sync), (.sectors, .failedSync): break
      }
    }
  }

  /// A part of the write from its start, to its end, or sectors here and there.
  private static func someSectors(of change: Change, _ random: inout SeededGenerator) -> [Bool] {
    guard case .write(let bytes, let offset) = change else { return [Bool.random(using: &random)] }
    let count = (offset % sectorSize + bytes.count + sectorSize - 1) / sectorSize
    let end = Int.random(in: 0...count, using: &random)
    switch Int.random(in: 0..<3, using: &random) {
    case 0: return (0..<count).map { $0 < end }
    case 1: return (0..<count).map { $0 >= end }
    default: return (0..<count).map { _ in Bool.random(using: &random) }
    }
  }

  /// The bytes of a write that lie in its sector of that number.
  private static func sector(_ number: Int, of count: Int, at offset: Int) -> (start: Int, end: Int) {
    let before = offset % sectorSize
    return (max(0, number * sectorSize - before), min(count, (number + 1) * sectorSize - before))
  }

  private static func apply(_ change: Change, to contents: inout [UInt8]) {
    switch change {
    case .write(let bytes, let offset):
      if contents.count < offset + bytes.count {
        contents.append(contentsOf: [UInt8](repeating: 0, count: offset + bytes.count - contents.count))
      }
      contents.withUnsafeMutableBytes { contents in
        bytes.withUnsafeBytes { UnsafeMutableRawBufferPointer(rebasing: contents[offset...]).copyMemory(from: $0) }
      }
    case .resize(let size):
      if size < contents.count {
        contents.removeLast(contents.count - size)
      } else {
        contents.append(contentsOf: [UInt8](repeating: 0, count: size - contents.count))
      }
    case .sync, .failedSync: break
    }
  }
}
