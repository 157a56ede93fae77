internal import ConfigurationManager
internal import Executive
internal import Glibc

/// The lines that can be written to `/%ctl/cmd`. Each is a verb and its arguments with a tab before each (`why` takes a blank as well);
/// the answer is `ok`, or `error`, the errno's number and what is wrong.
///
/// Who writes the line is judged like anybody who does the operation. Paths of files are absolute and opened by the daemon, so only root
/// and the user who mounted may name one.
extension RegistryFileSystem {
  struct Failure: Error {
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
      case .mediaWriteProtected: self.init(errno, "the mount, or the hive, is for reading only")
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
      case ("create", 1): try create(arguments[0], by: caller)
      case ("set", 4):
        try setValue(of: arguments[0], named: arguments[1], type: arguments[2], to: arguments[3], by: caller)
      case ("delete-value", 2): try deleteValue(of: arguments[0], named: arguments[1], by: caller)
      case ("save", 2): try save(arguments[0], to: arguments[1], by: caller)
      case ("restore", 2...3):
        try restore(
          arguments[0], from: arguments[1], flags: try restoreFlags(arguments.count > 2 ? arguments[2] : ""), by: caller)
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
    guard path.contains(where: { $0 != "/" }) else {
      throw Failure(.invalid, "the root of a mount has the name of its place, and no other")
    }
    try withKey(path, collision: collision(name, "there is a key '\(newName)' already")) { key throws(NTStatus) in
      try refuseControlSet(named: name, in: registry.parent(of: key))
      try registry.renameKey(key, to: name, by: caller)
    }
    dropNames()
  }

