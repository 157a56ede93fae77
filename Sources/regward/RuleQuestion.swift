internal import ConfigurationManager
internal import Executive
internal import Glibc
internal import ProcessTable
internal import WdFilter

/// What somebody might do to the registry, by the word for it on the command line.
enum OperationWord: String, CaseIterable {
  case create, link, set, deleteValue = "delete-value", delete, rename, setTime = "set-time", security
  case restore, replace, load, unload, save, flush, query

  static var list: String { allCases.map(\.rawValue).joined(separator: ", ") }

  /// It is about one value of the key.
  var isOfValue: Bool { self == .set || self == .deleteValue || self == .query }

  /// The operation as the registry would dispatch it; nil when a name that it needs is missing.
  func operation(key: UnicodeName, value: UnicodeName?, newName: UnicodeName?) -> RegistryOperation? {
    let reference = KeyReference(id: 0, completeName: key)
    switch self {
    case .create: return .createKey(completeName: key, parent: Self.parent(of: key), options: [])
    case .link: return .createKey(completeName: key, parent: Self.parent(of: key), options: .createLink)
    case .set: return value.map { .setValueKey(key: reference, valueName: $0, value: nil) }
    case .deleteValue: return value.map { .deleteValueKey(key: reference, valueName: $0) }
    case .query: return value.map { .queryValueKey(key: reference, valueName: $0) }
    case .delete: return .deleteKey(key: reference)
    case .rename: return newName.map { .renameKey(key: reference, newName: $0) }
    case .setTime: return .setInformationKey(key: reference, information: .lastWriteTime(.now()))
    case .security: return .setKeySecurity(key: reference, securityInformation: 0, descriptor: [])
    case .restore: return .restoreKey(key: reference, sourceFile: "", flags: 0)
    case .replace: return .replaceKey(key: reference, newFile: "", oldFile: "")
    case .load: return .loadKey(completeName: key, sourceFile: "", flags: 0)
    case .unload: return .unloadKey(key: reference)
    case .save: return .saveKey(key: reference, file: "", format: .standard)
    case .flush: return .flushKey(key: reference)
    }
  }

  private static func parent(of key: UnicodeName) -> KeyReference {
    let end = key.units.lastIndex(of: 0x5C) ?? 0
    return KeyReference(id: 0, completeName: UnicodeName(units: Array(key.units[..<end])))
  }
}

/// Why a question cannot be asked.
struct QuestionProblem: Error, Hashable {
  let message: String
}

/// A question to the rules in the words of the command line: operation, key, value, new name, process.
struct RuleQuestion {
  let operation: RegistryOperation
  let process: ProcessContext?

  init(
    operation word: String, key: String, value: String?, newName: String?, process: String
  ) throws(QuestionProblem) {
    guard let operation = OperationWord(rawValue: word) else {
      throw QuestionProblem(message: "'\(word)' is no operation; known are \(OperationWord.list)")
    }
    guard operation.isOfValue || value == nil else {
      throw QuestionProblem(message: "'\(word)' is about a key, not about a value of it")
    }
    guard operation == .rename || newName == nil else {
      throw QuestionProblem(message: "a new name goes with rename only")
    }
    let name = try Self.completeName(key)
    guard
      let made = operation.operation(
        key: name, value: value.map { UnicodeName($0) }, newName: newName.map { UnicodeName($0) })
    else {
      throw QuestionProblem(
        message: operation == .rename ? "rename needs a new name" : "'\(word)' needs the name of a value")
    }
    self.operation = made
    self.process = try ProcessWord.context(process)
  }

  /// `HKLM\SYSTEM\…` and the like as a complete name, by the roots that a policy knows.
  static func completeName(_ text: String) throws(QuestionProblem) -> UnicodeName {
    guard !text.contains("*") else {
      throw QuestionProblem(message: "one key is asked about, and * would be several, in '\(text)'")
    }
    do throws(KeyPatternError) { return UnicodeName(try KeyPattern(text).wholeName) } catch {
      throw QuestionProblem(message: "\(error.problem), in '\(text)'")
    }
  }
}

/// A process in words: `pid=N`, a process that is there; `exe=/usr/bin/x,uid=0,gid=0`, one that might be; `unknown`.
enum ProcessWord {
  static func context(_ text: String) throws(QuestionProblem) -> ProcessContext? {
    if text == "unknown" { return nil }
    var fields: [String: String] = [:]
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map { String($0) }
      guard pair.count == 2, ["pid", "exe", "uid", "gid"].contains(pair[0]), fields[pair[0]] == nil else {
        throw QuestionProblem(
          message: "'\(part)' says nothing of a process: pid=N, or exe=PATH,uid=N,gid=N, or unknown expected")
      }
      fields[pair[0]] = pair[1]
    }
    let (user, group) = (try number(fields["uid"], "uid"), try number(fields["gid"], "gid"))
    if let pid = fields["pid"] {
      guard fields["exe"] == nil, let id = Int32(pid), id > 0 else {
        throw QuestionProblem(message: "pid=\(pid): the number of a process expected, without exe")
      }
      let owner = FileOwner(ofProcess: id)
      let found = ProcessTable().context(
        forThread: id, uid: user ?? owner?.userID ?? .max, gid: group ?? owner?.groupID ?? .max)
      guard let found else { throw QuestionProblem(message: "there is no process \(id), or it is hidden") }
      return found
    }
    guard let path = fields["exe"] else {
      return imagined(nil, nil, user: user ?? 0, group: group ?? 0)
    }
    guard path.hasPrefix("/") else {
      throw QuestionProblem(message: "exe=\(path): an executable is named by its whole path, beginning with /")
    }
    return imagined(path, ExecutableFile(at: path), user: user ?? 0, group: group ?? 0)
  }

  private static func number(_ text: String?, _ name: String) throws(QuestionProblem) -> UInt32? {
    guard let text else { return nil }
    guard let number = UInt32(text) else { throw QuestionProblem(message: "\(name)=\(text): a number expected") }
    return number
  }

  /// Nobody traces it and nothing is preloaded; an executable that is not there is root's.
  private static func imagined(
    _ path: String?, _ file: ExecutableFile?, user: UInt32, group: UInt32
  ) -> ProcessContext {
    ProcessContext(
      processID: 0, threadID: 0, startTicks: 0, startTime: FileTime(rawValue: 0), executable: path,
      executableFile: file ?? ExecutableFile(device: 0, inode: 0, ownerID: 0, mode: 0o100755, links: 1),
      commandLine: nil, parentID: 0, sessionID: 0, userID: user, groupID: group,
      doubts: file.map { user != 0 && ($0.ownerID == user || $0.mode & 0o002 != 0) } == true ? [.ownExecutable] : [])
  }
}

/// Whose a process is: the owner of its directory under /proc.
private struct FileOwner {
  let userID: UInt32
  let groupID: UInt32

  init?(ofProcess id: Int32) {
    var found = stat()
    guard stat("/proc/\(id)", &found) == 0 else { return nil }
    userID = found.st_uid
    groupID = found.st_gid
  }
}

extension ExecutableFile {
  /// Links followed; nil when it is not there.
  fileprivate init?(at path: String) {
    var found = stat()
    guard stat(path, &found) == 0 else { return nil }
    self.init(
      device: UInt64(found.st_dev), inode: UInt64(found.st_ino), ownerID: found.st_uid, mode: found.st_mode,
      links: UInt32(clamping: found.st_nlink))
  }
}
