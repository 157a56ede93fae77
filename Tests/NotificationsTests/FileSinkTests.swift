import Executive
import Foundation
import Glibc
import Notifications
import Testing

@Suite(.timeLimit(.minutes(1))) struct FileSinkTests {
  /// A folder of the test's own, gone with it.
  final class Folder {
    let url = FileManager.default.temporaryDirectory.appending(path: "regward-\(UUID().uuidString)")
    init() throws { try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false) }
    deinit { try? FileManager.default.removeItem(at: url) }
    func path(_ name: String) -> String { url.appending(path: name).path }
  }

  private func deliver(_ numbers: ClosedRange<UInt64>, to sink: FileSink, dropped: UInt64 = 0) {
    for number in numbers {
      var notification = Samples.notification(.postSetValueKey, key: Samples.winDefend, value: "Start")
      notification.sequence = number
      sink.deliver(.registry(notification), dropped: number == numbers.lowerBound ? dropped : 0)
    }
  }

  private struct Line: Equatable {
    var sequence: Int?
    var lost: [String: Int]?
  }

  /// The lines of a log, each of which must be whole.
  private func lines(_ data: Data) throws -> [Line] {
    #expect(data.isEmpty || data.last == 0x0A)
    return try data.split(separator: 0x0A).map { line in
      let object = try EventEncoderTests.parsed(Array(line) + [0x0A])
      return Line(
        sequence: (object["event"] as? [String: Any])?["sequence"] as? Int,
        lost: (object["regward"] as? [String: Any])?["lost"] as? [String: Int])
    }
  }

  private func log(_ path: String) throws -> [Line] { try lines(Data(contentsOf: URL(filePath: path))) }

  @Test func appendsLinesToAFileOfTheOwnersOnly() throws {
    let folder = try Folder()
    for round in 0..<2 as Range<UInt64> {
      let sink = try FileSink(path: folder.path("log"))
      deliver(round * 10 + 1...round * 10 + 3, to: sink)
      sink.flush()
      #expect(sink.counters == SinkCounters(accepted: 3, lost: 0, errors: 0))
    }
    #expect(try log(folder.path("log")).map(\.sequence) == [1, 2, 3, 11, 12, 13])
    let mode = try FileManager.default.attributesOfItem(atPath: folder.path("log"))[.posixPermissions] as? Int
    #expect(mode == 0o600)
  }

  @Test func theDescriptorIsClosedOnExec() throws {
    let folder = try Folder()
    let sink = try FileSink(path: folder.path("log"))
    let flags = (3..<256).filter { descriptor in
      let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(descriptor)")
      return target == folder.path("log")
    }.map { fcntl(Int32($0), F_GETFD) }
    #expect(flags == [FD_CLOEXEC])
    _ = sink
  }

  @Test func tellsWhyItCannotOpen() throws {
    #expect(throws: FileSink.OpenError(path: "/nowhere/log", errno: ENOENT)) { try FileSink(path: "/nowhere/log") }
  }

  /// What others put in the log's place is not written to.
  @Test(arguments: [("symlink", ELOOP), ("dangling", ENOENT), ("hard link", EMLINK), ("another's", EPERM)] as [(String, Int32)])
  func onlyAFileOfItsOwnIsALog(place: String, errno: Int32) throws {
    let folder = try Folder()
    let (log, other) = (folder.path("log"), folder.path("other"))
    let sink = try FileSink(path: log)
    try FileManager.default.removeItem(atPath: log)
    if place != "dangling" { try Data("x".utf8).write(to: URL(filePath: other)) }
    switch place {
    case "hard link": try FileManager.default.linkItem(atPath: other, toPath: log)
    case "another's":
      try FileManager.default.copyItem(atPath: other, toPath: log)
      // Only root can give a file away.
      guard chown(log, 65534, 65534) == 0 else { return }
    default: try FileManager.default.createSymbolicLink(atPath: log, withDestinationPath: other)
    }
    #expect(throws: FileSink.OpenError(path: log, errno: errno)) { try FileSink(path: log) }
    // The old file stays, as with any other failure.
    sink.reopen()
    deliver(1...1, to: sink)
    sink.flush()
    #expect(sink.counters.errors == 1 && sink.counters.accepted == 1)
    #expect((try? String(contentsOfFile: other, encoding: .utf8)) == (place == "dangling" ? nil : "x"))
  }

  @Test(.enabled(if: FileManager.default.fileExists(atPath: "/dev/full"), "this machine has no /dev/full"))
  func aFullDeviceIsCountedAndToldInTheNextLine() throws {
    let folder = try Folder()
    // A link to the full device first, then a real file in its place.
    try FileManager.default.createSymbolicLink(atPath: folder.path("log"), withDestinationPath: "/dev/full")
    let sink = try FileSink(path: folder.path("log"))
    deliver(1...4, to: sink, dropped: 9)
    sink.flush()
    deliver(5...5, to: sink)
    sink.flush()
    #expect(sink.counters == SinkCounters(accepted: 0, lost: 5, errors: 2))
    try FileManager.default.removeItem(atPath: folder.path("log"))
    sink.reopen()
    deliver(6...7, to: sink)
    sink.flush()
    #expect(sink.counters == SinkCounters(accepted: 2, lost: 5, errors: 2))
    let lost = ["dropped": 9, "failed": 5, "errno": Int(ENOSPC)]
    #expect(try log(folder.path("log")) == [Line(sequence: 6, lost: lost), Line(sequence: 7, lost: nil)])
  }

  @Test func rotationLosesNothing() throws {
    let folder = try Folder()
    let sink = try FileSink(path: folder.path("log"))
    deliver(1...2, to: sink)
    sink.flush()
    try FileManager.default.moveItem(atPath: folder.path("log"), toPath: folder.path("log.1"))
    deliver(3...3, to: sink)
    sink.flush()
    sink.reopen()
    deliver(4...5, to: sink)
    sink.flush()
    #expect(try log(folder.path("log.1")).map(\.sequence) == [1, 2, 3])
    #expect(try log(folder.path("log")).map(\.sequence) == [4, 5])
  }

  @Test func aFailedReopenKeepsTheOldFileAndIsTold() throws {
    let folder = try Folder()
    try FileManager.default.createDirectory(atPath: folder.path("d"), withIntermediateDirectories: false)
    let sink = try FileSink(path: folder.path("d/log"))
    try FileManager.default.moveItem(atPath: folder.path("d"), toPath: folder.path("e"))
    sink.reopen()
    deliver(1...1, to: sink)
    sink.flush()
    deliver(2...2, to: sink)
    sink.flush()
    let lost = ["dropped": 0, "failed": 0, "errno": Int(ENOENT)]
    #expect(try log(folder.path("e/log")) == [Line(sequence: 1, lost: nil), Line(sequence: 2, lost: lost)])
    #expect(sink.counters == SinkCounters(accepted: 2, lost: 0, errors: 1))
  }

  /// A pipe of one page takes a batch in part: the torn line must be completed before anything else is written.
  @Test func aTornLineIsCompletedFirst() throws {
    let folder = try Folder()
    #expect(mkfifo(folder.path("pipe"), 0o600) == 0)
    let reader = open(folder.path("pipe"), O_RDONLY | O_NONBLOCK)
    defer { close(reader) }
    #expect(fcntl(reader, 1031 /* F_SETPIPE_SZ */, 4096) == 4096)
    let sink = try FileSink(path: folder.path("pipe"))
    deliver(1...20, to: sink)
    sink.flush()
    let first = sink.counters
    #expect(first.accepted > 1 && first.accepted < 20 && first.accepted + first.lost == 20 && first.errors == 1)
    func read() -> Data {
      var page = [UInt8](repeating: 0, count: 65536)
      let count = Glibc.read(reader, &page, page.count)
      return Data(page.prefix(max(0, count)))
    }
    var data = read()
    #expect(data.last != 0x0A, "the pipe took whole lines only: nothing is tested")
    deliver(21...21, to: sink, dropped: 2)
    sink.flush()
    data += read()
    let written = try lines(data)
    #expect(written.map(\.sequence) == Array(1...Int(first.accepted)) + [21])
    #expect(written.last?.lost == ["dropped": 2, "failed": Int(first.lost), "errno": Int(EAGAIN)])
    #expect(sink.counters == SinkCounters(accepted: first.accepted + 1, lost: first.lost, errors: 1))
  }

  @Test func aPipeWithoutReaderCostsNobodyHisLife() throws {
    let folder = try Folder()
    #expect(mkfifo(folder.path("pipe"), 0o600) == 0)
    let reader = open(folder.path("pipe"), O_RDONLY | O_NONBLOCK)
    let sink = try FileSink(path: folder.path("pipe"))
    close(reader)
    // Through the queue: its thread is the one that SIGPIPE cannot reach.
    let queue = NotificationQueue(sinks: [sink])
    queue.enqueue(Samples.notification(.postDeleteKey, key: "k"))
    queue.shutdown(milliseconds: 30_000)
    #expect(sink.counters == SinkCounters(accepted: 0, lost: 1, errors: 1))
  }

  @Test func longBatchesGoOutBeforeTheFlush() throws {
    let folder = try Folder()
    let sink = try FileSink(path: folder.path("log"))
    deliver(1...100, to: sink)
    #expect(sink.counters.accepted > 0)
    sink.flush()
    #expect(try log(folder.path("log")).map(\.sequence) == Array(1...100))
  }
}
