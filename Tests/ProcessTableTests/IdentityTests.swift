import Executive
import Glibc
import Synchronization
import Testing

@testable import ProcessTable

/// Each in both modes: with the connector, and with the executable alone.
@Suite("Who is calling (identity.md)", .enabled(if: Python.isInstalled, "/usr/bin/python3 is not installed"))
struct IdentityTests {
  /// The same interpreter, the same number, another program.
  private func execAgain(_ python: Python, _ environment: String = "os.environ", _ mark: String = "again") {
    python.tell("os.environ['PROGRAM'] = open('/proc/self/cmdline').read().split(chr(0))[3]")
    _ = python.answer()
    python.tell(
      "os.execve('\(Python.path)', ['python3', '-S', '-c', os.environ['PROGRAM'], '\(mark)'], dict(\(environment)))")
    #expect(python.ask("1 + 1") == "2")
  }

  @Test func aKnownCallerKeepsItsRecord() throws {
    for table in tables() {
      let python = try Python()
      python.ask("1")
      let record = try #require(table.context(python.id)?.record)
      for _ in 0..<3 { #expect(table.context(python.id)?.record === record) }
      #expect(record.execGeneration == 0)
    }
  }

  @Test func anotherScriptOfTheSameInterpreterIsAnotherIdentity() throws {
    for table in tables() {
      let python = try Python()
      python.ask("1")
      let before = try #require(table.context(python.id))
      execAgain(python)
      let after = try #require(table.context(python.id))
      #expect(after.record !== before.record, "\(table.guards)")
      #expect(after.startTicks == before.startTicks)
      #expect(after.executableFile == before.executableFile)
      #expect(after.commandLine?.hasSuffix("again") == true)
    }
  }

  @Test func everyExecCounts() throws {
    guard let table = tableWithConnector() else { return }
    let python = try Python()
    python.ask("1")
    #expect(table.context(python.id)?.record?.execGeneration == 0)
    // Not a word is different, so only the connector tells.
    execAgain(python)
    execAgain(python)
    #expect(table.context(python.id)?.record?.execGeneration == 2)
    execAgain(python)
    #expect(table.context(python.id)?.record?.execGeneration == 3)
  }

  @Test func anExecWithALoaderVariableIsADoubt() throws {
    for table in tables() {
      let python = try Python()
      python.ask("1")
      #expect(table.context(python.id)?.doubts == [])
      execAgain(python)
      #expect(table.context(python.id)?.doubts == [])
      execAgain(python, "os.environ, LD_LIBRARY_PATH='/nowhere'")
      #expect(table.context(python.id)?.doubts == [.loaderEnvironment], "\(table.guards)")
      execAgain(python, "PATH='/bin'")
      // With the same words and no connector nothing tells the exec from a blanked environment: the doubt stays.
      execAgain(python, "PATH='/bin', PROGRAM=os.environ.get('PROGRAM', '')", "other words")
      #expect(table.context(python.id)?.doubts == [], "\(table.guards)")
    }
  }

  @Test func aBlankedEnvironmentDoesNotTakeTheDoubtBack() throws {
    for table in tables() {
      let python = try Python(environment: ["LD_LIBRARY_PATH=/nowhere", "PATH=/bin"])
      python.ask("1")
      #expect(table.context(python.id)?.doubts == [.loaderEnvironment])
      python.ask("blank()")
      #expect(TaskDirectory.open(python.id)?.hasPlainEnvironment() == true)
      #expect(table.context(python.id)?.doubts == [.loaderEnvironment])
      // Another group: the record is read anew.
      #expect(table.context(forThread: python.id, uid: 0, gid: 7)?.doubts == [.loaderEnvironment])
    }
  }

  @Test func whatIsForkedHasTheForeignCodeToo() throws {
    guard let table = tableWithConnector() else { return }
    let python = try Python(environment: ["LD_LIBRARY_PATH=/nowhere", "PATH=/bin"])
    python.ask("1")
    #expect(table.context(python.id)?.doubts == [.loaderEnvironment])
    python.ask("blank()")
    // A fork of a fork, too.
    let answer = python.ask("os.fork() or (os.write(1, (str(os.fork() or signal.pause()) + '\\n').encode()), signal.pause())")
    let other = python.answer()
    let ids = [answer, other].compactMap { $0.flatMap { Int32($0) } }
    defer { ids.forEach { kill($0, SIGKILL) } }
    #expect(ids.count == 2)
    for id in ids {
      #expect(TaskDirectory.open(id)?.hasPlainEnvironment() == true)
      #expect(table.context(id)?.doubts == [.loaderEnvironment])
    }
  }

  private func isTainted(_ id: Int32, in table: ProcessTable) -> Bool { table.state.withLock { $0.tainted[id] != nil } }

  @Test func theEnvironmentIsReadAtTheExecAndNotAtTheFirstCall() throws {
    guard let table = tableWithConnector() else { return }
    table.start()
    defer { table.stop() }
    let python = try Python(environment: ["LD_LIBRARY_PATH=/nowhere", "PATH=/bin"])
    python.ask("1")
    #expect(waitUntil { isTainted(python.id, in: table) })
    python.ask("blank()")
    #expect(table.context(python.id)?.doubts == [.loaderEnvironment])
  }

  @Test func theEnvironmentOfWhatRunsAlreadyIsReadAtTheStart() throws {
    guard let table = tableWithConnector() else { return }
    let python = try Python(environment: ["LD_LIBRARY_PATH=/nowhere", "PATH=/bin"])
    python.ask("1")
    // Its exec was told before anybody looked after the table.
    _ = table.context(getpid())
    table.start()
    defer { table.stop() }
    #expect(waitUntil { isTainted(python.id, in: table) })
    python.ask("blank()")
    #expect(table.context(python.id)?.doubts == [.loaderEnvironment])
  }

  @Test func aThreadIsItsProcessAlsoWhenTheLeaderIsGone() throws {
    for table in tables() {
      let python = try Python()
      let thread = try #require(python.ask("spawn_thread()").flatMap { Int32($0) })
      let context = try #require(table.context(thread))
      #expect(thread != python.id)
      #expect(context.processID == python.id)
      #expect(context.threadID == thread)
      #expect(table.context(python.id)?.record === context.record)
      python.tell("libc.syscall(60, 0)")
      #expect(waitUntil { TaskDirectory.open(python.id)?.executable() == nil })
      let later = try #require(table.context(thread))
      #expect(later.processID == python.id)
      #expect(later.executable == context.executable)
      #expect(later.startTicks == context.startTicks)
      #expect(!later.doubts.contains(.noExecutable))
      kill(python.id, SIGKILL)
      #expect(waitUntil { table.context(thread) == nil })
      table.settle()
      table.sweep()
      #expect(table.records.allSatisfy { $0.processID != python.id })
    }
  }

  @Test func anImageInMemoryIsADoubt() throws {
    for table in tables() {
      let python = try Python()
      python.ask("1")
      #expect(table.context(python.id)?.doubts == [])
      python.ask("fd = os.memfd_create('x', 0)")
      python.ask("os.sendfile(fd, os.open('/bin/sleep', 0), 0, 10000000)")
      python.tell("os.execve('/proc/self/fd/' + str(fd), ['sleep', '60'], {})")
      #expect(waitUntil { table.context(python.id)?.commandLine == "sleep 60" })
      let context = try #require(table.context(python.id))
      #expect(context.doubts.contains(.deletedExecutable))
      #expect(context.executable?.hasPrefix("/memfd:") == true)
    }
  }

  @Test func aCopyOrALinkIsNotTheFileThatThePolicyNames() throws {
    let folder = try Folder()
    let source = try Python()
    source.ask("import shutil")
    let copy = folder.path + "/copy"
    let link = folder.path + "/link"
    source.ask("shutil.copy2('/bin/sleep', '\(copy)')")
    #expect(Glibc.link(copy, link) == 0)
    for table in tables() {
      let real = try Child("/bin/sleep", ["60"])
      let copied = try Child(copy, ["60"])
      let linked = try Child(link, ["60"])
      let trusted = try #require(table.context(real.id))
      let other = try #require(table.context(copied.id))
      #expect(other.executable == copy)
      #expect(other.executableFile?.inode != trusted.executableFile?.inode)
      #expect(table.context(linked.id)?.executable == link)
    }
  }

  @Test func aTracerIsSeenWhenItComesOnAnyThreadAndWhenItIsGone() throws {
    typealias Trace = @convention(c) (CLong, CLong, CLong, CLong) -> CLong
    let symbol = try #require(dlsym(nil, "ptrace"))
    // SAFETY: ptrace takes four words; Swift does not import it because it is declared variadic.
    let trace = unsafeBitCast(symbol, to: Trace.self)
    let (seize, detach, interrupt): (CLong, CLong, CLong) = (0x4206, 17, 0x4207)
    for table in tables() {
      let python = try Python()
      let thread = try #require(python.ask("spawn_thread()").flatMap { Int32($0) })
      #expect(table.context(python.id)?.doubts == [])
      guard trace(seize, CLong(thread), 0, 0) == 0 else { return skipped(#function, "ptrace is forbidden here") }
      // The caller is the leader; the tracer has another thread.
      #expect(table.context(python.id)?.doubts == [.traced], "\(table.guards)")
      #expect(table.context(python.id)?.doubts == [.traced], "\(table.guards)")
      #expect(trace(interrupt, CLong(thread), 0, 0) == 0)
      var status: Int32 = 0
      #expect(waitpid(thread, &status, 0x4000_0000) == thread)
      #expect(trace(detach, CLong(thread), 0, 0) == 0)
      #expect(table.context(python.id)?.doubts == [], "\(table.guards)")
    }
  }

  @Test func aGroupsExecutableIsItsMembersOwn() {
    let file = ExecutableFile(device: 1, inode: 1, ownerID: 0, mode: 0o775, links: 1, groupID: 50)
    #expect(file.canBeChanged(byUser: 7) { $0 == 50 })
    #expect(!file.canBeChanged(byUser: 7) { $0 == 51 })
    #expect(!file.canBeChanged(byUser: 0) { $0 == 50 })
    let others = ExecutableFile(device: 1, inode: 1, ownerID: 0, mode: 0o757, links: 1)
    #expect(others.canBeChanged(byUser: 7) { _ in false })
    let own = ExecutableFile(device: 1, inode: 1, ownerID: 7, mode: 0o555, links: 1)
    #expect(own.canBeChanged(byUser: 7) { _ in false })
  }

  /// The number is given again by way of the kernel's own counter, which only root may set.
  @Test func aNumberThatIsGivenAgainIsAnotherProcess() throws {
    for table in tables() {
      for attempt in 1...20 {
        let id: pid_t
        let before: ProcessContext
        do {
          let python = try Python()
          python.ask("1")
          id = python.id
          before = try #require(table.context(id))
        }
        // Field 22 counts in hundredths of a second.
        usleep(20_000)
        let counter = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC)
        guard counter >= 0 else { return skipped(#function, "ns_last_pid cannot be written") }
        let number = String(id - 1)
        let isWritten = number.withCString { write(counter, $0, strlen($0)) } > 0
        close(counter)
        guard isWritten else { return skipped(#function, "ns_last_pid cannot be written") }
        let python = try Python()
        python.ask("1")
        // Another test's process may have come between.
        guard python.id == id else {
          if attempt == 20 { skipped(#function, "the number went to others \(attempt) times") }
          continue
        }
        let after = try #require(table.context(id))
        #expect(after.record !== before.record, "\(table.guards)")
        #expect(after.startTicks > before.startTicks)
        #expect(after.record?.execGeneration == 0)
        break
      }
    }
  }

  @Test func theRecordIsKeptWhileSomebodyHoldsIt() throws {
    for table in tables() {
      weak var forgotten: ProcessRecord?
      var held: ProcessRecord?
      do {
        let python = try Python()
        python.ask("1")
        held = table.context(python.id)?.record
        forgotten = held
      }
      table.settle()
      table.sweep()
      #expect(held?.facts.commandLine?.hasPrefix("python3") == true)
      #expect(forgotten != nil)
      held = nil
      // The thread's entry goes with the exit event, or when its place is needed.
      if table.guards == .connectorAndExecutable { #expect(forgotten == nil) }
    }
  }

  @Test func noMoreThreadsAreRememberedThanAllowed() throws {
    guard let table = tableWithConnector(threadLimit: 5) else { return }
    let python = try Python()
    var threads: [Int32] = []
    for _ in 0..<12 { threads.append(try #require(python.ask("spawn_thread()").flatMap { Int32($0) })) }
    for _ in 0..<3 {
      for thread in threads { #expect(table.context(thread)?.processID == python.id) }
    }
    #expect(table.statistics.threads == 5)
    #expect(table.records.filter { $0.processID == python.id }.count == 1)
  }
}
