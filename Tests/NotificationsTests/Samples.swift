import Executive
import Notifications

/// Notifications with nothing in them that changes from run to run.
enum Samples {
  static let time = FileTime(rawValue: 133_800_000_001_234_567)

  static func process() -> ProcessDescription {
    var process = ProcessDescription(processID: 1234, threadID: 1235, userID: 1000, groupID: 100)
    process.startTicks = 0x1_0002_0003
    process.startTime = FileTime(rawValue: 133_799_999_999_000_000)
    process.executable = "/usr/bin/bash"
    process.commandLine = "bash -c 'echo \"4\" > Start'"
    process.parentID = 77
    process.sessionID = 70
    return process
  }

  static func notification(
    _ notifyClass: NotifyClass, key: UnicodeName, value: UnicodeName? = nil, denied: Bool = false,
    status: NTStatus? = nil
  ) -> Notification {
    var notification = Notification(
      time: time, notifyClass: notifyClass, status: status ?? (denied ? .accessDenied : .success), denied: denied,
      process: process(), keyName: key)
    notification.sequence = 7
    notification.valueName = value
    return notification
  }

  static let winDefend: UnicodeName = #"\REGISTRY\MACHINE\SYSTEM\ControlSet001\Services\WinDefend"#

  static func utf16(_ text: String, terminated: Bool = true) -> [UInt8] {
    (Array(text.utf16) + (terminated ? [0] : [])).flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] }
  }
}
