package import ConfigurationManager
package import Executive
internal import Synchronization

/// The control directory `/%ctl/` in the root: resolves, is never listed.
enum ControlFile: CaseIterable, Sendable {
  case directory
  /// Write a line, read the answer on the same handle.
  case command
  /// The daemon's state as JSON.
  case status
  /// What was counted since the mount, in Prometheus' text format.
  case stats
  /// The rules in force with their hits, for people.
  case rules
  /// Every event from the opening on; reading waits for the next one.
  case events

  var nodeID: UInt64 {
    switch self {
    case .directory: 2
    case .command: 3
    case .status: 4
    case .stats: 5
    case .rules: 6
    case .events: 7
    }
  }

  var name: String {
    switch self {
    case .directory: "%ctl"
    case .command: "cmd"
    case .status: "status"
    case .stats: "stats"
    case .rules: "rules"
    case .events: "events"
    }
  }

  var permissions: UInt32 {
    switch self {
    case .directory: 0o555
    case .command: 0o666
    case .status, .stats, .rules: 0o444
    // For those only who may control the mount; asked at open.
    case .events: 0o400
    }
  }

  /// What the directory holds.
  static let files: [ControlFile] = [.command, .status, .stats, .rules, .events]

  init?(inRoot name: some Collection<UInt8>) {
    guard name.elementsEqual(Self.directory.name.utf8) else { return nil }
    self = .directory
  }

  init?(inDirectory name: some Collection<UInt8>) {
    guard let file = Self.files.first(where: { name.elementsEqual($0.name.utf8) }) else { return nil }
    self = file
  }
}

/// Who answers what is asked through the control directory.
package protocol ControlHandler: AnyObject, Sendable {
  /// The answer to `why PATH`: `name` is the path as a registry name, that of a key or of a value behind its key's.
  func why(_ name: UnicodeName) -> String
  /// The answer to a command that is not the file system's own; nil for one that nobody knows. `registryName` makes a registry name of a
  /// path below the mount's root.
  func execute(
    _ verb: String, _ arguments: [String], by caller: Caller, registryName: (String) -> UnicodeName?
  ) -> String?
  /// The content of `/%ctl/status`.
  func status() -> String
  /// The content of `/%ctl/stats`.
  func stats() -> String
  /// The content of `/%ctl/rules`.
  func ruleListing() -> String
  /// A reader of the events from now on; nil when there are too many. `onArrival` is called when something waits after nothing did, on the
  /// thread of who made the event.
  func openEvents(onArrival: @escaping @Sendable () -> Void) -> (any EventStream)?
  /// Writes the hive in `saved` as the `.reg` text of the key of that complete name.
  func export(_ saved: UnnamedFile, named name: UnicodeName, to file: UnnamedFile) throws(NTStatus)
}

/// Who wants to know of values that are opened.
package protocol OpenWatcher: AnyObject, Sendable {
  /// Whether values of that name matter; asked at every open.
  func isWatched(_ valueName: UnicodeName) -> Bool
  /// A value of a name that matters was opened, or made; the name of its key is complete.
  func opened(_ valueName: UnicodeName, of keyName: UnicodeName, by caller: Caller)
}

/// One open handle of a control file. Offsets mean nothing: what is written is a line, what is read is the answer to it.
package final class ControlSession: Sendable {
  private struct State {
    var line: [UInt8] = []
    var answer: [UInt8] = []
  }

  private let state = Mutex(State())
  /// Bytes that a handle may hold without the end of their line.
  private let longestLine: Int

  init(longestLine: Int) { self.longestLine = longestLine }

  /// `execute` answers one whole line. Of several in one write those behind the first that is refused are neither done nor answered.
  func write(_ bytes: some Collection<UInt8>, _ execute: ([UInt8]) -> String) throws(Errno) {
    var lines: [[UInt8]] = []
    try state.withLock { state throws(Errno) in
      guard state.line.count + bytes.count <= longestLine else { throw .invalid }
      // Only what came now can end a line.
      var parts = bytes.split(separator: 0x0A, omittingEmptySubsequences: false)
      let rest = parts.removeLast()
      for part in parts {
        lines.append(state.line + part)
        state.line.removeAll()
      }
      state.line.append(contentsOf: rest)
    }
    for line in lines {
      let answer = Array(execute(line).utf8)
      state.withLock { $0.answer.append(contentsOf: answer) }
      // What comes behind it in the same write may rest on it.
      if answer.starts(with: "error ".utf8) { return }
    }
  }

  func preset(_ answer: String) { state.withLock { $0.answer = Array(answer.utf8) } }

  func read(_ size: Int) -> [UInt8] {
    state.withLock { state in
      let part = Array(state.answer.prefix(size))
      state.answer.removeFirst(part.count)
      return part
    }
  }
}
