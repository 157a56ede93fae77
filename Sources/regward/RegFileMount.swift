internal import Executive
internal import Glibc
internal import RegistryFileSystem

/// A directory of a mount and the key that it is, for export and import.
struct RegFileMount {
  let place: MountedPath
  let key: RegFileKeyName

  /// Throws when the path lies on no mount of ours, or is no key's.
  init(_ path: String) throws(MountFailure) {
    place = try MountedPath(path)
    let location = try MountStatus.read(of: path)["location"]?.string ?? ""
    var components: [UnicodeName] = []
    for part in place.relative.utf8.split(separator: 0x2F) {
      guard let name = try? NameCodec.decode(Array(part)).name else {
        throw MountFailure("\(path) is no key", status: MountFailure.systemStatus)
      }
      components.append(name)
    }
    // In a mount of several hives the first directory has the name that people use.
    if location == #"\REGISTRY"# {
      key = components.isEmpty
        ? RegFileKeyName(components: ["REGISTRY"])
        : RegFileKeyName(RegFileKeyName(components: components).components.reduce("") { $0.isEmpty ? $1 : $0.appending($1) })
    } else {
      key = RegFileKeyName(components: RegFileKeyName(UnicodeName(location)).components + components)
    }
  }

  var path: String { place.mountPoint + (place.relative.isEmpty ? "" : "/" + place.relative) }

  /// The directories below this one that lead to a key of a file.
  func directories(of names: [UnicodeName]) -> [UnicodeName] {
    guard key.components == ["REGISTRY"], let first = names.first else { return names }
    let shown: [UnicodeName: UnicodeName] = ["MACHINE": "HKLM", "USER": "HKU"]
    return [shown[first.upcased] ?? first] + names.dropFirst()
  }

  /// Deep trees need a descriptor a level.
  static func raiseDescriptorLimit() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }
}
