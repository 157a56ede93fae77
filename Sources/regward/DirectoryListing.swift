internal import Glibc

/// What a directory of a mount holds. Names are longer there than `dirent` of Swift knows: up to 1,024 bytes.
enum DirectoryListing {
  enum Kind { case directory, link, file }

  /// The next entry but `.` and `..`; nil at the end, with errno 0, or when it cannot be read.
  static func next(_ stream: OpaquePointer) -> (name: [UInt8], kind: Kind)? {
    errno = 0
    while let entry = readdir(stream) {
      let start = UnsafeRawPointer(entry) + (MemoryLayout<dirent>.offset(of: \.d_name) ?? 19)
      let name = Array(UnsafeRawBufferPointer(start: start, count: strlen(start.assumingMemoryBound(to: CChar.self))))
      if name == [0x2E] || name == [0x2E, 0x2E] { continue }
      switch Int(entry.pointee.d_type) {
      case DT_DIR: return (name, .directory)
      case DT_LNK: return (name, .link)
      default: return (name, .file)
      }
    }
    return nil
  }
}
