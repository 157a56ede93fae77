import Synchronization
import Testing

@testable import RegistryFileSystem

/// What a reader of `/%ctl/events` gets.
@Suite struct EventSessionTests {
  private final class Lines: EventStream {
    let waiting: Mutex<[String]>
    let ended = Atomic(false)
    let closed = Atomic(false)
    init(_ lines: [String]) { waiting = Mutex(lines) }
    func nextLine() -> [UInt8]? { waiting.withLock { $0.isEmpty ? nil : Array($0.removeFirst().utf8) } }
    var isEnded: Bool { ended.load(ordering: .relaxed) }
    func close() { closed.store(true, ordering: .relaxed) }
  }

  @Test func linesAreReadInPiecesOfAnySize() {
    let lines = Lines(["one\n", "two\n", "three\n"])
    let session = EventSession(lines)
    #expect(session.read(6).map { String(decoding: $0, as: UTF8.self) } == "one\ntw")
    #expect(session.read(100).map { String(decoding: $0, as: UTF8.self) } == "o\nthree\n")
  }

  @Test func nothingIsWaitedForUnlessMoreMayCome() {
    let lines = Lines([])
    let session = EventSession(lines)
    #expect(session.read(10) == nil)
    #expect(session.read(0) == [])
    lines.ended.store(true, ordering: .relaxed)
    #expect(session.read(10) == [])
    session.close()
    let isClosed = lines.closed.load(ordering: .relaxed)
    #expect(isClosed)
  }
}
