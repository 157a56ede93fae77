import Executive
import Glibc
import Synchronization
import Testing

@testable import ProcessTable

@Suite("Process connector (identity.md, 6 (a))")
struct ConnectorTests {
  /// As the kernel sent them (Linux 6.18, x86-64): header, cn_msg, what and cpu, time stamp, data.
  private static func datagram(_ what: String, _ data: String, length: String = "2800") -> [UInt8] {
    let text =
      "4c000000" + "0300" + "0000" + "00000000" + "00000000" + "01000000" + "01000000" + "07000000" + "00000000" + length
      + "0000" + what + "01000000" + "e3780efb450d0000" + data
    let digits = Array(text.utf8)
    return stride(from: 0, to: digits.count - 1, by: 2).compactMap {
      UInt8(String(decoding: digits[$0..<$0 + 2], as: UTF8.self), radix: 16)
    }
  }

  @Test func theLayoutIsTheKernels() throws {
    let fork = try #require(
      Self.datagram("01000000", "412d0000d22c0000472d0000422d00000000000000000000").withUnsafeBytes(ConnectorMessage.parse))
    #expect(fork.event == .fork(parent: 0x2CD2, child: 0x2D47, childProcess: 0x2D42))
    #expect(fork.processor == 1)
    #expect(fork.sequence == 7)
    #expect(fork.refusal == nil)
    func event(_ what: String, _ data: String) -> ProcessEvent? {
      Self.datagram(what, data).withUnsafeBytes(ConnectorMessage.parse)?.event
    }
    #expect(event("02000000", "462d0000452d000000000000000000000000000000000000") == .exec(process: 0x2D45))
    #expect(event("00000080", "462d0000452d000000000000110000000d2d00000d2d0000") == .exit(thread: 0x2D46, process: 0x2D45))
    #expect(event("00010000", "462d0000452d000011000000110000000000000000000000") == .trace(process: 0x2D45))
    #expect(event("00020000", "462d0000452d00006f6f742e64656661756c742d716f7300") == nil)
    let no = try #require(
      Self.datagram("00000000", "010000000000000000000000000000000000000000000000").withUnsafeBytes(ConnectorMessage.parse))
    #expect(no.refusal == 1)
    // Counted with the events, as kernels from 6.6 on do it.
    #expect(no.processor == 1)
  }

  @Test func whatIsCutIsNoMessage() {
    let whole = Self.datagram("01000000", "412d0000d22c0000472d0000422d00000000000000000000")
    for length in 0..<whole.count {
      let isMessage = whole[..<length].withUnsafeBytes { ConnectorMessage.parse($0) != nil }
      #expect(!isMessage, "\(length) bytes")
    }
    let long = Self.datagram("01000000", "412d0000", length: "ffff")
    #expect(long.withUnsafeBytes { ConnectorMessage.parse($0) == nil })
  }

  @Test func theGuardsInForceAreSaid() {
    #expect(tableWithoutConnector().guards == .executableAlone(nil))
    let refused = ProcessTable(
      monitor: nil, problem: .refused(EPERM), callbacks: CallbackDirectory(), classify: { _ in Classification() })
    #expect(refused.guards.description == "executable alone; no process connector: no permission (CAP_NET_ADMIN)")
    #expect(ConnectorProblem.refused(ECONNREFUSED).description == ConnectorProblem.silent.description)
    guard let table = tableWithConnector() else { return }
    #expect(table.guards == .connectorAndExecutable)
  }

  /// The probe of the start: in another network namespace the socket can be had and is silent.
  @Test func aSilentConnectorIsNotTakenForAQuietOne() throws {
    typealias Unshare = @convention(c) (Int32) -> Int32
    let symbol = try #require(dlsym(nil, "unshare"))
    // SAFETY: unshare takes and gives an int; Swift does not import it because it is behind _GNU_SOURCE.
    let unshare = unsafeBitCast(symbol, to: Unshare.self)
    let result = Outcome()
    // CLONE_NEWNET is for the calling thread only.
    let thread = SystemThread(name: "other-net") {
      guard unshare(0x4000_0000) == 0 else { return }
      do throws(ConnectorProblem) {
        _ = try ProcessMonitor()
        result.note(nil)
      } catch { result.note(error) }
    }
    thread?.join()
    guard let outcome = result.outcome else { return skipped(#function, "no network namespace can be made") }
    switch outcome {
    case .some(.silent), .some(.refused): break
    default: Issue.record("taken for good: \(String(describing: outcome))")
    }
  }

  private final class Outcome: @unchecked Sendable {
    // SAFETY: written by one thread and read after it was joined.
    var outcome: ConnectorProblem??
    func note(_ problem: ConnectorProblem?) { outcome = .some(problem) }
  }

  @Test func anOverflowIsToldAsALossAndThenItGoesOn() throws {
    guard var monitor = try? ProcessMonitor(receiveBuffer: 1) else { return skipped(#function, "no connector") }
    for _ in 0..<50 {
      let id = try spawn("/bin/true")
      waitpid(id, nil, 0)
    }
    var losses = 0
    taking: while true {
      switch monitor.next() {
      case .event: break
      case .loss: losses += 1
      case .nothing: break taking
      case .failure(let number): Issue.record("errno \(number)"); break taking
      }
    }
    #expect(losses > 0)
    let id = try spawn("/bin/true")
    waitpid(id, nil, 0)
    var wasSeen = false
    while case let found = monitor.next(), found != .nothing {
      if case .event(.fork(_, id, _)) = found { wasSeen = true }
      if case .loss = found { wasSeen = true }
    }
    #expect(wasSeen)
  }

  /// An identity that was true before the overflow does not survive it.
  @Test func afterAnOverflowEveryRecordIsReadAgain() throws {
    guard Python.isInstalled, let table = tableWithConnector(receiveBuffer: 1) else { return }
    let python = try Python()
    python.ask("1")
    let before = try #require(table.context(python.id)?.record)
    for _ in 0..<100 {
      let id = try spawn("/bin/true")
      waitpid(id, nil, 0)
    }
    // The exec's event is among those that found no room.
    python.tell("os.execv('\(Python.path)', ['python3', '-S', '-c', 'import os; os.write(1, b\"there\\\\n\"); os.read(0, 1)'])")
    #expect(python.answer() == "there")
    let after = try #require(table.context(python.id))
    #expect(after.record != before)
    #expect(after.commandLine?.contains("there") == true)
    #expect(after.startTicks == before.facts.startTicks)
    #expect(table.guards == .connectorAndExecutable)
  }

  /// What the worker has no time for is a loss, and made good when it has.
  @Test func moreWorkThanMayWaitIsALoss() throws {
    guard let table = tableWithConnector(workLimit: 3) else { return }
    let told = Told()
    let registration = try table.subscribe(told)
    defer { table.processCallback.unregister(registration) }
    let losses = table.statistics.losses
    for _ in 0..<10 {
      let id = try spawn("/bin/true")
      waitpid(id, nil, 0)
    }
    let child = try Child("/bin/sleep", ["60"])
    // Takes the events and leaves the work.
    _ = table.context(getpid())
    #expect(table.statistics.losses > losses)
    table.state.withLock { state in
      let announcements = state.work.count { if case .announce = $0 { true } else { false } }
      #expect(announcements <= 3)
    }
    table.settle()
    #expect(told.of(child.id).map(\.operationType) == [.created])
    // Not reaped yet: what remains of it is no new process.
    kill(child.id, SIGKILL)
    #expect(waitUntil { table.settle(); return told.of(child.id).count > 1 })
    table.state.withLock { $0.lose() }
    table.settle()
    #expect(told.of(child.id).map(\.operationType) == [.created, .terminated])
  }

  /// The environment of what was executed unseen is read, and nothing is kept of what ended unseen.
  @Test func whatWasLostIsLookedForAndTheGoneAreForgotten() throws {
    guard Python.isInstalled, let table = tableWithConnector(receiveBuffer: 1) else { return }
    let told = Told()
    let registration = try table.subscribe(told)
    let python = try Python(environment: ["LD_LIBRARY_PATH=/nowhere", "PATH=/bin"])
    python.ask("1")
    let gone = try spawn("/bin/true")
    waitpid(gone, nil, 0)
    table.state.withLock { state in
      state.followed[gone] = FollowedProcess(id: gone, parentID: nil)
      state.tainted[gone] = true
      state.leaderless[gone] = true
      state.lose()
    }
    table.settle()
    table.state.withLock { state in
      #expect(state.followed[gone] == nil && state.tainted[gone] == nil && state.leaderless[gone] == nil)
      #expect(state.tainted[python.id] == true)
    }
    table.processCallback.unregister(registration)
    python.ask("blank()")
    #expect(table.context(python.id)?.doubts == [.loaderEnvironment])
  }
}
