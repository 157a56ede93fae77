internal import Glibc

/// By what a change of a file is seen: identity, size, times to the nanosecond, and the base block's first sector.
struct FileState {
  let device: UInt64
  let inode: UInt64
  private let size: Int
  /// Of the contents and of the attributes (mtime, ctime).
  private let written: timespec
  private let changed: timespec
  private let sector: [UInt8]

  init(_ status: stat, sector: [UInt8]) {
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
    size = Int(status.st_size)
    written = status.st_mtim
    changed = status.st_ctim
    self.sector = sector
  }

  func change(to new: FileState) -> OutsideChange? {
    if size != new.size { return .size(old: size, new: new.size) }
    if sector != new.sector { return .baseBlock }
    if !Self.equal(written, new.written) { return .written }
    return Self.equal(changed, new.changed) ? nil : .attributes
  }

  private static func equal(_ a: timespec, _ b: timespec) -> Bool { a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec }
}
