internal import Executive
internal import Glibc
internal import HiveStorage

extension CostBenchmarks {
  /// A hive on files, with its logs, that has the keys `d0`, `d1`… with the values `f0` to `f9`.
  private final class Sample {
    var hive: Hive
    let keys: [CellIndex]
    let names: [[UInt16]]
    private let path: String

    init(in folder: String, keys count: Int) throws {
      path = "\(folder)/cost.hiv"
      for file in [path, path + ".LOG1", path + ".LOG2"] { unlink(file) }
      try Hive.format(device: FileDevice(path: path, mode: .new), minorVersion: 5, time: time)
      hive = try Hive(HiveFile(path: path, access: .readWrite))
      names = (0..<count).map { Array("d\($0)".utf16) }
      var keys: [CellIndex] = []
      for name in names { keys.append(try hive.createKey(under: hive.rootKey, named: name.span, time: time)) }
      for key in keys.prefix(100) {
        for value in 0..<10 {
          let name = Array("f\(value)".utf16)
          _ = try hive.setValue(of: key, named: name.span, type: .sz, data: data, time: time)
        }
      }
      self.keys = keys
      try hive.commit(time: time)
      // The first change after a commit begins the log, which is not measured.
      try hive.setLastWriteTime(of: hive.rootKey, time)
    }

    deinit {
      hive.close()
      for file in [path, path + ".LOG1", path + ".LOG2"] { unlink(file) }
    }
  }

  private static let time = FileTime(rawValue: 133_800_000_000_000_000)
  private static let data = [UInt8](repeating: 0x76, count: 64)

  /// Look-ups and changes, each change with its entry in the log.
  static func storage(in folder: String) -> [() throws -> MeasuredCase] {
    func measure(
      _ name: String, keys: Int = 1000, count: Int = 200, _ operation: @escaping (Sample, Int) throws -> Void
    ) -> () throws -> MeasuredCase {
      {
        let sample = try Sample(in: folder, keys: keys)
        return try MeasuredCase(name, count: count) { number in try operation(sample, number) }
      }
    }
    func name(_ letter: String, _ number: Int) -> [UInt16] { Array("\(letter)\(number + 10_000)".utf16) }
    let valueName = Array("f7".utf16)
    let otherCase = Array("F7".utf16)
    return [
      measure("find subkey among 10", keys: 10, count: 1000) { sample, number in
        let name = sample.names[number * 7 % 10]
        use(try sample.hive.findSubkey(of: sample.hive.rootKey, named: name.span))
      },
      measure("find subkey among 5,000", keys: 5000, count: 1000) { sample, number in
        let name = sample.names[number * 7919 % 5000]
        use(try sample.hive.findSubkey(of: sample.hive.rootKey, named: name.span))
      },
      measure("find value among 10", count: 1000) { sample, number in
        use(try sample.hive.findValue(of: sample.keys[number % 100], named: valueName.span))
      },
      measure("find value in another case", count: 1000) { sample, number in
        use(try sample.hive.findValue(of: sample.keys[number % 100], named: otherCase.span))
      },
      measure("set value") { sample, number in
        let key = sample.keys[number * 7 % 100]
        _ = try sample.hive.setValue(of: key, named: valueName.span, type: .sz, data: data, time: time)
      },
      measure("new value") { sample, number in
        let name = name("v", number)
        _ = try sample.hive.setValue(of: sample.keys[number % 1000], named: name.span, type: .sz, data: data, time: time)
      },
      measure("delete value") { sample, number in
        let key = sample.keys[number % 100]
        let name = Array("f\(number / 100)".utf16)
        guard let value = try sample.hive.findValue(of: key, named: name.span) else { throw HiveError.keyNotFound }
        try sample.hive.deleteValue(of: key, value: value, time: time)
      },
      measure("create key") { sample, number in
        let name = name("k", number)
        _ = try sample.hive.createKey(under: sample.keys[number % 100], named: name.span, time: time)
      },
      measure("create key among 5,000", keys: 5000) { sample, number in
        let name = name("k", number * 7)
        _ = try sample.hive.createKey(under: sample.hive.rootKey, named: name.span, time: time)
      },
      measure("delete key") { sample, number in try sample.hive.deleteKey(sample.keys[100 + number], time: time) },
      measure("rename key") { sample, number in
        let name = name("r", number)
        _ = try sample.hive.renameKey(sample.keys[number], to: name.span, time: time)
      },
    ]
  }
}
