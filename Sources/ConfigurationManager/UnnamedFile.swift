package import Executive
internal import Glibc
package import HiveStorage

/// Bytes in a file that has no name, on the disk and not in memory: a hive on its way out of the registry or into it.
///
/// It is gone with its last reference, and with the process.
package final class UnnamedFile: Sendable {
  /// What operations call it.
  package let name: String
  package let device: FileDevice

  /// Throws what making a file in `TMPDIR`, or in `/var/tmp`, throws.
  package init(name: String) throws(NTStatus) {
    self.name = name
    let folder = getenv("TMPDIR").map { String(cString: $0) } ?? ""
    let path = (folder.hasPrefix("/") ? folder : "/var/tmp") + "/.regward-" + String(UInt64.random(in: 0 ... .max), radix: 16)
    do throws(HiveError) { device = try FileDevice(path: path, mode: .new) } catch { throw NTStatus(error) }
    unlink(path)
  }

  /// Bytes.
  package var size: Int {
    get throws(NTStatus) { do throws(HiveError) { return try device.size() } catch { throw NTStatus(error) } }
  }

  /// At most `count` bytes from `offset` on; fewer at the end.
  package func read(at offset: Int, count: Int) throws(NTStatus) -> [UInt8] {
    let end = try size
    guard offset >= 0, offset < end else { return [] }
    let length = min(max(0, count), end - offset)
    var failure: HiveError?
    let bytes = [UInt8](unsafeUninitializedCapacity: length) { buffer, filled in
      do throws(HiveError) {
        try device.read(at: offset, into: UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[..<length]))
        filled = length
      } catch { failure = error }
    }
    if let failure { throw NTStatus(failure) }
    return bytes
  }

  package func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(NTStatus) {
    do throws(HiveError) { try device.write(bytes, at: offset) } catch { throw NTStatus(error) }
  }

  package func resize(to size: Int) throws(NTStatus) {
    do throws(HiveError) { try device.resize(to: size) } catch { throw NTStatus(error) }
  }
}
