internal import Executive
internal import Glibc
internal import RegistryFileSystem

/// The changes of a `.reg` file, made one by one in a mount: as any process would, through its directories and its command file, so that
/// the kernel says who asks. Links in a key's path lead where they lead any other process.
final class RegFileImport {
  /// Paths are relative to the key that is imported to.
  enum Change {
    case key([UnicodeName])
    case deletedKey([UnicodeName])
    case value(UnicodeName, RegistryValue)
    case deletedValue(UnicodeName)
  }

  /// O_PATH of fcntl.h, which Swift does not see.
  private static let pathOnly: Int32 = 0o10000000

  /// A change that was not made.
  struct Refusal: Error {
    let line: Int
    let reason: String
  }

  private typealias Counts = (keys: Int, values: Int, deletedKeys: Int, deletedValues: Int)

  /// A line for the command file.
  private struct Step {
    /// Of the `.reg` file.
    let line: Int
    let text: [UInt8]
    let counted: WritableKeyPath<Counts, Int>
    /// The errno that says that there was nothing to do.
    let harmless: Int32?
  }

  /// A directory between the key that is imported to and the one in use; one that this import makes has no descriptor, it is found by its
  /// place below the mount point.
  private struct Level {
    let name: UnicodeName
    let descriptor: Int32
    let place: String
  }

  private let mount: RegFileMount
  private let isDryRun: Bool
  private let root: Int32
  private let commands: Int32
  private var levels: [Level] = []
  /// The current key below the mount point; nil when it could not be made.
  private var current: String?
  private var counts: Counts = (keys: 0, values: 0, deletedKeys: 0, deletedValues: 0)
  /// Steps that go to the daemon in one write: it does them in order, up to the first that is refused.
  private var waiting: [Step] = []
  private var waitingBytes = 0
  private let mostBytes: Int
  private var chunk = [UInt8](repeating: 0, count: 65536)

  /// With `isSingle` every refusal is told at once, so that what depends on it can be left out.
  init(into mount: RegFileMount, isDryRun: Bool, isSingle: Bool) throws(MountFailure) {
    self.mount = mount
    self.isDryRun = isDryRun
    mostBytes = isSingle ? 0 : 32768
    RegFileMount.raiseDescriptorLimit()
    root = open(mount.path, Self.pathOnly | O_DIRECTORY | O_CLOEXEC)
    commands = open(mount.place.mountPoint + "/%ctl/cmd", O_RDWR | O_CLOEXEC)
    guard root >= 0, commands >= 0 else { throw .system("cannot ask \(mount.place.mountPoint)", errno) }
  }

  deinit {
    for descriptor in levels.map(\.descriptor) + [root, commands] where descriptor >= 0 { close(descriptor) }
  }

  var summary: String {
    let verb = isDryRun ? "would be " : ""
    return "\(Console.count(counts.keys, "key")) \(verb)made, \(Console.count(counts.values, "value")) \(verb)set, "
      + "\(Console.count(counts.deletedKeys, "key")) and \(Console.count(counts.deletedValues, "value")) \(verb)deleted"
  }

  /// Makes a change, or puts it with those that are made together. Throws the first that was refused, this one or one before it; values of
  /// a key that could not be made are left out.
  func make(_ change: Change, line: Int) throws(Refusal) {
    switch change {
    case .key(let path): try makeKey(mount.directories(of: path), line)
    case .deletedKey(let path):
      try finish()
      if let reason = deleteKey(mount.directories(of: path)) { throw Refusal(line: line, reason: reason) }
    case .value(let name, let value):
      try changeValue(
        name, line, "set", ["\(value.type.rawValue)", Self.digits(value.data)], counted: \.values, harmless: nil)
    case .deletedValue(let name):
      try changeValue(name, line, "delete-value", [], counted: \.deletedValues, harmless: ENOENT)
    }
  }

  /// Makes what is waiting.
  func finish() throws(Refusal) {
    while !waiting.isEmpty {
      let steps = waiting
      waiting.removeAll(keepingCapacity: true)
      waitingBytes = 0
      guard Console.write(Array(steps.map(\.text).joined()), to: commands) else { throw silence(steps[0].line) }
      let answers = try readAnswers(steps)
      for (step, answer) in zip(steps, answers) {
        guard let failure = Self.failure(answer) else {
          counts[keyPath: step.counted] += 1
          continue
        }
        guard failure.errno == step.harmless else { throw Refusal(line: step.line, reason: failure.text) }
      }
      // What came behind one that had nothing to do.
      waiting = Array(steps.dropFirst(answers.count))
    }
  }

