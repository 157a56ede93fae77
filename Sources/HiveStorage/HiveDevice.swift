/// What a hive lies on: bytes that can be read, written, made durable and resized. `Hive` does no input or output of
/// its own.
///
/// Offsets and sizes are in bytes. Every method either does all of its work or throws.
package protocol HiveDevice: AnyObject, Sendable {
  /// How the device is called in messages, a file's path for example.
  var name: String { get }
  func size() throws(HiveError) -> Int
  func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(HiveError)
  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(HiveError)
  /// Writes pieces that lie apart in memory, one behind the other.
  func write(_ pieces: UnsafeBufferPointer<UnsafeRawBufferPointer>, at offset: Int) throws(HiveError)
  func resize(to size: Int) throws(HiveError)
  /// Makes every write before it survive power loss.
  func sync() throws(HiveError)
  /// Lets go of what lies under the device, and of its lock; nothing is asked of it afterwards.
  func close()
  /// Takes the device as it is now for ours: what differs from it later was done by somebody else. What cannot be read
  /// is not remembered, and the next commit will meet the failure itself.
  func rememberState()
  /// What somebody else did since `rememberState`; nil for nothing, and before the first `rememberState`.
  func outsideChange() throws(HiveError) -> OutsideChange?
}

extension HiveDevice {
  package func write(
    _ pieces: UnsafeBufferPointer<UnsafeRawBufferPointer>, at offset: Int
  ) throws(HiveError) {
    var place = offset
    for piece in pieces {
      try write(piece, at: place)
      place += piece.count
    }
  }
}

/// A device that nobody else can reach.
extension HiveDevice {
  package func rememberState() {}
  package func outsideChange() throws(HiveError) -> OutsideChange? { nil }
}

extension HiveDevice {
  func read(at offset: Int, into bytes: inout [UInt8]) throws(HiveError) {
    var failure: HiveError?
    bytes.withUnsafeMutableBytes { buffer in
      do throws(HiveError) { try read(at: offset, into: buffer) } catch { failure = error }
    }
    if let failure { throw failure }
  }

  func write(_ bytes: [UInt8], at offset: Int) throws(HiveError) {
    var failure: HiveError?
    bytes.withUnsafeBytes { buffer in
      do throws(HiveError) { try write(buffer, at: offset) } catch { failure = error }
    }
    if let failure { throw failure }
  }
}
