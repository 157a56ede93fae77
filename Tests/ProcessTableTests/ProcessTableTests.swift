import Executive
import Glibc
@testable import ProcessTable
import Testing

@Suite("Process table (identity.md)")
struct ProcessTableReadingTests {
  let table = ProcessTable()

  @Test func ourOwnThreadIsOurProcess() throws {
    let thread = try #require(ownThreadID())
    let context = try #require(table.context(forThread: thread, uid: getuid(), gid: getgid()))
    #expect(context.processID == getpid())
    #expect(context.threadID == thread)
    #expect(context.parentID == getppid())
    #expect(context.sessionID == getsid(0))
    #expect(context.userID == getuid())
    #expect(context.commandLine?.contains("\0") == false)
    #expect(!context.doubts.contains(.foreignUserNamespace))
    #expect(!context.doubts.contains(.noExecutable))
    var own = stat()
    try #require(stat("/proc/self/exe", &own) == 0)
    #expect(context.executableFile?.inode == UInt64(own.st_ino))
    #expect(context.executableFile?.device == UInt64(own.st_dev))
    #expect(context.executableFile?.ownerID == own.st_uid)
  }

  @Test func theStartTimeIsTheProcessesAndPlausible() throws {
    let child = try Child("/bin/sleep", ["60"])
    let context = try #require(table.context(forThread: child.id, uid: 0, gid: 0))
    let age = Int64(FileTime.now().rawValue) - Int64(context.startTime.rawValue)
    #expect(abs(age) < 600_000_000, "started \(age) units ago")
    #expect(context.startTicks > 0)
    #expect(context.commandLine == "/bin/sleep 60")
    #expect(context == table.context(forThread: child.id, uid: 0, gid: 0))
  }

  @Test func nobodyIsBehindZeroANegativeNumberOrADeadProcess() throws {
    #expect(table.context(forThread: 0, uid: 0, gid: 0) == nil)
    #expect(table.context(forThread: -1, uid: 0, gid: 0) == nil)
    var id: pid_t = 0
    do {
      let child = try Child("/bin/sleep", ["60"])
      id = child.id
      #expect(table.context(forThread: id, uid: 0, gid: 0) != nil)
    }
    #expect(table.context(forThread: id, uid: 0, gid: 0) == nil)
  }

  @Test func aPlainProgramOfRootsLeavesNoDoubt() throws {
    let child = try Child("/bin/sleep", ["60"], environment: ["PATH=/bin", "OLD_LD_PRELOAD=x"])
    let context = try #require(table.context(forThread: child.id, uid: 1000, gid: 1000))
    #expect(context.doubts == [])
    #expect(context.executableFile?.belongsToRoot == true)
  }

  @Test(arguments: ["LD_PRELOAD=", "LD_AUDIT=/x", "LD_LIBRARY_PATH=/x"])
  func aLoaderVariableIsADoubt(variable: String) throws {
    let child = try Child("/bin/sleep", ["60"], environment: ["A=b", variable])
    let context = try #require(table.context(forThread: child.id, uid: 1000, gid: 1000))
    #expect(context.doubts == [.loaderEnvironment])
  }

  @Test func aTracedProcessIsADoubt() throws {
    typealias Trace = @convention(c) (CLong, CLong, CLong, CLong) -> CLong
    let seize: CLong = 0x4206
    let symbol = try #require(dlsym(nil, "ptrace"))
    // SAFETY: ptrace takes four words; Swift does not import it because it is declared variadic.
    let trace = unsafeBitCast(symbol, to: Trace.self)
    let child = try Child("/bin/sleep", ["60"])
    guard trace(seize, CLong(child.id), 0, 0) == 0 else {
      print("aTracedProcessIsADoubt is skipped: ptrace is forbidden here")
      return
    }
    #expect(table.context(forThread: child.id, uid: 1000, gid: 0)?.doubts == [.traced])
  }

  private static let canUnshare = access("/usr/bin/unshare", X_OK) == 0

  @Test(.enabled(if: canUnshare, "unshare is not installed"))
  func anotherUserNamespaceIsADoubt() throws {
    let child = try Child("/usr/bin/unshare", ["-U", "/bin/sleep", "60"])
    for _ in 0..<5000 {
      guard let context = table.context(forThread: child.id, uid: 1000, gid: 0) else { break }
      if context.commandLine == "/bin/sleep 60" {
        #expect(context.doubts.contains(.foreignUserNamespace))
        return
      }
      usleep(1000)
    }
    print("anotherUserNamespaceIsADoubt is skipped: user namespaces are forbidden here")
  }

  @Test func aDeletedExecutableIsADoubt() throws {
    var template = Array("/tmp/regward-test-XXXXXX".utf8CString)
    try #require(mkdtemp(&template) != nil)
    let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let copy = folder + "/sleep"
    defer {
      unlink(copy)
      rmdir(folder)
    }
    let source = open("/bin/sleep", O_RDONLY)
    let target = open(copy, O_WRONLY | O_CREAT | O_CLOEXEC, 0o755)
    try #require(source >= 0 && target >= 0)
    var chunk = [UInt8](repeating: 0, count: 65536)
    while case let count = read(source, &chunk, chunk.count), count > 0 { _ = write(target, chunk, count) }
    close(source)
    close(target)
    let child = try Child(copy, ["60"])
    let before = try #require(table.context(forThread: child.id, uid: getuid() + 1, gid: 0))
    #expect(before.doubts == [])
    #expect(before.executable == copy)
    if getuid() == 0 { chown(copy, 4242, 4242) }
    let owner = getuid() == 0 ? 4242 : getuid()
    if owner != 0 {
      #expect(table.context(forThread: child.id, uid: owner, gid: 0)?.doubts == [.ownExecutable])
    }
    unlink(copy)
    #expect(table.context(forThread: child.id, uid: getuid() + 1, gid: 0)?.doubts.contains(.deletedExecutable) == true)
  }
}