  // MARK: Keys

  private func makeKey(_ path: [UnicodeName], _ line: Int) throws(Refusal) {
    current = nil
    let missing: ArraySlice<UnicodeName>
    do throws(Failure) { missing = try descend(path[...]) } catch { throw Refusal(line: line, reason: error.reason) }
    var place = placeOfLast
    for name in missing {
      place += (place.isEmpty ? "" : "/") + Self.fileName(name)
      if isDryRun {
        if let refusal = askRules("create", place) { throw Refusal(line: line, reason: refusal) }
        counts.keys += 1
      } else {
        // One that was made before and left is there.
        try send(line, "create", [place], counted: \.keys, harmless: EEXIST)
      }
      levels.append(Level(name: name, descriptor: -1, place: place))
    }
    current = place
  }

  private func deleteKey(_ path: [UnicodeName]) -> String? {
    current = nil
    guard let last = path.last else { return "the key that is imported to is not deleted" }
    // What this import has made is opened now.
    leave(levels.firstIndex { $0.descriptor < 0 } ?? levels.count)
    do throws(Failure) {
      guard try descend(path.dropLast()).isEmpty else { return nil }
    } catch { return error.reason }
    let directory = levels.last?.descriptor ?? root
    var status = stat()
    guard fstatat(directory, Self.fileName(last), &status, AT_SYMLINK_NOFOLLOW) == 0 else {
      return errno == ENOENT ? nil : Console.reason(errno)
    }
    guard [S_IFDIR, S_IFLNK].contains(status.st_mode & S_IFMT) else { return nil }
    let place = placeOfLast + (placeOfLast.isEmpty ? "" : "/") + Self.fileName(last)
    // Before anything below it goes: of a tree that cannot go as a whole nothing does.
    if let refusal = askRules("delete", place) { return refusal }
    if isDryRun {
      counts.deletedKeys += 1
      return nil
    }
    return removeTree(Self.fileName(last), in: directory, at: place, isDirectory: status.st_mode & S_IFMT == S_IFDIR)
  }

