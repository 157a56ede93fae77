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

  private let mount: RegFileMount
  private let isDryRun: Bool
  private let commands: Int32
  private var chunk = [UInt8](repeating: 0, count: 4096)
  /// The directories from the key that is imported to down to the one in use, and their descriptors: one more than names.
  private var names: [UnicodeName] = []
  private var directories: [Int32]
  /// The current key below the mount point; nil when it could not be made.
  private var current: String?
  private var counts = (keys: 0, values: 0, deletedKeys: 0, deletedValues: 0)

  init(into mount: RegFileMount, isDryRun: Bool) throws(MountFailure) {
    self.mount = mount
    self.isDryRun = isDryRun
    RegFileMount.raiseDescriptorLimit()
    let root = open(mount.path, Self.pathOnly | O_DIRECTORY | O_CLOEXEC)
    directories = [root]
    commands = open(mount.place.mountPoint + "/%ctl/cmd", O_RDWR | O_CLOEXEC)
    guard root >= 0, commands >= 0 else { throw .system("cannot ask \(mount.place.mountPoint)", errno) }
  }

  deinit {
    for descriptor in directories + [commands] where descriptor >= 0 { close(descriptor) }
  }

  var summary: String {
    func count(_ number: Int, _ what: String) -> String { "\(number) \(what)\(number == 1 ? "" : "s")" }
    let verb = isDryRun ? "would be " : ""
    return "\(count(counts.keys, "key")) \(verb)made, \(count(counts.values, "value")) \(verb)set, "
      + "\(count(counts.deletedKeys, "key")) and \(count(counts.deletedValues, "value")) \(verb)deleted"
  }

  /// Why the change was not made; nil when it was, when there was nothing to do, and for values of a key that could not be made.
  func make(_ change: Change) -> String? {
    switch change {
    case .key(let path): return makeKey(mount.directories(of: path))
    case .deletedKey(let path): return deleteKey(mount.directories(of: path))
    case .value(let name, let value):
      return changeValue(name, "set", ["\(value.type.rawValue)", Self.digits(value.data)], count: \.values)
    case .deletedValue(let name): return changeValue(name, "delete-value", [], count: \.deletedValues)
    }
  }

  // MARK: Keys

  private func makeKey(_ path: [UnicodeName]) -> String? {
    current = nil
    var missing: [UnicodeName]
    switch descend(path) {
    case .success(let rest): missing = Array(rest)
    case .failure(let failure): return failure.reason
    }
    var place = placeOfLast
    while let name = missing.first {
      place += (place.isEmpty ? "" : "/") + Self.fileName(name)
      if isDryRun {
        if let refusal = askRules("create", place) { return refusal }
      } else if let refusal = ask("create", [place]) {
        return refusal
      }
      counts.keys += 1
      missing.removeFirst()
      if !isDryRun, let failure = enter(name) { return Console.reason(failure) }
    }
    current = isDryRun ? place : placeOfLast
    return nil
  }

  private func deleteKey(_ path: [UnicodeName]) -> String? {
    current = nil
    guard let last = path.last else { return "the key that is imported to is not deleted" }
    switch descend(path.dropLast()) {
    case .success(let missing) where !missing.isEmpty: return nil
    case .success: break
    case .failure(let failure): return failure.reason
    }
    let directory = directories[directories.count - 1]
    var status = stat()
    guard fstatat(directory, Self.fileName(last), &status, AT_SYMLINK_NOFOLLOW) == 0 else {
      return errno == ENOENT ? nil : Console.reason(errno)
    }
    guard [S_IFDIR, S_IFLNK].contains(status.st_mode & S_IFMT) else { return nil }
    if isDryRun {
      if let refusal = askRules("delete", placeOfLast + "/" + Self.fileName(last)) { return refusal }
      counts.deletedKeys += 1
      return nil
    }
    return removeTree(Self.fileName(last), in: directory, isDirectory: status.st_mode & S_IFMT == S_IFDIR)
  }

  /// As `rm -r`: every value and key by itself.
  private func removeTree(_ file: String, in directory: Int32, isDirectory: Bool) -> String? {
    if isDirectory {
      let descriptor = openat(directory, file, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
      guard descriptor >= 0, let stream = fdopendir(descriptor) else { return "\(file): \(Console.reason(errno))" }
      defer { closedir(stream) }
      while let (bytes, kind) = DirectoryListing.next(stream) {
        let name = String(decoding: bytes, as: UTF8.self)
        if kind != .file {
          if let refusal = removeTree(name, in: descriptor, isDirectory: kind == .directory) { return refusal }
        } else if unlinkat(descriptor, name, 0) != 0, errno != ENOENT {
          return "\(name): \(Console.reason(errno))"
        } else {
          counts.deletedValues += 1
        }
      }
    }
    guard unlinkat(directory, file, isDirectory ? AT_REMOVEDIR : 0) == 0 || errno == ENOENT else {
      return "\(file): \(Console.reason(errno))"
    }
    counts.deletedKeys += 1
    return nil
  }

  // MARK: Values

  private func changeValue(
    _ name: UnicodeName, _ verb: String, _ arguments: [String],
    count: WritableKeyPath<(keys: Int, values: Int, deletedKeys: Int, deletedValues: Int), Int>
  ) -> String? {
    guard let current else { return nil }
    if isDryRun {
      if let refusal = askRules(verb, current + "/" + Self.fileName(name)) { return refusal }
    } else {
      let bytes = name.units.flatMap { [UInt8($0 >> 8), UInt8(truncatingIfNeeded: $0)] }
      var isThere = true
      if let refusal = ask(verb, [current, Self.digits(bytes)] + arguments, missing: { isThere = false }) {
        return "'\(name)': \(refusal)"
      }
      guard isThere else { return nil }
    }
    counts[keyPath: count] += 1
    return nil
  }

  // MARK: Directories

  private struct Failure: Error {
    let reason: String
  }

  /// Goes to the deepest directory of the path that is there; what is left of the path.
  private func descend(_ path: some Collection<UnicodeName>) -> Result<ArraySlice<UnicodeName>, Failure> {
    let path = Array(path)
    let shared = zip(names, path).prefix { $0 == $1 }.count
    while names.count > shared {
      names.removeLast()
      close(directories.removeLast())
    }
    for index in shared..<path.count {
      switch enter(path[index]) {
      case nil: continue
      // A value of that name is no key.
      case ENOENT?, ENOTDIR?: return .success(path[index...])
      case let failure?: return .failure(Failure(reason: Console.reason(failure)))
      }
    }
    return .success([])
  }

  /// An errno, or nil.
  private func enter(_ name: UnicodeName) -> Int32? {
    let descriptor = openat(
      directories[directories.count - 1], Self.fileName(name), Self.pathOnly | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return errno }
    directories.append(descriptor)
    names.append(name)
    return nil
  }

  /// The path below the mount point of the directory in use, links resolved; where that is too long to be told, as it was named.
  private var placeOfLast: String {
    var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = target.withUnsafeMutableBytes { buffer in
      buffer.baseAddress.map {
        readlink("/proc/self/fd/\(directories[directories.count - 1])", $0.assumingMemoryBound(to: CChar.self), buffer.count)
      } ?? -1
    }
    let point = Array(mount.place.mountPoint.utf8)
    if count > 0, count < target.count, target.starts(with: point) {
      return String(decoding: target[point.count..<count].drop { $0 == 0x2F }, as: UTF8.self)
    }
    return ([mount.place.relative] + names.map(Self.fileName)).filter { !$0.isEmpty }.joined(separator: "/")
  }

  private static func fileName(_ name: UnicodeName) -> String {
    var bytes: [UInt8] = []
    NameCodec.encode(name, into: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  // MARK: Commands

  /// Why the daemon refuses; nil when it did it. What is not there to be deleted is no refusal.
  private func ask(_ verb: String, _ arguments: [String], missing: () -> Void = {}) -> String? {
    guard let answer = exchange(verb, arguments) else { return "the mount does not answer: \(Console.reason(errno))" }
    guard answer.hasPrefix("error ") else { return nil }
    // `error 13 what is wrong`
    let parts = answer.dropLast().split(separator: " ", maxSplits: 2)
    if parts.count > 1, Int32(parts[1]) == ENOENT, verb == "delete-value" {
      missing()
      return nil
    }
    return parts.count > 2 ? String(parts[2]) : answer
  }

  /// What the rules of the mount would say; nil for leave.
  private func askRules(_ operation: String, _ path: String) -> String? {
    guard let answer = exchange("can-i", [operation, path]) else {
      return "the mount does not answer: \(Console.reason(errno))"
    }
    return answer.hasPrefix("allow") ? nil : String(answer.prefix { $0 != "\n" })
  }

  private func exchange(_ verb: String, _ arguments: [String]) -> String? {
    let line = ([verb] + arguments).joined(separator: "\t") + "\n"
    guard Console.write(Array(line.utf8), to: commands) else { return nil }
    // It is whole when the line was taken, and ends with a line feed: no read more to find its end.
    var answer: [UInt8] = []
    while answer.last != 0x0A {
      let count = chunk.withUnsafeMutableBytes { read(commands, $0.baseAddress, $0.count) }
      guard count > 0 else { return nil }
      answer += chunk.prefix(count)
    }
    return String(decoding: answer, as: UTF8.self)
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
