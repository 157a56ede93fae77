import Glibc
import Testing

/// A Python program that does as it is told, a line at a time; killed when the test is through.
///
/// `ask` sends a line of Python, which is evaluated (or executed), and waits for the result: the answer is the signal that it
/// has been done.
final class Python {
  static let path = "/usr/bin/python3"
  static let isInstalled = access(path, X_OK) == 0

  /// Reads lines and answers each, from the same standard input after an exec as well.
  static let program = """
    import ctypes, os, signal, sys, threading
    libc = ctypes.CDLL(None)
    def next_line():
        line = b""
        while not line.endswith(b"\\n"):
            byte = os.read(0, 1)
            if not byte: os._exit(0)
            line += byte
        return line.decode().strip()
    def serve():
        while True:
            line = next_line()
            try: result = eval(line)
            except SyntaxError:
                exec(line, globals()); result = None
            os.write(1, (str(result) + "\\n").encode())
    def environment():
        fields = open("/proc/self/stat").read().rpartition(")")[2].split()
        return int(fields[47]), int(fields[48])
    def blank():
        start, end = environment()
        ctypes.memset(start, 0, end - start)
    def spawn_thread():
        ready = threading.Event(); ids = []
        def run():
            ids.append(threading.get_native_id()); ready.set(); serve_quietly()
        threading.Thread(target=run, daemon=True).start(); ready.wait(); return ids[0]
    def serve_quietly():
        while True: signal.pause()
    serve()
    """

  let id: pid_t
  private let input: Int32
  private let output: Int32

  init(
    executable: String = path, _ arguments: [String] = ["-S", "-c", program], environment: [String] = ["PATH=/usr/bin:/bin"]
  ) throws {
    var toChild: [Int32] = [-1, -1]
    var fromChild: [Int32] = [-1, -1]
    try #require(pipe(&toChild) == 0)
    try #require(pipe(&fromChild) == 0)
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawn_file_actions_adddup2(&actions, toChild[0], 0)
    posix_spawn_file_actions_adddup2(&actions, fromChild[1], 1)
    for end in toChild + fromChild { posix_spawn_file_actions_addclose(&actions, end) }
    var id: pid_t = 0
    let words = (["python3"] + arguments).map { strdup($0) } + [nil]
    let variables = environment.map { strdup($0) } + [nil]
    defer { (words + variables).forEach { free($0) } }
    let failure = posix_spawn(&id, executable, &actions, nil, words, variables)
    posix_spawn_file_actions_destroy(&actions)
    close(toChild[0])
    close(fromChild[1])
    // Other tests spawn as well: their children must not keep these open.
    _ = fcntl(toChild[1], F_SETFD, FD_CLOEXEC)
    _ = fcntl(fromChild[0], F_SETFD, FD_CLOEXEC)
    input = toChild[1]
    output = fromChild[0]
    self.id = id
    try #require(failure == 0, "posix_spawn of \(executable) failed with \(failure)")
  }

  func tell(_ line: String) { _ = (line + "\n").withCString { write(input, $0, strlen($0)) } }

  /// What the program answers, nil when it is gone.
  func answer() -> String? {
    var line: [UInt8] = []
    var byte: UInt8 = 0
    while read(output, &byte, 1) == 1 {
      if byte == 0x0A { return String(decoding: line, as: UTF8.self) }
      line.append(byte)
    }
    return nil
  }

  @discardableResult func ask(_ line: String) -> String? {
    tell(line)
    return answer()
  }

  /// The program, as an argument in Python.
  static var quoted: String { "globals()['program']" }

  deinit {
    close(input)
    close(output)
    kill(id, SIGKILL)
    waitpid(id, nil, 0)
  }
}

/// The skip of what cannot be tried here is said, not silent.
func skipped(_ what: String, _ why: String) { print("\(what) is skipped: \(why)") }