  /// As `rm -r`: every value and key by itself. `place` is where it is, for people.
  private func removeTree(_ file: String, in directory: Int32, at place: String, isDirectory: Bool) -> String? {
    if isDirectory {
      let descriptor = openat(directory, file, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
      guard descriptor >= 0, let stream = fdopendir(descriptor) else { return "\(place): \(Console.reason(errno))" }
      defer { closedir(stream) }
      while let (bytes, kind) = DirectoryListing.next(stream) {
        let name = String(decoding: bytes, as: UTF8.self)
        if kind != .file {
          let refusal = removeTree(name, in: descriptor, at: place + "/" + name, isDirectory: kind == .directory)
          if let refusal { return refusal }
        } else if unlinkat(descriptor, name, 0) != 0, errno != ENOENT {
          return "\(place)/\(name): \(Console.reason(errno))"
        } else {
          counts.deletedValues += 1
        }
      }
    }
    guard unlinkat(directory, file, isDirectory ? AT_REMOVEDIR : 0) == 0 || errno == ENOENT else {
      return "\(place): \(Console.reason(errno))"
    }
    counts.deletedKeys += 1
    return nil
  }

  // MARK: Values

  private func changeValue(
    _ name: UnicodeName, _ line: Int, _ verb: String, _ arguments: [String], counted: WritableKeyPath<Counts, Int>,
    harmless: Int32?
  ) throws(Refusal) {
    guard let current else { return }
    if isDryRun {
      if let refusal = askRules(verb, current + "/" + Self.fileName(name)) { throw Refusal(line: line, reason: refusal) }
      counts[keyPath: counted] += 1
      return
    }
    let bytes = name.units.flatMap { [UInt8($0 >> 8), UInt8(truncatingIfNeeded: $0)] }
    try send(line, verb, [current, Self.digits(bytes)] + arguments, counted: counted, harmless: harmless)
  }

  // MARK: Directories

  private struct Failure: Error {
    let reason: String
  }

  private func leave(_ count: Int) {
    for level in levels[count...] where level.descriptor >= 0 { close(level.descriptor) }
    levels.removeSubrange(count...)
  }

  /// Goes to the deepest directory of the path that is there; what is left of the path.
  private func descend(_ path: ArraySlice<UnicodeName>) throws(Failure) -> ArraySlice<UnicodeName> {
    leave(zip(levels, path).prefix { $0.name == $1 }.count)
    var rest = path.dropFirst(levels.count)
    // Below a key that was just made there is only what was made, too.
    while let name = rest.first, levels.last.map({ $0.descriptor >= 0 }) ?? true {
      let descriptor = openat(
        levels.last?.descriptor ?? root, Self.fileName(name), Self.pathOnly | O_DIRECTORY | O_CLOEXEC)
      guard descriptor >= 0 else {
        // A value of that name is no key.
        if errno == ENOENT || errno == ENOTDIR { break }
        throw Failure(reason: Console.reason(errno))
      }
      levels.append(Level(name: name, descriptor: descriptor, place: ""))
      rest = rest.dropFirst()
    }
    return rest
  }

  /// The path below the mount point of the directory in use, links resolved; where that is too long to be told, as it was named.
  private var placeOfLast: String {
    if let last = levels.last, last.descriptor < 0 { return last.place }
    var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = target.withUnsafeMutableBytes { buffer in
      buffer.baseAddress.map {
        readlink("/proc/self/fd/\(levels.last?.descriptor ?? root)", $0.assumingMemoryBound(to: CChar.self), buffer.count)
      } ?? -1
    }
    let point = Array(mount.place.mountPoint.utf8)
    if count > 0, count < target.count, target.starts(with: point) {
      return String(decoding: target[point.count..<count].drop { $0 == 0x2F }, as: UTF8.self)
    }
    return ([mount.place.relative] + levels.map { Self.fileName($0.name) }).filter { !$0.isEmpty }.joined(separator: "/")
  }

  private static func fileName(_ name: UnicodeName) -> String {
    var bytes: [UInt8] = []
    NameCodec.encode(name, into: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  // MARK: Commands

  private func send(
    _ line: Int, _ verb: String, _ arguments: [String], counted: WritableKeyPath<Counts, Int>, harmless: Int32?
  ) throws(Refusal) {
    let text = Array((([verb] + arguments).joined(separator: "\t") + "\n").utf8)
    waiting.append(Step(line: line, text: text, counted: counted, harmless: harmless))
    waitingBytes += text.count
    if waitingBytes > mostBytes { try finish() }
  }

  private func silence(_ line: Int) -> Refusal {
    Refusal(line: line, reason: "the mount does not answer: \(Console.reason(errno))")
  }

  /// One a step, up to the first that failed: no step behind it was done.
  private func readAnswers(_ steps: [Step]) throws(Refusal) -> [Substring] {
    var text = ""
    while true {
      let answers = text.split(separator: "\n")
      if text.utf8.last == 0x0A, answers.count >= steps.count || answers.last.flatMap(Self.failure) != nil { return answers }
      guard let more = readSome() else { throw silence(steps[0].line) }
      text += more
    }
  }

  private func readSome() -> String? {
    let count = chunk.withUnsafeMutableBytes { read(commands, $0.baseAddress, $0.count) }
    return count > 0 ? String(decoding: chunk.prefix(count), as: UTF8.self) : nil
  }

  /// `error 13 what is wrong`; nil for any other answer.
  private static func failure(_ answer: Substring) -> (errno: Int32, text: String)? {
    let parts = answer.split(separator: " ", maxSplits: 2)
    guard parts.count == 3, parts[0] == "error", let errno = Int32(parts[1]) else { return nil }
    return (errno, String(parts[2]))
  }

  /// What the rules of the mount would say; nil for leave.
  private func askRules(_ operation: String, _ path: String) -> String? {
    guard Console.write(Array("can-i\t\(operation)\t\(path)\n".utf8), to: commands), let answer = readSome() else {
      return "the mount does not answer: \(Console.reason(errno))"
    }
    if answer.hasPrefix("allow") { return nil }
    let reason = answer.prefix { $0 != "\n" }
    return reason.hasPrefix("deny: ") ? "\(operation) \(path): refused: \(reason.dropFirst(6))" : "\(operation) \(path): \(reason)"
  }

  private static func digits(_ bytes: [UInt8]) -> String {
    String(unsafeUninitializedCapacity: bytes.count * 2) { text in
      for (place, byte) in bytes.enumerated() {
        for (half, digit) in [byte >> 4, byte & 15].enumerated() {
          text[place * 2 + half] = digit < 10 ? 0x30 + digit : 0x57 + digit
        }
      }
      return bytes.count * 2
    }
  }
}
