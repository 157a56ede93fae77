internal import ConfigurationManager
internal import Executive
internal import Glibc
internal import HiveStorage
internal import RegistryFileSystem

extension CostBenchmarks {
  /// What the server does for a request, without FUSE and without rules.
  static var fileSystem: [() throws -> MeasuredCase] {
    func measure(
      _ name: String, count: Int = 200, _ operation: @escaping (Sample, Int) throws -> Void
    ) -> () throws -> MeasuredCase {
      {
        let sample = try Sample()
        return try MeasuredCase(name, count: count) { number in try operation(sample, number) }
      }
    }
    func lookUp(_ kind: String, _ name: String) -> () throws -> MeasuredCase {
      let name = name.utf8CString
      return measure("look up, \(kind)", count: 1000) { sample, number in
        let entry = try name.withUnsafeBufferPointer {
          try sample.fs.lookUp($0.baseAddress!, in: sample.keys[number % 100], by: sample.caller)
        }
        sample.fs.forget(entry.nodeID, count: 1)
      }
    }
    func names(_ letter: String) -> [ContiguousArray<CChar>] { (0..<300).map { "\(letter)\($0)".utf8CString } }
    let text = [UInt8](repeating: 0x77, count: 64)
    let made = names("m")
    return [
      lookUp("plain name", "f7"),
      lookUp("name in another case", "F7"),
      lookUp("name with escapes", "100%25 a%2Fb"),
      measure("attributes", count: 1000) { sample, number in
        use(try sample.fs.attributes(of: sample.values[number % 100]))
      },
      measure("open, read, close") { sample, number in
        let file = try sample.fs.open(sample.values[number % 100], flags: O_RDONLY, by: sample.caller).file
        use(try sample.fs.read(file, offset: 0, size: 4096, by: sample.caller))
        sample.fs.release(file)
      },
      measure("open, write, close") { sample, number in
        let file = try sample.fs.open(sample.values[number % 100], flags: O_WRONLY | O_TRUNC, by: sample.caller).file
        try text.withUnsafeBytes { try sample.fs.write(file, $0, offset: 0, by: sample.caller) }
        use(try sample.fs.flush(file, by: sample.caller))
        sample.fs.release(file)
      },
      measure("create, write, close") { sample, number in
        let (entry, file) = try made[number].withUnsafeBufferPointer {
          try sample.fs.create($0.baseAddress!, in: sample.keys[number % 100], flags: O_WRONLY, by: sample.caller)
        }
        try text.withUnsafeBytes { try sample.fs.write(file, $0, offset: 0, by: sample.caller) }
        use(try sample.fs.flush(file, by: sample.caller))
        sample.fs.release(file)
        sample.fs.forget(entry.nodeID, count: 1)
      },
      measure("mkdir and rmdir") { sample, number in
        try made[number].withUnsafeBufferPointer {
          let entry = try sample.fs.makeDirectory($0.baseAddress!, in: sample.keys[number % 100], by: sample.caller)
          sample.fs.forget(entry.nodeID, count: 1)
          try sample.fs.removeDirectory($0.baseAddress!, in: sample.keys[number % 100], by: sample.caller)
        }
      },
      measure("list 100 keys", count: 50) { sample, _ in
        let stream = try sample.fs.openDirectory(1, by: sample.caller)
        try sample.fs.fill(stream, of: 1, by: sample.caller)
        precondition(stream.count > 100)
        sample.fs.closeDirectory(stream, by: sample.caller)
      },
    ]
  }

  /// Over a hive in memory with its logs: 100 keys with ten values each, and one whose name needs escapes.
  private final class Sample {
    let fs: RegistryFileSystem
    let caller = Caller(threadID: 1, userID: 0, groupID: 0)
    /// Node ids of the keys, and of a value of each.
    private(set) var keys: [UInt64] = []
    private(set) var values: [UInt64] = []

    init() throws {
      let time = FileTime(rawValue: 133_800_000_000_000_000)
      let device = MemoryDevice()
      try Hive.format(device: device, minorVersion: 5, time: time)
      var hive = try Hive(
        device: device, access: .readWrite, logs: LogPair(MemoryDevice(name: "LOG1"), MemoryDevice(name: "LOG2")))
      let data = [UInt8](repeating: 0x76, count: 64) + [0, 0]
      let names = (0..<10).map { Array("f\($0)".utf16) } + [Array("100% a/b".utf16)]
      for number in 0..<100 {
        let name = Array("d\(number)".utf16)
        let key = try hive.createKey(under: hive.rootKey, named: name.span, time: time)
        for name in names { _ = try hive.setValue(of: key, named: name.span, type: .sz, data: data, time: time) }
      }
      let registry = Registry(
        hive: hive, completeName: #"\REGISTRY\MACHINE\SOFTWARE"#, callbacks: CallbackStack(), isReadOnly: false)
      fs = RegistryFileSystem(
        registry: registry, presentation: Presentation(userID: 0, groupID: 0, umask: 0o022, isReadOnly: false),
        largestText: 1 << 21, handler: NobodyAsks())
      for number in 0..<100 {
        let key = try fs.lookUp("d\(number)", in: 1, by: caller).nodeID
        keys.append(key)
        values.append(try fs.lookUp("f3", in: key, by: caller).nodeID)
      }
    }
  }

  /// For the files of `/%ctl`, which are not measured.
  private final class NobodyAsks: ControlHandler {
    func why(_ name: UnicodeName) -> String { "" }
    func execute(
      _ verb: String, _ arguments: [String], by caller: Caller, registryName: (String) -> UnicodeName?
    ) -> String? { nil }
    func status() -> String { "" }
    func stats() -> String { "" }
    func ruleListing() -> String { "" }
    func openEvents(onArrival: @escaping @Sendable () -> Void) -> (any EventStream)? { nil }
    func export(_ saved: UnnamedFile, named name: UnicodeName, to file: UnnamedFile) throws(NTStatus) {
      throw .invalidParameter
    }
  }
}
