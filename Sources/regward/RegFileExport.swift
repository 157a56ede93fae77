internal import Executive
internal import Glibc
internal import RegFile

/// What an export has written, and what it could not.
final class RegFileExport {
  private var writer: RegFileWriter
  private let source: String
  /// Everything could be read and written.
  private(set) var isWhole = true

  /// `write` as for `RegFileWriter`; `source` begins what is told.
  init(of source: String, encoding: RegFileWriter.Encoding, write: @escaping ([UInt8]) -> Bool) {
    writer = RegFileWriter(encoding: encoding, write: write)
    self.source = source
  }

  /// False when nothing of this key and of what is below it can be written.
  func key(_ name: RegFileKeyName) -> Bool {
    if let last = name.components.last {
      switch writer.fate(ofKey: last) {
      case .lost:
        lose("\(name.text): a .reg file cannot carry this key's name; it and all below it are left out")
        return false
      case .keptByUs: tell("\(name.text): regward reads this key's name again; regedit may not")
      case .kept: break
      }
    }
    writer.key(name.text)
    return true
  }

  func value(_ name: UnicodeName, _ value: RegistryValue, of key: RegFileKeyName) {
    switch writer.fate(ofValue: name) {
    case .lost: return lose("\(key.text): this encoding cannot carry the name of the value '\(name)'; it is left out")
    case .keptByUs: tell("\(key.text): regward reads the name of the value '\(name)' again; regedit may not")
    case .kept: break
    }
    writer.value(name, value)
  }

  /// Something of the source is not in the text.
  func lose(_ what: String) {
    isWhole = false
    tell(what)
  }

  /// Something that is good to know.
  func tell(_ what: String) { Console.tell(Console.printable("\(source): \(what)")) }

  func finish() -> Bool { writer.finish() }
}
