internal import Glibc
internal import Synchronization

/// Sends each event through a socket as a message of its own; what does not go out is lost, counted, and told with the next that does.
package final class SocketSink: NotificationSink {
  /// What a message is, by the receiver.
  package enum Dialect: Sendable {
    /// The event's line, without its line feed.
    case plain
    /// systemd's journal, by its native protocol.
    case journal
    /// RFC 5424; over a stream with the length before each (RFC 6587).
    case syslog
  }

  private struct State: ~Copyable {
    var socket: SinkSocket
    var untold = EventEncoder.Loss()
    var counters = SinkCounters()
  }

  package let name: String
  private let dialect: Dialect
  private let encoder: EventEncoder
  private let state: Mutex<State>

  /// `patience` and `retryAfter`, milliseconds: how long a receiver without room is waited for at each event, and how long one that
  /// is gone is left alone.
  package init(
    name: String, to address: SinkAddress, _ dialect: Dialect, encoder: EventEncoder, patience: Int32 = 200,
    retryAfter: Int = 1000
  ) {
    self.name = name
    self.dialect = dialect
    self.encoder = encoder
    state = Mutex(State(socket: SinkSocket(address, patience: patience, retryAfter: retryAfter)))
  }

  package var counters: SinkCounters { state.withLock { $0.counters } }

  package func deliver(_ event: borrowing Event, dropped: UInt64) {
    let event = copy event
    state.withLock { state in
      state.untold.dropped += dropped
      var failure = send(event, state.untold, &state.socket)
      // Longer than the socket takes: what is long in it is left out, and only then it is lost.
      if failure == EMSGSIZE { failure = send(event.shortened, state.untold, &state.socket) }
      let torn = state.socket.takeTorn()
      if failure == 0 { state.counters.accepted += 1 }
      // They had been counted as accepted.
      state.counters.accepted -= torn
      state.counters.lost += torn
      if failure == 0 {
        state.untold = EventEncoder.Loss(failed: torn)
      } else {
        state.counters.lost += 1
        state.counters.errors += 1
        state.untold.failed += 1 + torn
        state.untold.errno = failure
      }
    }
  }

  package func flush() { state.withLock { $0.socket.flush() } }

  private func send(_ event: Event, _ loss: EventEncoder.Loss, _ socket: inout SinkSocket) -> Int32 {
    let line = Array(encoder.line(for: event, loss: loss).dropLast())
    switch dialect {
    case .plain: return socket.send(line)
    case .journal: return JournalEntry(event, line: line).send(through: &socket)
    case .syslog:
      let message = SyslogMessage.bytes(of: event, line: line, hostName: encoder.hostName)
      return socket.send(socket.isStream ? Array("\(message.count) ".utf8) + message : message)
    }
  }
}

extension Event {
  /// Without data and command lines, which alone can make it long.
  package var shortened: Event {
    switch self {
    case .registry(var event):
      event.newValue = nil
      event.oldValue = nil
      event.process.commandLine = nil
      return .registry(event)
    case .process(var event):
      event.process.commandLine = nil
      return .process(event)
    case .documentOpen, .control: return self
    }
  }
}
