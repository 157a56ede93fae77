import Executive
import Foundation
import HiveStorage
import Testing

@Suite struct FileTests {
  private func inFolder(_ body: (String) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "regward-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try body(folder)
  }

  private func names(_ folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
  }

  @Test func aHiveOnDiskIsWrittenThroughItsLog() throws {
    try inFolder { folder in
      let path = folder + "/hive"
      try Hive.format(device: FileDevice(path: path, mode: .new), minorVersion: 5)
      do {
        let file = try HiveFile(path: path, access: .readWrite)
        let hive = try TestHive(device: file.device, logs: file.logs)
        try hive.set("v", of: hive.create("A", under: hive.root), to: bytes(70_000))
        try hive.commit()
      }
      #expect(try names(folder) == ["hive", "hive.LOG1", "hive.LOG2"])
      let test = try TestHive(device: FileDevice(path: path, mode: .reading), access: .readOnly)
      test.expectSound()
      let key = try #require(try test.subkey("a", of: test.root))
      let value = try #require(try test.value("V", of: key))
      #expect(try test.data(ofValue: value) == bytes(70_000))
    }
  }

  @Test func logsAreFoundInAnyCaseAndThroughLinks() throws {
    try inFolder { folder in
      let path = folder + "/Hive.dat"
      try Hive.format(device: FileDevice(path: path, mode: .new), minorVersion: 3)
      for log in ["hive.DAT.log", "HIVE.dat.Log2", "hive.dat.log3"] {
        #expect(FileManager.default.createFile(atPath: folder + "/" + log, contents: Data([1])))
      }
      try FileManager.default.createDirectory(atPath: folder + "/far", withIntermediateDirectories: false)
      try FileManager.default.createSymbolicLink(atPath: folder + "/far/link", withDestinationPath: "../Hive.dat")
      let before = try names(folder)
      let reading = try HiveFile(path: folder + "/far/link", access: .readOnly)
      #expect(reading.logs == nil)
      #expect(try names(folder) == before)
      #expect(reading.otherLogs.map { $0.name.split(separator: "/").last } == ["HIVE.dat.Log2", "hive.DAT.log"])
      let writing = try HiveFile(path: folder + "/far/link", access: .readWrite)
      #expect(writing.logs?.first.name.hasSuffix("/Hive.dat.LOG1") == true)
      #expect(writing.logs?.second.name.hasSuffix("/HIVE.dat.Log2") == true)
      #expect(writing.otherLogs.map { $0.name.split(separator: "/").last } == ["hive.DAT.log"])
      #expect(try names(folder) == (before + ["Hive.dat.LOG1"]).sorted())
    }
  }

  @Test func whatIsNoRegularFileIsRefused() throws {
    try inFolder { folder in
      #expect(throws: HiveError.self) { _ = try HiveFile(path: folder, access: .readOnly) }
      mkfifo(folder + "/fifo", 0o600)
      #expect { _ = try HiveFile(path: folder + "/fifo", access: .readOnly) } throws: {
        "\($0)".contains("not a regular file")
      }
      #expect(throws: HiveError.device(operation: "open", name: folder + "/none", errno: ENOENT)) {
        _ = try HiveFile(path: folder + "/none", access: .readOnly)
      }
    }
  }

  @Test(arguments: [0, 100, 9000]) func nothingIsLeftBesideAFileThatIsNoHive(size: Int) throws {
    try inFolder { folder in
      #expect(FileManager.default.createFile(atPath: folder + "/text", contents: Data(repeating: 0x41, count: size)))
      do throws(HiveError) {
        _ = try Hive(HiveFile(path: folder + "/text", access: .readWrite))
        Issue.record("opened")
      } catch {
        guard case .notAHive = error else { throw error }
      }
      #expect(try names(folder) == ["text"])
    }
  }

  /// Every part comes to its place, also what does not divide evenly; one that cannot be read is told.
  @Test func aLargeFileIsReadBySeveralThreads() throws {
    try inFolder { folder in
      let path = folder + "/large"
      let size = 150 << 20 | 4097
      let device = try FileDevice(path: path, mode: .new)
      try device.resize(to: size)
      let places = Array(stride(from: 0, to: size - 8, by: 1 << 20)) + [size - 8]
      for place in places { try withUnsafeBytes(of: UInt64(place | 1).littleEndian) { try device.write($0, at: place) } }
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size - 3, alignment: 8)
      defer { buffer.deallocate() }
      try device.read(at: 3, into: buffer)
      for place in places where place > 0 {
        #expect(buffer.loadUnaligned(fromByteOffset: place - 3, as: UInt64.self) == UInt64(place | 1), "at \(place)")
      }
      // It ends in the first part, and in the last.
      for end in [1 << 20, size - 1] {
        try device.resize(to: end)
        #expect(throws: HiveError.self) { try device.read(at: 3, into: buffer) }
      }
    }
  }

  /// The lock is the process's own, so another process must hold it: a Python child does.
  @Test func aLockedHiveTellsWhoHasIt() throws {
    try inFolder { folder in
      let path = folder + "/hive"
      try Hive.format(device: FileDevice(path: path, mode: .new), minorVersion: 5)
      let holder = Process()
      holder.executableURL = URL(filePath: "/usr/bin/env")
      holder.arguments = [
        "python3", "-c",
        "import fcntl,sys; f=open(sys.argv[1],'r+'); fcntl.lockf(f,fcntl.LOCK_EX)\n"
          + "print('x',flush=True); sys.stdin.read()",
        path,
      ]
      let (input, output) = (Pipe(), Pipe())
      holder.standardInput = input
      holder.standardOutput = output
      try holder.run()
      _ = output.fileHandleForReading.readData(ofLength: 1)
      #expect(throws: HiveError.locked(pid: holder.processIdentifier)) {
        _ = try HiveFile(path: path, access: .readWrite)
      }
      #expect(throws: HiveError.locked(pid: holder.processIdentifier)) {
        _ = try HiveFile(path: path, access: .readOnly)
      }
      try input.fileHandleForWriting.close()
      holder.waitUntilExit()
      _ = try HiveFile(path: path, access: .readWrite)
    }
  }
}
