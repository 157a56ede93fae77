internal import Glibc

/// The process that serves a mount, known by its id and start time.
struct DaemonProcess {
  let processID: Int32
  private let startTicks: [UInt8]

  /// The one that the mount itself names, or else the one whose command line ends with the mount point.
  init?(serving mountPoint: String) {
    guard let processID = Self.named(by: mountPoint) ?? Self.found(mountPoint),
      let stat = Self.stat(processID), stat.state != Self.zombie
    else { return nil }
    self.processID = processID
    startTicks = stat.startTicks
  }

  private static let zombie: UInt8 = 0x5A

  /// False when it still runs after `seconds`. A zombie has closed its files.
  func waitForEnd(seconds: Int) -> Bool {
    // Polled: it is no child of ours.
    for _ in 0..<seconds * 200 {
      guard let stat = Self.stat(processID), stat.startTicks == startTicks, stat.state != Self.zombie else {
        return true
      }
      usleep(5000)
    }
    return false
  }

  private static func named(by mountPoint: String) -> Int32? {
    guard let status = FileText.read(mountPoint + "/%ctl/status") else { return nil }
    let text = String(decoding: status, as: UTF8.self)
    guard let start = text.range(of: #""pid":"#) else { return nil }
    return Int32(text[start...].prefix { $0.isASCII && $0.isNumber })
  }

  private static func found(_ mountPoint: String) -> Int32? {
    guard let stream = opendir("/proc") else { return nil }
    defer { closedir(stream) }
    while let entry = readdir(stream) {
      // SAFETY: d_name holds a C string that lives until the next readdir of this stream.
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      guard let processID = Int32(name), let line = FileText.read("/proc/\(processID)/cmdline") else { continue }
      let arguments = line.split(separator: 0, omittingEmptySubsequences: false).dropLast()
      guard arguments.count > 2, arguments[1].elementsEqual("mount".utf8),
        arguments.last?.elementsEqual(mountPoint.utf8) == true
      else { continue }
      return processID
    }
    return nil
  }

  private static func stat(_ processID: Int32) -> (state: UInt8, startTicks: [UInt8])? {
    guard let text = FileText.read("/proc/\(processID)/stat"), let end = text.lastIndex(of: 0x29) else { return nil }
    // From field 3 on, behind the name in parentheses: the state, and 19 further the start time.
    let fields = text[(end + 1)...].split(separator: 0x20)
    guard fields.count > 19, let state = fields[0].first else { return nil }
    return (state, Array(fields[19]))
  }
}

extension String {
  /// The index behind the first occurrence of `part`.
  fileprivate func range(of part: String) -> Index? {
    var rest = self[...]
    while !rest.isEmpty {
      if rest.hasPrefix(part) { return rest.index(rest.startIndex, offsetBy: part.count) }
      rest = rest.dropFirst()
    }
    return nil
  }
}
