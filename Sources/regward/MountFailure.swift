internal import ArgumentParser
internal import HiveStorage

/// Why a mount failed: a message for people and the exit status of mount(8).
struct MountFailure: Error, Hashable {
  static let usageStatus: Int32 = 1
  static let systemStatus: Int32 = 2
  static let mountStatus: Int32 = 32

  let message: String
  let status: Int32

  init(_ message: String, status: Int32 = Self.mountStatus) {
    self.message = message
    self.status = status
  }

  static func system(_ doing: String, _ code: Int32) -> MountFailure {
    MountFailure("\(doing): \(Console.reason(code))", status: systemStatus)
  }

  /// The hive cannot be opened.
  init(_ error: HiveError, hive: String) {
    switch error {
    case .locked(let pid) where pid > 0: self.init("\(hive) is busy: process \(pid) has it mounted")
    case .locked: self.init("\(hive) is in use by another process")
    case .dirty:
      self.init(
        "\(hive): \(error)\n`-o ro,force` serves it as it lies; `regward check --repair` writes what is whole of it to a new file")
    default: self.init("\(hive): \(error)")
    }
  }

  /// Runs a command's work: a failure is told, and its status becomes the program's.
  static func exiting(_ body: () throws(MountFailure) -> Void) throws {
    do throws(MountFailure) { try body() } catch {
      if !error.message.isEmpty { Console.tell(error.message) }
      throw ExitCode(error.status)
    }
  }
}
