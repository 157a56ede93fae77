import Executive
import Foundation
import HiveStorage
import Testing

/// The file of an open hive, changed by somebody else.
@Suite struct OutsideChangeTests {
  /// A hive on disk that is open with an uncommitted change, and its path.
  private func withOpenHive(_ body: (TestHive, String) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "regward-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    // The name without links, as HiveFile has it.
    let path = (try #require(realpath(folder, nil).map { String(cString: $0) })) + "/hive"
    try Hive.format(device: FileDevice(path: path, mode: .new), minorVersion: 5)
    let file = try HiveFile(path: path, access: .readWrite)
    let test = try TestHive(device: file.device, logs: file.logs)
    for number in 0..<50 { try test.set(UnicodeName("v\(number)"), of: test.root, to: bytes(1000)) }
    try test.commit()
    try test.set("later", of: test.root, to: [1])
    try body(test, path)
  }

  private func contents(_ path: String) -> [UInt8] {
    FileManager.default.contents(atPath: path).map { [UInt8]($0) } ?? []
  }

  private static let prelude = """
    import os,sys
    p=sys.argv[1]
    t=os.stat(p) if os.path.exists(p) else None
    def write(place):
      with open(p,'r+b') as f: f.seek(place); f.write(b'c')
    def set_back(): os.utime(p,ns=(t.st_atime_ns,t.st_mtime_ns))

    """

  /// Another process, as it would be: nothing here opens the file, which would lose the lock.
  private func python(_ script: String, _ path: String) throws {
    let (status, output) = try Shared.run("python3", ["-c", Self.prelude + script, path])
    #expect(status == 0, "\(output)")
  }

  enum Change: String, CaseIterable {
    case replaced = "d=open(p,'rb').read(); open(p+'2','wb').write(d); os.rename(p+'2',p)"
    case removed = "os.remove(p)"
    case renamed = "os.rename(p,p+'3')"
    case grown = "open(p,'ab').write(b'x')"
    case cut = "os.truncate(p,4096)"
    /// The time of writing is given back; the sequence numbers tell.
    case baseBlock = "write(4); set_back()"
    case written = "write(4096+2000)"
    case writtenAndSetBack = "write(4096*3+2000); set_back()"

    var expected: OutsideChange? {
      switch self {
      case .replaced: .replaced
      case .removed, .renamed: .removed
      case .baseBlock: .baseBlock
      case .written: .written
      case .writtenAndSetBack: .attributes
      case .grown, .cut: nil
      }
    }
  }

  @Test(arguments: Change.allCases) func whatSomebodyElseDidIsNotOverwritten(change: Change) throws {
    try withOpenHive { test, path in
      try python(change.rawValue, path)
      let (file, log, dump) = (contents(path), contents(path + ".LOG1"), test.dump())
      for _ in 0..<2 {
        #expect { try test.commit() } throws: { error in
          guard case HiveError.changedOutside(let name, let found)? = error as? HiveError else { return false }
          if case .size = found { return change.expected == nil && name == path }
          return found == change.expected && name == path
        }
      }
      #expect("\(HiveError.changedOutside(name: path, change: .written))".contains(path))
      // Neither the file nor the log, and the changes are still there.
      let isUntouched = contents(path) == file && contents(path + ".LOG1") == log
      #expect(isUntouched)
      #expect(test.hasUncommittedChanges)
      #expect(test.dump() == dump)
    }
  }

  /// Also where nobody flushes: a change finds it, and none is made from then on.
  @Test func aChangeFindsWhatSomebodyElseDid() throws {
    try withOpenHive { test, path in
      try python(Change.written.rawValue, path)
      let (file, log, dump) = (contents(path), contents(path + ".LOG1"), test.dump())
      usleep(150_000)
      let change = HiveError.changedOutside(name: path, change: .written)
      #expect(throws: change) { try test.set("more", of: test.root, to: [1]) }
      #expect(throws: HiveError.stopped(change)) { try test.set("more", of: test.root, to: [1]) }
      let isUntouched = contents(path) == file && contents(path + ".LOG1") == log && test.dump() == dump
      #expect(isUntouched)
    }
  }

