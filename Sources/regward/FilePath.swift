internal import Glibc

/// Paths made absolute, without a Foundation that changes their bytes.
enum FilePath {
  /// `path` with links resolved; throws an errno-carrying problem when it is not there.
  static func resolve(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  /// Absolute, nothing resolved.
  static func absolute(_ path: String) -> String {
    if path.hasPrefix("/") { return path }
    guard let directory = getcwd(nil, 0) else { return path }
    defer { free(directory) }
    let folder = String(cString: directory)
    return folder == "/" ? "/" + path : folder + "/" + path
  }

  /// Absolute, with the links of the deepest folder that exists resolved; what comes behind it is kept as typed.
  static func resolveExisting(_ path: String) -> String {
    var folder = absolute(path)
    var rest: [Substring] = []
    while true {
      if let resolved = resolve(folder) {
        return rest.reversed().reduce(resolved) { $0 == "/" ? "/" + $1 : $0 + "/" + $1 }
      }
      guard let slash = folder.lastIndex(of: "/") else { return absolute(path) }
      let last = folder[folder.index(after: slash)...]
      if !last.isEmpty, last != "." { rest.append(last) }
      folder = slash == folder.startIndex ? "/" : String(folder[..<slash])
    }
  }

  static func lastComponent(_ path: String) -> String {
    path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
  }
}