  private func link(_ path: String, to target: String, by caller: Caller) throws(Failure) {
    try checkPermission(caller)
    let (parent, last) = split(path)
    let name = try newKeyName(last)
    guard target.uppercased().hasPrefix(#"\REGISTRY\"#) else {
      throw Failure(.invalid, #"'\#(target)' is no complete name, as \REGISTRY\MACHINE\SYSTEM\ControlSet001 is"#)
    }
    try withKey(parent, collision: collision(name, "there is a key of that name, which is no link")) { key throws(NTStatus) in
      try refuseControlSet(named: name, in: key)
      try registry.setLink(named: name, in: key, to: UnicodeName(target), by: caller)
      dropTimes(of: key)
    }
    dropNames()
  }

  private func save(_ path: String, to file: String, by caller: Caller) throws(Failure) {
    try checkTarget(file, by: caller)
    try withKey(path, about: file) { key throws(NTStatus) in try registry.saveKey(key, to: file, by: caller) }
  }

  /// Windows' flags for RestoreKey by their names, parted by commas. The others have no meaning here, and pass for nothing.
  private func restoreFlags(_ words: String) throws(Failure) -> UInt32 {
    var flags: UInt32 = 0
    for word in words.split(separator: ",") {
      switch word {
      case "force": flags |= Registry.forceRestore
      case "refresh":
        throw Failure(
          .notSupported,
          "there is no older state to go back to: each change is in the hive's log when its call returns (REG_REFRESH_HIVE)")
      case "whole-hive-volatile":
        throw Failure(
          .notSupported,
          "a hive here lies on its file, and none is in memory only (REG_WHOLE_HIVE_VOLATILE); copy the file and mount the copy")
      default: throw Failure(.invalid, "unknown flag '\(word)': there is force")
      }
    }
    return flags
  }

  private func restore(_ path: String, from file: String, flags: UInt32, by caller: Caller) throws(Failure) {
    try checkSource(file, by: caller)
    try withKey(path, about: file) { key throws(NTStatus) in
      try restore(key, isForced: flags & Registry.forceRestore != 0, by: caller) { () throws(NTStatus) in
        try registry.restoreKey(key, from: file, flags: flags, by: caller)
      }
    }
  }

  private func replace(
    _ path: String, by newFile: String, savingTo oldFile: String, by caller: Caller
  ) throws(Failure) {
    try checkSource(newFile, by: caller)
    try checkTarget(oldFile, by: caller)
    try withKey(path, about: newFile, collision: "\(oldFile) is there already") { key throws(NTStatus) in
      guard !hasWriters(below: key) else { throw .sharingViolation }
      var root = key
      try registry.replaceKey(key, by: newFile, savingTo: oldFile, by: caller) { root = $0 }
      dropTimes(of: root)
    }
    dropNames()
  }

  private func load(_ path: String, file: String, by caller: Caller) throws(Failure) {
    try checkSource(file, by: caller)
    guard registry.hasSeveralHives else { throw Failure(.invalid, Self.onlyOfSeveral) }
    let components = path.split(separator: "/").compactMap { try? NameCodec.decode(Array($0.utf8)).name }
    guard let place = HivePlace(components) else {
      throw Failure(.invalid, "a hive is loaded at HKLM/NAME or HKU/NAME, in a mount of several hives")
    }
    do throws(NTStatus) { try registry.loadKey(at: place, file: file, by: caller) } catch {
      var failure = Failure(error)
      switch error {
      case .sharingViolation: failure.text = "\(file) is loaded already"
      case .objectNameCollision: failure.text = "there is a hive already"
      case .accessDenied: break
      default: failure.text = "\(file): \(failure.text)"
      }
      throw failure
    }
    try withKey(split(path).parent) { key throws(NTStatus) in dropTimes(of: key) }
    dropNames()
  }

  private func unload(_ path: String, by caller: Caller) throws(Failure) {
    try checkPrivilege(caller)
    guard registry.hasSeveralHives else { throw Failure(.invalid, Self.onlyOfSeveral) }
    try withKey(path, invalid: "no hive is loaded there: one is at HKLM/NAME or HKU/NAME") { key throws(NTStatus) in
      // What is open for writing would be lost.
      guard !hasWriters(below: key) else { throw .sharingViolation }
      try registry.unloadKey(key, by: caller)
    }
    try withKey(split(path).parent) { key throws(NTStatus) in dropTimes(of: key) }
    dropNames()
  }

  private static let onlyOfSeveral = "hives are loaded and unloaded in a mount of several: regward mount HKLM/NAME=HIVE ..."

  // MARK: Arguments

  private func checkPrivilege(_ caller: Caller) throws(Failure) {
    guard caller.userID == 0 || caller.userID == geteuid() else { throw Failure(.privilegeNotHeld) }
  }

  /// What the kernel asks before mkdir(2) and rename(2): the write bits, which are the same for all. A command may set a value as well,
  /// so files must have them, too.
  func checkPermission(_ caller: Caller) throws(Failure) {
    let bits: UInt32 =
      caller.userID == presentation.userID ? 0o200 : caller.groupID == presentation.groupID ? 0o020 : 0o002
    let permissions = presentation.directoryPermissions & presentation.filePermissions
    guard caller.userID == 0 || permissions & bits != 0 else { throw Failure(Errno.accessDenied) }
  }

  private func checkFile(_ path: String, by caller: Caller) throws(Failure) {
    try checkPrivilege(caller)
    guard path.hasPrefix("/") else { throw Failure(.invalid, "a file is named by its whole path: '\(path)'") }
  }

  private func collision(_ name: UnicodeName, _ text: String) -> String {
    name.equalsIgnoringCase(Self.currentControlSetName) ? #"CurrentControlSet is there already, and follows Select\Current"# : text
  }

  private func refuseControlSet(named name: UnicodeName, in key: KeyControlBlock?) throws(NTStatus) {
    guard let key, presentation.showsCurrentControlSet, name.equalsIgnoringCase(Self.currentControlSetName) else { return }
    guard try registry.queryControlSet(of: key) == nil else { throw .objectNameCollision }
  }

  /// A file that is read: what is wrong with its name is told as that.
  private func checkSource(_ path: String, by caller: Caller) throws(Failure) {
    try checkFile(path, by: caller)
    var status = stat()
    guard stat(path, &status) == 0 else {
      throw Failure(Errno(rawValue: errno), "\(path): \(String(cString: strerror(errno)))")
    }
    guard status.st_mode & S_IFMT == S_IFREG else { throw Failure(.invalid, "\(path) is no file") }
  }

  /// A file that is made.
  private func checkTarget(_ path: String, by caller: Caller) throws(Failure) {
    try checkFile(path, by: caller)
    var status = stat()
    let folder = split(path).parent
    guard stat(folder.isEmpty ? "/" : folder, &status) == 0 else {
      throw Failure(Errno(rawValue: errno), "\(folder): \(String(cString: strerror(errno)))")
    }
  }

  func newKeyName(_ text: String) throws(Failure) -> UnicodeName {
    // The kernel lets no slash through; here one is the path's that somebody expected.
    guard !text.utf8.contains(0x2F) else {
      throw Failure(.invalid, "'\(text)' is a path: a key keeps its place, and a slash in its name is written %2F")
    }
    guard ![".", ".."].contains(text) else { throw Failure(.invalid, "'\(text)' cannot be a key's name") }
    do throws(Errno) { return try newName(Array(text.utf8), isKey: true).name } catch {
      throw Failure(error, "'\(text)' cannot be a key's name")
    }
  }

  func split(_ path: String) -> (parent: String, last: String) {
    guard let slash = path.lastIndex(of: "/") else { return ("", path) }
    return (String(path[..<slash]), String(path[path.index(after: slash)...]))
  }

  /// Opens the key at a path below the mount's root for as long as `body` runs. Failures are told with the file that they are about, or as
  /// it is said for them.
  func withKey<Result>(
    _ path: String, about file: String? = nil, collision: String? = nil, invalid: String? = nil, _ body: (KeyControlBlock) throws(NTStatus) -> Result
  ) throws(Failure) -> Result {
    var isFound = false
    var isPlace = false
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
      isPlace = registry.isPlaceForHives(key)
      return try body(key)
    } catch {
      var failure = Failure(error)
      if error == .objectNameNotFound, !isFound { failure.text = "there is no key '\(path)' in this mount" }
      if isFound, error == .objectNameCollision, let collision {
        failure.text = collision
      } else if isFound, error == .invalidParameter, let invalid {
        failure.text = invalid
      } else if isPlace, error == .invalidParameter {
        failure.text = "hives lie below it: it is no key of one itself"
      } else if let file, isFound, error != .accessDenied { failure.text = "\(file): \(failure.text)" }
      throw failure
    }
  }
}

