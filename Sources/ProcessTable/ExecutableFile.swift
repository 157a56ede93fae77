internal import Glibc

/// The file that a process executes, as the kernel holds it.
package struct ExecutableFile: Hashable, Sendable {
  package let device: UInt64
  package let inode: UInt64
  package let ownerID: UInt32
  /// Type and permissions (st_mode).
  package let mode: UInt32
  /// 0 for a deleted file and for a memfd.
  package let links: UInt32
  package let groupID: UInt32
  /// Moves with every change of content, owner, permissions and links; nanoseconds since 1970, wrapping.
  package let changeTime: Int64
  /// In bytes.
  package let size: Int64

  package init(
    device: UInt64, inode: UInt64, ownerID: UInt32, mode: UInt32, links: UInt32, groupID: UInt32 = 0,
    changeTime: Int64 = 0, size: Int64 = 0
  ) {
    self.device = device
    self.inode = inode
    self.ownerID = ownerID
    self.mode = mode
    self.links = links
    self.groupID = groupID
    self.changeTime = changeTime
    self.size = size
  }

  /// Whether this file is what has the path for us: in a mount namespace of his own anybody gives any path to any file. To be asked only of
  /// a path that a policy names, as the one of a process may lead anywhere.
  package func isAt(_ path: String?) -> Bool {
    var found = stat()
    guard let path, stat(path, &found) == 0 else { return false }
    return UInt64(found.st_dev) == device && UInt64(found.st_ino) == inode
  }

  /// Nobody but root can have put this content there.
  package var belongsToRoot: Bool { ownerID == 0 && mode & 0o022 == 0 }

  /// Still the file that it was, with the content that it had (identity.md, 6 (b)).
  func isUnchanged(_ then: ExecutableFile) -> Bool {
    inode == then.inode && device == then.device && changeTime == then.changeTime && size == then.size
  }

  /// A process with these ids could change the file. Root can change every file: of him it says nothing.
  func canBeChanged(byUser userID: UInt32, groups: (UInt32) -> Bool) -> Bool {
    guard userID != 0 else { return false }
    return ownerID == userID || mode & 0o002 != 0 || mode & 0o020 != 0 && groups(groupID)
  }
}
