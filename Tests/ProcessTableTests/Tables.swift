import Executive
import Glibc
import Synchronization
import Testing

@testable import ProcessTable

/// A table with the connector; nil, and said, where the kernel or the privileges do not give it.
func tableWithConnector(
  receiveBuffer: Int32 = 8 << 20, threadLimit: Int = 4096, workLimit: Int = 1 << 16,
  classify: @escaping ProcessTable.Classifier = { _ in Classification() }, _ name: String = #function
) -> ProcessTable? {
  do throws(ConnectorProblem) {
    // Another test's storm may swallow the probe of one with a small buffer.
    let monitor = try ProcessMonitor(receiveBuffer: receiveBuffer)
    return ProcessTable(
      monitor: monitor, problem: nil, callbacks: CallbackDirectory(), threadLimit: threadLimit, workLimit: workLimit,
      classify: classify)
  } catch {
    skipped(name, "\(error)")
    return nil
  }
}

func tableWithoutConnector(
  classify: @escaping ProcessTable.Classifier = { _ in Classification() }
) -> ProcessTable {
  ProcessTable(monitor: nil, problem: nil, callbacks: CallbackDirectory(), classify: classify)
}

/// Both, or the one that there is.
func tables(_ name: String = #function) -> [ProcessTable] {
  [tableWithConnector(name), tableWithoutConnector()].compactMap { $0 }
}

extension ProcessTable {
  func context(_ id: Int32) -> ProcessContext? { context(forThread: id, uid: 0, gid: 0) }
}

/// What subscribers were told of some processes.
final class Told: Sendable {
  private let list = Mutex<[ProcessNotification]>([])
  func note(_ notification: ProcessNotification) { list.withLock { $0.append(notification) } }
  func of(_ ids: Set<Int32>) -> [ProcessNotification] { list.withLock { $0 }.filter { ids.contains($0.processID) } }
  func of(_ id: Int32) -> [ProcessNotification] { of([id]) }
  func clear() { list.withLock { $0 = [] } }
  var all: [ProcessNotification] { list.withLock { $0 } }
}

extension ProcessTable {
  func subscribe(_ told: Told) throws -> CallbackObject<ProcessNotification>.Registration {
    let registration = subscribe { _, notification in if let notification { told.note(notification) } }
    settle()
    return try #require(registration)
  }
}

func waitUntil(_ milliseconds: Int = 10_000, _ condition: () -> Bool) -> Bool {
  for _ in 0..<milliseconds {
    if condition() { return true }
    usleep(1000)
  }
  return false
}

func spawn(_ path: String, _ arguments: [String] = []) throws -> pid_t {
  var id: pid_t = 0
  let words = ([path] + arguments).map { strdup($0) } + [nil]
  var variables: [UnsafeMutablePointer<CChar>?] = [strdup("PATH=/usr/bin:/bin"), nil]
  defer { (words + variables).forEach { free($0) } }
  let failure = posix_spawn(&id, path, nil, nil, words, &variables)
  try #require(failure == 0, "posix_spawn of \(path) failed with \(failure)")
  return id
}

/// A folder that is gone with the test.
final class Folder {
  let path: String

  init() throws {
    var template = Array("/tmp/regward-test-XXXXXX".utf8CString)
    try #require(mkdtemp(&template) != nil)
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  func write(_ name: String, _ text: String, mode: mode_t = 0o644) throws -> String {
    let path = path + "/" + name
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
    try #require(file >= 0)
    _ = text.withCString { Glibc.write(file, $0, strlen($0)) }
    fchmod(file, mode)
    close(file)
    return path
  }

  deinit {
    guard let directory = opendir(path) else { return }
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      unlink(path + "/" + name)
    }
    closedir(directory)
    rmdir(path)
  }
}
