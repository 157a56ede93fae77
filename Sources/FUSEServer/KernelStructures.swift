internal import CFuse3
internal import ConfigurationManager
internal import Executive
internal import Glibc
internal import RegistryFileSystem

/// How long the kernel may keep what need not be asked again, seconds.
private let long = 1e9

extension Attributes {
  /// Seconds for which the kernel may keep them.
  var timeout: Double { isCacheable ? long : 0 }
}

/// stat(2)'s structure for a node.
func stat(_ attributes: Attributes, _ owner: Presentation) -> stat {
  var status = stat()
  status.st_ino = UInt(attributes.inode)
  status.st_mode = attributes.kind.mode | attributes.permissions
  status.st_nlink = numericCast(attributes.links)
  status.st_uid = owner.userID
  status.st_gid = owner.groupID
  status.st_size = attributes.size
  status.st_blksize = 4096
  status.st_blocks = attributes.size / 512 + (attributes.size % 512 == 0 ? 0 : 1)
  let time = attributes.modified.unixTime
  status.st_mtim = timespec(tv_sec: Int(time.seconds), tv_nsec: Int(time.nanoseconds))
  status.st_ctim = status.st_mtim
  status.st_atim = status.st_mtim
  return status
}

/// statvfs(2)'s structure for a hive.
func statvfs(_ space: HiveSpace) -> statvfs {
  let block = 4096
  // A key with a short name and its places in lists; values take less.
  let smallestKey = 128
  var status = statvfs()
  status.f_bsize = UInt(block)
  status.f_frsize = UInt(block)
  status.f_bfree = UInt(clamping: space.free / block)
  status.f_bavail = status.f_bfree
  status.f_blocks = UInt(clamping: (space.used + block - 1) / block) + status.f_bfree
  status.f_ffree = UInt(clamping: space.free / smallestKey)
  status.f_favail = status.f_ffree
  status.f_files = UInt(clamping: space.objects) + status.f_ffree
  status.f_namemax = 1024
  return status
}

/// The kernel's entry for a look-up. Only the stored spelling may stay in its cache: it knows no other way to drop a name than
/// by its very bytes (performance.md, 3).
func fuse_entry_param(_ entry: Entry, _ session: MountedSession) -> fuse_entry_param {
  var parameters = fuse_entry_param()
  parameters.ino = entry.nodeID
  parameters.generation = entry.generation
  parameters.attr = stat(entry.attributes, session.presentation)
  parameters.attr_timeout = entry.attributes.timeout
  parameters.entry_timeout = entry.isExactSpelling && session.notifier.canDropNames ? long : 0
  return parameters
}

extension Attributes.Kind {
  /// The type's bits of st_mode.
  var mode: UInt32 {
    switch self {
    case .directory: S_IFDIR
    case .file: S_IFREG
    case .link: S_IFLNK
    }
  }
}
