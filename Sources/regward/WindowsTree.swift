internal import ConfigurationManager
internal import Executive
internal import Glibc
internal import HiveStorage

/// The hives of a Windows tree, a mounted image or a copy of one, each with its place. Names are found in any case.
///
/// The tree may be hostile: nothing that leads out of it is followed.
struct WindowsTree {
  private(set) var hives: [HiveSource] = []
  /// What was seen and not taken, for people.
  private(set) var refusals: [String] = []
  /// Absolute, without links.
  private let root: String

  /// `folder` is absolute and without links.
  init(_ folder: String) {
    root = folder
    for name in ["SYSTEM", "SOFTWARE", "SAM", "SECURITY"] { add(["Windows", "System32", "config", name], "HKLM", name) }
    add(["Windows", "System32", "config", "DEFAULT"], "HKU", ".DEFAULT")
    guard let users = find(["Users"], below: root) else { return }
    let profiles = hives.first { $0.place == HivePlace(["HKLM", "SOFTWARE"]) }.map { Self.profiles($0.path) } ?? [:]
    for name in Self.entries(of: users) where name != "." && name != ".." {
      // Images have dangling links there, where Windows has junctions.
      guard let folder = find([name], below: users, isQuiet: true), Self.isDirectory(folder) else { continue }
      // What is a link to another one is met under its own name.
      guard folder == users + "/" + name else { continue }
      let user = profiles[name.uppercased()] ?? name
      add(["NTUSER.DAT"], "HKU", user, below: folder)
      add(["AppData", "Local", "Microsoft", "Windows", "UsrClass.dat"], "HKU", user + "_Classes", below: folder)
    }
  }

  private mutating func add(_ path: [String], _ place: UnicodeName, _ name: String, below folder: String? = nil) {
    guard let file = find(path, below: folder ?? root), let place = HivePlace([place, UnicodeName(name)]) else { return }
    hives.append(HiveSource(place: place, path: file))
  }

  /// The file or folder at `path` below `folder`, with its links resolved; nil when there is none, or when it lies elsewhere.
  private mutating func find(_ path: [String], below folder: String, isQuiet: Bool = false) -> String? {
    var place = folder
    for component in path {
      let names = Self.entries(of: place)
      let wanted = component.lowercased()
      guard let name = names.first(where: { $0 == component }) ?? names.first(where: { $0.lowercased() == wanted })
      else { return nil }
      let next = place + "/" + name
      guard let resolved = FilePath.resolve(next) else {
        if !isQuiet { refusals.append("\(next): \(Console.reason(errno))") }
        return nil
      }
      guard resolved.hasPrefix(root == "/" ? root : root + "/") else {
        refusals.append("\(next) is a link that leads out of \(root), to \(resolved): it is not followed")
        return nil
      }
      place = resolved
    }
    return place
  }

  private static func isDirectory(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }

  /// In the same order always. Empty for what cannot be read.
  private static func entries(of folder: String) -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      // SAFETY: d_name holds a C string that lives until the next readdir of this stream.
      names.append(
        withUnsafeBytes(of: &entry.pointee.d_name) { bytes in String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self) })
    }
    return names.sorted()
  }

  /// Whose folder is whose: security identifiers by the folder's name in upper case, as the SOFTWARE hive has them. Empty when that cannot be
  /// read: the mount will say why.
  private static func profiles(_ file: String) -> [String: String] {
    guard let hive = try? Hive(HiveFile(path: file, access: .readOnly)) else { return [:] }
    return HiveSurvey.profiles(hive)
  }
}