  /// A file that was moved away and comes back is the same file.
  @Test func aFileThatComesBackIsCommittedTo() throws {
    try withOpenHive { test, path in
      try python("os.rename(p,p+'3')", path)
      #expect(throws: HiveError.changedOutside(name: path, change: .removed)) { try test.commit() }
      try python("os.rename(p+'3',p)", path)
      try test.commit()
      #expect(!test.hasUncommittedChanges)
    }
  }

  @Test(arguments: ["os.chmod(p,0o640)", "os.link(p,p+'4')", "open(p,'rb').read()", "os.stat(p)"])
  func attributesAndReadingAreNoReasonToRefuse(script: String) throws {
    try withOpenHive { test, path in
      try python(script, path)
      try test.commit()
      #expect(!test.hasUncommittedChanges)
    }
  }

  /// Our own commits, growing and not, one after the other.
  @Test func ourOwnWritesAreNoChangeFromOutside() throws {
    try withOpenHive { test, path in
      for round in 0..<30 {
        try test.set("v", of: test.root, to: bytes(round * 700, round))
        try test.commit()
      }
      test.expectSound()
      let again = try TestHive(device: MemoryDevice(contents(path)), access: .readOnly)
      #expect(again.dump() == test.dump())
    }
  }

  /// A commit that failed anywhere has changed the file, and is finished by the next.
  @Test func aCommitThatFailedIsNoChangeFromOutside() throws {
    let plan = FaultPlan()
    for fault in 0..<20 {
      var isDone = false
      try withOpenHive { test, path in
        plan.fail(at: nil)
        try test.commit()
        let logs = try LogPair(
          FileDevice(path: path + ".LOG1", mode: .writing), FileDevice(path: path + ".LOG2", mode: .writing))
        let device = try FaultyFile(path: path, plan: plan)
        let hive = try TestHive(device: device, logs: logs)
        try hive.set("big", of: hive.root, to: bytes(100_000))
        plan.fail(at: fault)
        isDone = (try? hive.commit()) != nil
        plan.fail(at: nil)
        try hive.commit()
        #expect(try TestHive(device: MemoryDevice(contents(path)), access: .readOnly).dump() == hive.dump())
      }
      if isDone {
        #expect(fault >= 3)
        return
      }
    }
    Issue.record("the commit never succeeds")
  }

  @Test func newFilesAreTheirOwnersAlone() throws {
    try withOpenHive { test, path in
      let old = umask(0)
      defer { umask(old) }
      try python("os.chmod(p,0o666); os.remove(p+'.LOG1')", path)
      try test.commit()
      try test.hive.saveKey(
        test.root, to: FileDevice(path: path + "-saved", mode: .new), time: FileTime(rawValue: 5))
      _ = try HiveFile(path: path, access: .readWrite)
      for suffix in ["-saved", ".LOG1"] {
        let attributes = try FileManager.default.attributesOfItem(atPath: path + suffix)
        #expect(attributes[.posixPermissions] as? Int == 0o600, "\(suffix)")
      }
      // Nothing is saved over what is there.
      #expect(throws: HiveError.device(operation: "open", name: path + "-saved", errno: EEXIST)) {
        _ = try FileDevice(path: path + "-saved", mode: .new)
      }
      try check(contents(path + "-saved"), name: "saved")
    }
  }
}

/// A file whose calls fail by plan, half done.
private final class FaultyFile: HiveDevice {
  private let file: FileDevice
  private let plan: FaultPlan
  var name: String { file.name }

  init(path: String, plan: FaultPlan) throws(HiveError) {
    file = try FileDevice(path: path, mode: .writing)
    self.plan = plan
  }

  private func refuse() throws(HiveError) {
    if plan.next() != .done { throw .device(operation: "use", name: name, errno: EIO) }
  }

  func size() throws(HiveError) -> Int { try file.size() }
  func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(HiveError) {
    try file.read(at: offset, into: buffer)
  }
  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(HiveError) {
    try file.write(UnsafeRawBufferPointer(rebasing: bytes.prefix(bytes.count / 2)), at: offset)
    try refuse()
    try file.write(bytes, at: offset)
  }
  func resize(to size: Int) throws(HiveError) {
    try file.resize(to: size)
    try refuse()
  }
  func close() {}
  func sync() throws(HiveError) {
    try refuse()
    try file.sync()
  }
  func rememberState() { file.rememberState() }
  func outsideChange() throws(HiveError) -> OutsideChange? { try file.outsideChange() }
}
