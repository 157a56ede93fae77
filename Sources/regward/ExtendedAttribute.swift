internal import Glibc

/// Extended attributes of open files (sys/xattr.h, which Swift does not see).
enum ExtendedAttribute {
  private typealias Get = @convention(c) (Int32, UnsafePointer<CChar>, UnsafeMutableRawPointer?, Int) -> Int

  // SAFETY: fgetxattr(2) has this type in every libc.
  private static let get = dlsym(nil, "fgetxattr").map { unsafeBitCast($0, to: Get.self) }

  /// Nil, and errno, when there is none.
  static func read(_ name: String, of descriptor: Int32) -> [UInt8]? {
    guard let get else { return nil }
    let size = get(descriptor, name, nil, 0)
    guard size >= 0 else { return nil }
    var bytes = [UInt8](repeating: 0, count: size)
    let count = get(descriptor, name, &bytes, size)
    return count >= 0 ? Array(bytes.prefix(count)) : nil
  }
}
