internal import Glibc
package import WdFilter

/// A policy as read from its YAML text (policy.md).
package struct PolicyFile: Sendable {
  package let rules: RuleSet
  /// Nil for a policy without Sigma rules.
  package let sigma: SigmaCounts?
  /// What is doubtful but no error.
  package let warnings: [PolicyProblem]

  /// The policies that people write are some kilobytes.
  private static let maximumSize = 16 << 20

  /// Reads a file that nobody but root and the current user can have changed, and all that it includes: every file and its
  /// folder belong to one of them and are writable by nobody else. `version` becomes that of the rules.
  package static func load(path: String, version: UInt64 = 1) throws(PolicyError) -> PolicyFile {
    var loader = PolicyLoader()
    let document = try contents(of: path)
    loader.read(document.text, fileName: path, realPath: document.realPath)
    return try loader.finish(version: version)
  }

  /// Reads a text; `fileName` is what problems and refusals call it. It can include nothing.
  package static func parse(
    text: String, fileName: String, version: UInt64 = 1
  ) throws(PolicyError) -> PolicyFile {
    var loader = PolicyLoader()
    loader.read(text, fileName: fileName, realPath: nil)
    return try loader.finish(version: version)
  }

  init(rules: RuleSet, sigma: SigmaCounts?, warnings: [PolicyProblem]) {
    self.rules = rules
    self.sigma = sigma
    self.warnings = warnings
  }

  /// The text of a file that only we and root can have changed, and where it really lies.
  static func contents(of path: String) throws(PolicyError) -> (text: String, realPath: String) {
    func failure(_ message: String) -> PolicyError {
      PolicyError(problems: [PolicyProblem(severity: .error, file: path, line: 0, column: 0, message: message)])
    }
    func failure(_ doing: String, _ code: Int32) -> PolicyError {
      failure("cannot \(doing): \(String(cString: strerror(code)))")
    }

    // Links are followed first: what counts is where the text really lies.
    guard let resolved = realpath(path, nil) else { throw failure("read it", errno) }
    defer { free(resolved) }
    let real = String(cString: resolved)
    let cut = real.lastIndex(of: "/") ?? real.startIndex
    let folder = cut == real.startIndex ? "/" : String(real[..<cut])
    let name = String(real[cut...].dropFirst())

    // Nor may others choose what lies at the path, by taking away a folder on the way and putting another there.
    for place in Set([FileOwnership.absolute(path), real]) {
      if let (ancestor, ownership) = FileOwnership.firstForeignAncestor(of: place) {
        throw failure(
          "\(ancestor), on the way to it, \(ownership.complaint), so others could put another policy there; "
            + "move the policy to where only root and you can change the folders")
      }
    }

    // The folder is held open, so that what was judged is what is read.
    let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0 else { throw failure("open its folder", errno) }
    defer { close(directory) }
    guard let ofFolder = FileOwnership.of(descriptor: directory) else { throw failure("judge its folder", errno) }
    guard ofFolder.belongsToUs else {
      throw failure(
        "its folder \(folder) \(ofFolder.complaint), so others could replace the policy; "
          + "move it into a folder that root or you own and nobody else can write"
          + (ofFolder.isShared ? "" : ", or: \(ofFolder.remedy(folder))"))
    }
    let file = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    guard file >= 0 else { throw failure("open it", errno) }
    defer { close(file) }
    guard let ofFile = FileOwnership.of(descriptor: file) else { throw failure("judge it", errno) }
    guard ofFile.isRegularFile else { throw failure("this is no regular file") }
    guard ofFile.belongsToUs else {
      throw failure(
        "the file \(ofFile.complaint), so others could change the policy; "
          + "it must belong to root or to you and be writable by nobody else: \(ofFile.remedy(real))")
    }

    return (try text(of: file, path), real)
  }

  /// Everything that an open file holds.
  static func text(of file: Int32, _ path: String) throws(PolicyError) -> String {
    func failure(_ message: String) -> PolicyError {
      PolicyError(problems: [PolicyProblem(severity: .error, file: path, line: 0, column: 0, message: message)])
    }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = read(file, &chunk, chunk.count)
      if count == 0 { break }
      if count < 0 {
        if errno == EINTR { continue }
        throw failure("cannot read it: \(String(cString: strerror(errno)))")
      }
      bytes.append(contentsOf: chunk.prefix(count))
      guard bytes.count <= maximumSize else { throw failure("a policy of more than 16 MiB is not read") }
    }
    guard let text = String(validating: bytes, as: UTF8.self) else { throw failure("the text is not UTF-8") }
    return text
  }
}
