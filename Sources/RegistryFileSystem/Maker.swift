internal import ConfigurationManager
internal import Glibc

/// Who has made something that is judged later, in his name, when he may have ended.
struct Maker: Sendable {
  private let made: Caller
  /// When his thread began, in the kernel's ticks: numbers of threads are used again.
  private let began: [UInt8]?

  /// Reading about him costs a look at /proc; where not `isRemembered` he counts as one who has ended.
  init(_ caller: Caller, isRemembered: Bool) {
    made = caller
    began = isRemembered ? Self.begin(of: caller.threadID) : nil
  }

  /// The caller to judge now: without his thread, which no exemption is for, when that has ended.
  var caller: Caller {
    if let began, began == Self.begin(of: made.threadID) { return made }
    return Caller(threadID: 0, userID: made.userID, groupID: made.groupID)
  }

  /// Field 22 of /proc/TID/stat (proc(5)).
  private static func begin(of threadID: Int32) -> [UInt8]? {
    guard threadID > 0 else { return nil }
    let descriptor = open("/proc/\(threadID)/stat", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    let text = withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 1) { buffer in
      Array(buffer.prefix(max(0, read(descriptor, buffer.baseAddress, buffer.count))))
    }
    // The name, in parentheses, may have blanks.
    guard let end = text.lastIndex(of: 0x29) else { return nil }
    let fields = text[(end + 1)...].split(separator: 0x20)
    return fields.count > 19 ? Array(fields[19]) : nil
  }
}