extension RegistryFileSystem {
  /// readlink(2): where a link key leads, as a path below the mount's root. A target outside the mount is its own name, which leads
  /// nowhere.
  package func target(of nodeID: UInt64) throws(Errno) -> [UInt8] {
    guard let node = inodes.node(nodeID) else { throw .noEntry }
    switch node.kind {
    case .key(let key, isLink: true):
      do { return try linkText(of: key) + [0] } catch { throw Errno(error) }
    case .alias(.currentControlSet, let key): return try currentControlSet(in: key) + [0]
    case .key, .value, .control, .alias: throw .invalid
    }
  }

  static let currentControlSetName = Registry.currentControlSetName

  /// Whether `name` is that of the link to the current control set, and the key has one.
  func hasCurrentControlSet(named name: UnicodeName, in key: KeyControlBlock) throws(Errno) -> Bool {
    // Asked for every look-up: the length tells almost all apart.
    guard name.units.count == Self.currentControlSetName.units.count, presentation.showsCurrentControlSet,
      name.equalsIgnoringCase(Self.currentControlSetName)
    else { return false }
    do { return try registry.queryControlSet(of: key) != nil } catch { throw Errno(error) }
  }

  /// Where `CurrentControlSet` leads now: to its neighbour.
  func currentControlSet(in key: KeyControlBlock) throws(Errno) -> [UInt8] {
    let target: UnicodeName?
    do { target = try registry.queryControlSet(of: key) } catch { throw Errno(error) }
    guard let target else { throw .noEntry }
    var text: [UInt8] = []
    NameCodec.encode(target, into: &text)
    return text
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
