internal import Executive
internal import Notifications

extension CostBenchmarks {
  /// A refusal as one line, in each format.
  static var events: [() throws -> MeasuredCase] {
    EventFormat.allCases.map { format in
      {
        let encoder = EventEncoder(format: format, currentControlSet: 1, hostName: "host")
        let event = refusal
        return try MeasuredCase("event as \(format.rawValue)", count: 200) { _ in use(encoder.line(for: event)) }
      }
    }
  }

  private static var refusal: Notification {
    let time = FileTime(rawValue: 133_800_000_001_234_567)
    var process = ProcessDescription(processID: 1234, threadID: 1235, userID: 1000, groupID: 100)
    process.startTicks = 0x1_0002_0003
    process.startTime = FileTime(rawValue: 133_799_999_999_000_000)
    process.executable = "/usr/bin/bash"
    process.commandLine = "bash -c 'echo 4 > Start'"
    process.parentID = 77
    process.sessionID = 70
    var notification = Notification(
      time: time, notifyClass: .preSetValueKey, status: .accessDenied, denied: true, process: process,
      keyName: #"\REGISTRY\MACHINE\SYSTEM\ControlSet001\Services\WinDefend"#)
    notification.sequence = 7
    notification.valueName = "Start"
    notification.newValue = RegistryValue(type: .dword, data: [4, 0, 0, 0])
    notification.ruleIDs = ["hardened: WinDefend"]
    notification.ruleSource = "policy.yaml:10"
    return notification
  }
}
