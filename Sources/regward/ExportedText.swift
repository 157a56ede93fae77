internal import ConfigurationManager
internal import Executive

/// The text of an export on its way into a file, piece by piece.
final class ExportedText {
  private let file: UnnamedFile
  private var end = 0
  private(set) var failure: NTStatus?

  init(_ file: UnnamedFile) { self.file = file }

  /// False after a failure.
  func append(_ bytes: [UInt8]) -> Bool {
    guard failure == nil else { return false }
    do throws(NTStatus) {
      var failure: NTStatus?
      bytes.withUnsafeBytes { buffer in
        do throws(NTStatus) { try file.write(buffer, at: end) } catch { failure = error }
      }
      if let failure { throw failure }
      end += bytes.count
    } catch { failure = error }
    return failure == nil
  }
}
