import Glibc
import ProcessTable
import Testing

/// A program that waits, with an environment of the test's choosing; killed when the test is through.
final class Child {
  let id: pid_t

  init(_ path: String, _ arguments: [String], environment: [String] = []) throws {
    var id: pid_t = 0
    let words = ([path] + arguments).map { strdup($0) } + [nil]
    let variables = environment.map { strdup($0) } + [nil]
    defer { (words + variables).forEach { free($0) } }
    var failure = posix_spawn(&id, path, nil, nil, words, variables)
    // Another test's child may hold a descriptor of a file that was just written, until its own exec closes it.
    for _ in 0..<200 where failure == ETXTBSY {
      usleep(5000)
      failure = posix_spawn(&id, path, nil, nil, words, variables)
    }
    try #require(failure == 0, "posix_spawn of \(path) failed with \(failure)")
    self.id = id
    // The spawn comes back before the new image has its arguments and environment: the ready signal is that they can be
    // read.
    let table = ProcessTable()
    for _ in 0..<5000 {
      if table.context(forThread: id, uid: 0, gid: 0)?.commandLine != nil { return }
      usleep(1000)
    }
    Issue.record("\(path) does not run")
  }

  deinit {
    kill(id, SIGKILL)
    waitpid(id, nil, 0)
  }
}

/// Our own thread's id, as /proc/thread-self tells it.
func ownThreadID() -> Int32? {
  var target = [CChar](repeating: 0, count: 64)
  let count = readlink("/proc/thread-self", &target, target.count)
  let text = String(decoding: target.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  return text.split(separator: "/").last.flatMap { Int32($0) }
}
