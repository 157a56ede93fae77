internal import Executive
internal import Glibc

/// Where the sockets of a user's mounts lie: a folder of his own that nobody else can enter.
struct RuntimeDirectory {
  let path: String

  /// `/run/regward` for root, `$XDG_RUNTIME_DIR/regward` for others; nil where there is no such place.
  static func forThisProcess() -> RuntimeDirectory? {
    if geteuid() == 0 { return RuntimeDirectory(path: "/run/regward") }
    let named = getenv("XDG_RUNTIME_DIR").map { String(cString: $0) } ?? ""
    let folder = named.hasPrefix("/") ? named : "/run/user/\(geteuid())"
    return access(folder, X_OK) == 0 ? RuntimeDirectory(path: folder + "/regward") : nil
  }

  /// Makes it when it is not there, and opens it: a descriptor that holds its lock until it is closed, so that daemons that start
  /// together do not take each other's names. Throws a sentence for people when others could put something there.
  func open() throws(MountFailure) -> Int32 {
    guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw .system("cannot make \(path)", errno) }
    let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system("cannot open \(path)", errno) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_uid == geteuid(), status.st_mode & 0o022 == 0 else {
      close(descriptor)
      throw MountFailure("\(path) does not belong to this user, or others can write there")
    }
    while flock(descriptor, LOCK_EX) != 0 {
      guard errno == EINTR else {
        let code = errno
        close(descriptor)
        throw .system("cannot lock \(path)", code)
      }
    }
    return descriptor
  }

  /// The same for the same mount point, and of a length that a socket's address has room for.
  static func name(of mountPoint: String) -> String { String(SHA256.hexDigest(Array(mountPoint.utf8)).prefix(16)) }
}
