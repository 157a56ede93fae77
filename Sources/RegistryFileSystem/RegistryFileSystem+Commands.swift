internal import ConfigurationManager
internal import Executive
internal import Glibc

/// The lines that can be written to `/%ctl/cmd`. Each is a verb and its arguments with a tab before each (`why` takes a blank as well);
/// the answer is `ok`, or `error`, the errno's number and what is wrong.
///
/// Who writes the line is judged like anybody who does the operation. Paths of files are absolute and opened by the daemon, so only root
/// and the user who mounted may name one.
extension RegistryFileSystem {
  private struct Failure: Error {
    let errno: Errno
    var text: String

    init(_ errno: Errno, _ text: String = "") {
      self.errno = errno
      self.text = text.isEmpty ? String(cString: strerror(errno.rawValue)) : text
    }

    init(_ status: NTStatus) {
      let errno = Errno(status)
      switch status {
      case .accessDenied: self.init(errno, "a rule refuses it; `regward why` tells which")
      case .privilegeNotHeld: self.init(errno, "only root and the user who mounted may name files to the daemon")
      case .sharingViolation: self.init(errno, "the hive is in use")
      case .registryCorrupt: self.init(errno, "that is no hive, or a damaged one")
      default: self.init(errno)
      }
    }
  }

  func execute(_ line: [UInt8], by caller: Caller) -> String {
    let why = Array("why ".utf8)
    if line.starts(with: why) { return self.why(String(decoding: line.dropFirst(why.count), as: UTF8.self)) }
    guard let text = String(validating: line, as: UTF8.self) else { return answer(Failure(.illegalSequence)) }
    let fields = text.split(separator: "\t", omittingEmptySubsequences: false).map { String($0) }
    let verb = fields[0]
    let arguments = Array(fields.dropFirst())
    do throws(Failure) {
      switch (verb, arguments.count) {
      case ("why", 1): return self.why(arguments[0])
      case ("flush", 1):
        try withKey(arguments[0]) { key throws(NTStatus) in try registry.flushKey(key, toPrimary: true, by: caller) }
      case ("rename", 2): try rename(arguments[0], to: arguments[1], by: caller)
      case ("link", 2): try link(arguments[0], to: arguments[1], by: caller)
      case ("save", 2): try save(arguments[0], to: arguments[1], by: caller)
      case ("restore", 2): try restore(arguments[0], from: arguments[1], flags: 0, by: caller)
      case ("restore-force", 2):
        try restore(arguments[0], from: arguments[1], flags: Registry.forceRestore, by: caller)
      case ("replace", 3): try replace(arguments[0], by: arguments[1], savingTo: arguments[2], by: caller)
      case ("load", 2): try load(arguments[0], file: arguments[1], by: caller)
      case ("unload", 1): try unload(arguments[0], by: caller)
      default:
        let answer = handler.execute(verb, arguments, by: caller) { registryName(ofPath: $0.utf8) }
        guard let answer else { throw Failure(.invalid, "unknown command '\(verb)', or not the arguments that it takes") }
        return answer
      }
      return "ok\n"
    } catch { return answer(error) }
  }

  private func answer(_ failure: Failure) -> String { "error \(failure.errno.rawValue) \(failure.text)\n" }

  private func why(_ path: String) -> String {
    guard let name = registryName(ofPath: path.utf8) else { return "that path is no registry name\n" }
    return handler.why(name)
  }

  // MARK: The verbs

  /// Gives a key another last component; the way to change only the case, of which the kernel never tells.
  private func rename(_ path: String, to newName: String, by caller: Caller) throws(Failure) {
    try checkPermission(caller)
    let name = try newKeyName(newName)
    try withKey(path) { key throws(NTStatus) in try registry.renameKey(key, to: name, by: caller) }
    cache?.dropNames()
  }

  private func link(_ path: String, to target: String, by caller: Caller) throws(Failure) {
    try checkPermission(caller)
    let (parent, last) = split(path)
    let name = try newKeyName(last)
    try withKey(parent) { key throws(NTStatus) in
      try registry.setLink(named: name, in: key, to: UnicodeName(target), by: caller)
      dropTimes(of: key)
    }
    cache?.dropNames()
  }

  private func save(_ path: String, to file: String, by caller: Caller) throws(Failure) {
    try checkFile(file, by: caller)
    try withKey(path, about: file) { key throws(NTStatus) in try registry.saveKey(key, to: file, by: caller) }
  }

  private func restore(_ path: String, from file: String, flags: UInt32, by caller: Caller) throws(Failure) {
    try checkFile(file, by: caller)
    try withKey(path, about: file) { key throws(NTStatus) in
      guard flags & Registry.forceRestore != 0 || !hasWriters(below: key) else { throw .sharingViolation }
      try registry.restoreKey(key, from: file, flags: flags, by: caller) { inodes.unbindAll(below: key) }
      dropTimes(of: key)
    }
    cache?.dropNames()
  }

