internal import Glibc
internal import HiveStorage

/// A hive file that a command makes, of mode 0600: on the disk, whole, or not there.
enum NewHiveFile {
  /// Throws `device` when there is such a file already, and what `body` throws.
  static func make<Result>(
    _ path: String, _ body: (FileDevice) throws(HiveError) -> Result
  ) throws(HiveError) -> Result {
    let device = try FileDevice(path: path, mode: .new)
    do throws(HiveError) {
      let result = try body(device)
      try HiveFile.syncName(of: path)
      return result
    } catch {
      unlink(path)
      throw error
    }
  }
}
