internal import Glibc

/// Who can change a file or folder.
struct FileOwnership {
  private let ownerID: UInt32
  private let mode: UInt32

  private init(_ status: stat) {
    ownerID = status.st_uid
    mode = status.st_mode
  }

  /// Of a path, links followed; nil when it is not there.
  static func of(_ path: String) -> FileOwnership? {
    var status = stat()
    return stat(path, &status) == 0 ? FileOwnership(status) : nil
  }

  /// Of an open file.
  static func of(descriptor: Int32) -> FileOwnership? {
    var status = stat()
    return fstat(descriptor, &status) == 0 ? FileOwnership(status) : nil
  }

  var isRegularFile: Bool { mode & S_IFMT == S_IFREG }

  /// A folder that is meant for everybody, like /tmp: nobody should take that away.
  var isShared: Bool { mode & S_ISVTX != 0 }

  private var isWritableByOthers: Bool { mode & 0o022 != 0 }

  var belongsToRootAlone: Bool { ownerID == 0 && !isWritableByOthers }

  /// Root or the user who runs this, and nobody else, can change it.
  var belongsToUs: Bool { (ownerID == 0 || ownerID == geteuid()) && !isWritableByOthers }

  /// What is wrong with it, said of a file.
  var complaint: String {
    let digits = String(mode & 0o7777, radix: 8)
    return "belongs to uid \(ownerID) and has mode \(String(repeating: "0", count: max(0, 4 - digits.count)) + digits)"
  }

  /// What to do about it.
  func remedy(_ path: String) -> String {
    var steps: [String] = []
    if ownerID != 0, ownerID != geteuid() { steps.append("chown root '\(path)'") }
    if isWritableByOthers { steps.append("chmod go-w '\(path)'") }
    return steps.joined(separator: " && ")
  }

  /// With the working directory before a path that has none; nothing resolved.
  static func absolute(_ path: String) -> String {
    if path.hasPrefix("/") { return path }
    guard let directory = getcwd(nil, 0) else { return path }
    defer { free(directory) }
    return String(cString: directory) + "/" + path
  }

  /// The first folder above `path`'s own, from the root on, in which others can exchange what lies there: in one with the sticky bit they
  /// cannot. Links are followed.
  static func firstForeignAncestor(of path: String) -> (path: String, ownership: FileOwnership)? {
    let parts = path.split(separator: "/").dropLast(2)
    var folder = ""
    for part in parts {
      folder += "/" + part
      guard let ownership = of(folder) else { continue }
      let isSafe = ownership.isShared ? ownership.ownerID == 0 || ownership.ownerID == geteuid() : ownership.belongsToUs
      if !isSafe { return (folder, ownership) }
    }
    return nil
  }
}