  private func replace(
    _ path: String, by newFile: String, savingTo oldFile: String, by caller: Caller
  ) throws(Failure) {
    try checkFile(newFile, by: caller)
    try checkFile(oldFile, by: caller)
    try withKey(path, about: newFile) { key throws(NTStatus) in
      guard !hasWriters(below: key) else { throw .sharingViolation }
      var root = key
      try registry.replaceKey(key, by: newFile, savingTo: oldFile, by: caller) {
        inodes.unbindAll(below: $0)
        root = $0
      }
      dropTimes(of: root)
    }
    cache?.dropNames()
  }

  private func load(_ path: String, file: String, by caller: Caller) throws(Failure) {
    try checkFile(file, by: caller)
    let components = path.split(separator: "/").compactMap { try? NameCodec.decode(Array($0.utf8)).name }
    guard let place = HivePlace(components) else {
      throw Failure(.invalid, "a hive is loaded at HKLM/NAME or HKU/NAME, in a mount of several hives")
    }
    do throws(NTStatus) { try registry.loadKey(at: place, file: file, by: caller) } catch { throw Failure(error) }
    try withKey(split(path).parent) { key throws(NTStatus) in dropTimes(of: key) }
    cache?.dropNames()
  }

  private func unload(_ path: String, by caller: Caller) throws(Failure) {
    try checkPrivilege(caller)
    try withKey(path) { key throws(NTStatus) in
      // What is open for writing would be lost.
      guard !hasWriters(below: key) else { throw .sharingViolation }
      try registry.unloadKey(key, by: caller)
    }
    try withKey(split(path).parent) { key throws(NTStatus) in dropTimes(of: key) }
    cache?.dropNames()
  }

  // MARK: Arguments

  private func checkPrivilege(_ caller: Caller) throws(Failure) {
    guard caller.userID == 0 || caller.userID == geteuid() else { throw Failure(.privilegeNotHeld) }
  }

  /// What the kernel asks before mkdir(2) and rename(2): the bits of directories, which are the same for all.
  private func checkPermission(_ caller: Caller) throws(Failure) {
    let bits: UInt32 =
      caller.userID == presentation.userID ? 0o200 : caller.groupID == presentation.groupID ? 0o020 : 0o002
    guard caller.userID == 0 || presentation.directoryPermissions & bits != 0 else { throw Failure(.accessDenied) }
  }

  private func checkFile(_ path: String, by caller: Caller) throws(Failure) {
    try checkPrivilege(caller)
    guard path.hasPrefix("/") else { throw Failure(.invalid, "a file is named by its whole path: '\(path)'") }
  }

  private func newKeyName(_ text: String) throws(Failure) -> UnicodeName {
    do throws(Errno) { return try newName(Array(text.utf8), isKey: true).name } catch {
      throw Failure(error, "'\(text)' cannot be a key's name")
    }
  }

  private func split(_ path: String) -> (parent: String, last: String) {
    guard let slash = path.lastIndex(of: "/") else { return ("", path) }
    return (String(path[..<slash]), String(path[path.index(after: slash)...]))
  }

  /// Opens the key at a path below the mount's root for as long as `body` runs.
  private func withKey<Result>(
    _ path: String, about file: String? = nil, _ body: (KeyControlBlock) throws(NTStatus) -> Result
  ) throws(Failure) -> Result {
    var isFound = false
    do throws(NTStatus) {
      var key = registry.root
      registry.retain(key)
      defer { registry.close(key) }
      for component in path.split(separator: "/") {
        guard let name = try? NameCodec.decode(Array(component.utf8)) else { throw .objectNameNotFound }
        let child = try registry.lookUp(name.name, in: key, among: .keys) { object -> KeyControlBlock? in
          if case .key(let child, _) = object { child } else { nil }
        }
        guard let child else { throw .objectNameNotFound }
        registry.close(key)
        key = child
      }
      isFound = true
      return try body(key)
    } catch {
      var failure = Failure(error)
      if error == .objectNameNotFound, !isFound { failure.text = "there is no key '\(path)' in this mount" }
      if let file, isFound, error != .accessDenied { failure.text = "\(file): \(failure.text)" }
      throw failure
    }
  }
}

extension RegistryFileSystem {
  /// readlink(2): where a link key leads, as a path below the mount's root. A target outside the mount is its own name, which leads
  /// nowhere.
  package func target(of nodeID: UInt64) throws(Errno) -> [UInt8] {
    guard let node = inodes.node(nodeID) else { throw .noEntry }
    guard case .key(let key, isLink: true) = node.kind else { throw .invalid }
    do { return try linkText(of: key) + [0] } catch { throw Errno(error) }
  }

  func linkText(of key: KeyControlBlock) throws(NTStatus) -> [UInt8] {
    guard let target = try registry.queryLinkTarget(of: key) else { return [0x3F] }
    var text: [UInt8] = []
    guard let path = registry.path(ofCompleteName: target) else {
      NameCodec.encode(target, into: &text)
      return text
    }
    // From the directory that the link lies in up to the mount's root.
    for _ in 1..<max(1, try registry.depth(of: key)) { text += [0x2E, 0x2E, 0x2F] }
    for (index, component) in path.enumerated() {
      if index > 0 { text.append(0x2F) }
      NameCodec.encode(component, into: &text)
    }
    return text.isEmpty ? [0x2E] : text
  }
}
