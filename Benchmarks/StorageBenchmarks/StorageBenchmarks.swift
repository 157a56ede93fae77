import Executive
import Foundation
import HiveStorage

/// What a change costs: in memory, with a log beside it, and with a sync of its own (`-o sync=op`). Goal: with a log, less than
/// 15 µs above the change in memory.
///
/// `StorageBenchmarks [FOLDER]`: the files lie in FOLDER, by default the current one: what a log costs depends on the file system.
@main
struct StorageBenchmarks {
  enum Change: String, CaseIterable {
    case setValue = "set value"
    case createKey = "create key"
    case newValue = "new value"
    case deleteValue = "delete value"
    case renameKey = "rename key"
  }

  enum Place: CaseIterable {
    case memory, log, syncedLog

    /// Changes of one kind, in a round: short enough to go through without another process in between.
    var count: Int { self == .syncedLog ? 100 : 250 }
    /// The fastest counts: what else the machine does only adds.
    var rounds: Int { self == .syncedLog ? 3 : 40 }
  }

  struct Cost {
    /// Of one change.
    var nanoseconds = UInt64.max
    var logBytes = 0
  }

  static func main() throws {
    let arguments = CommandLine.arguments.dropFirst()
    let parent = URL(filePath: arguments.first ?? ".")
    let folder = parent.appending(path: "storage-benchmarks-\(getpid())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(at: folder) }
    let costs = try Place.allCases.map { try measure($0, in: folder) }
    print("change         memory   + log   price   bytes of log    + sync      (µs per change)")
    for change in Change.allCases {
      let (memory, log, synced) = (costs[0][change]!, costs[1][change]!, costs[2][change]!)
      let price = Double(log.nanoseconds) - Double(memory.nanoseconds)
      func text(_ nanoseconds: Double, _ width: Int) -> String {
        let digits = String(format: "%.2f", nanoseconds / 1000)
        return String(repeating: " ", count: max(0, width - digits.count)) + digits
      }
      let bytes = String(log.logBytes)
      print(
        change.rawValue.padding(toLength: 13, withPad: " ", startingAt: 0)
          + text(Double(memory.nanoseconds), 8) + text(Double(log.nanoseconds), 8) + text(price, 8)
          + String(repeating: " ", count: max(1, 15 - bytes.count)) + bytes + text(Double(synced.nanoseconds), 10))
    }
  }

  private static func measure(_ place: Place, in folder: URL) throws -> [Change: Cost] {
    var hive = try open(place, in: folder)
    let tree = try Tree(&hive)
    var costs: [Change: Cost] = [:]
    for round in 0..<place.rounds {
      let names = (0..<place.count).map { Array("name \(round) \($0 + 100_000)".utf16) }
      let renamed = (0..<place.count).map { Array("eman \(round) \($0 + 100_000)".utf16) }
      var keys: [CellIndex] = []
      var values: [CellIndex] = []
      for change in Change.allCases {
        try hive.commit()
        // The first change after a commit begins the log: that is not measured.
        try hive.setLastWriteTime(of: hive.rootKey, .now())
        try hive.log?.sync()
        let size = hive.log?.size ?? 0
        let start = MonotonicClock.nanoseconds()
        for number in 0..<place.count {
          // Neighbours in time are none in the tree.
          let key = tree.keys[number * 7 % tree.keys.count]
          let time = FileTime(rawValue: UInt64(number) + 1 << 40)
          let data = [UInt8](repeating: UInt8(truncatingIfNeeded: number + round), count: 24)
          let (name, newName) = (names[number], renamed[number])
          switch change {
          case .setValue:
            _ = try hive.setValue(of: key, named: tree.value.span, type: .binary, data: data, time: time)
          case .createKey: keys.append(try hive.createKey(under: key, named: name.span, time: time))
          case .newValue:
            values.append(try hive.setValue(of: key, named: name.span, type: .binary, data: data, time: time))
          case .deleteValue: try hive.deleteValue(of: key, value: values[number], time: time)
          case .renameKey: keys[number] = try hive.renameKey(keys[number], to: newName.span, time: time)
          }
          if place == .syncedLog { try hive.log?.sync() }
        }
        let time = (MonotonicClock.nanoseconds() - start) / UInt64(place.count)
        let logBytes = ((hive.log?.size ?? 0) - size) / place.count
        costs[change, default: Cost()].nanoseconds = min(costs[change]?.nanoseconds ?? .max, time)
        costs[change]?.logBytes = logBytes
      }
      for key in keys { try hive.deleteKey(key, time: .now()) }
    }
    return costs
  }

  private static func open(_ place: Place, in folder: URL) throws -> Hive {
    guard place != .memory else {
      let device = MemoryDevice()
      try Hive.format(device: device, minorVersion: 5)
      return try Hive(device: device, access: .readWrite)
    }
    let path = folder.appending(path: "hive-\(place)").path
    try Hive.format(device: FileDevice(path: path, mode: .new), minorVersion: 5)
    return try Hive(HiveFile(path: path, access: .readWrite))
  }

  /// 50 keys with 20 below each, and four values in each of those.
  private struct Tree {
    let value = Array("value 2".utf16)
    let keys: [CellIndex]

    init(_ hive: inout Hive) throws {
      var keys: [CellIndex] = []
      for upper in 0..<50 {
        let name = Array("upper \(upper)".utf16)
        let parent = try hive.createKey(under: hive.rootKey, named: name.span, time: .now())
        for lower in 0..<20 {
          let name = Array("lower \(lower)".utf16)
          let key = try hive.createKey(under: parent, named: name.span, time: .now())
          for value in 0..<4 {
            let (name, data) = (Array("value \(value)".utf16), [UInt8](repeating: 1, count: 24))
            _ = try hive.setValue(of: key, named: name.span, type: .binary, data: data, time: .now())
          }
          keys.append(key)
        }
      }
      self.keys = keys
    }
  }
}
