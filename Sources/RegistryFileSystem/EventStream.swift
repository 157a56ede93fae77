internal import Synchronization

/// One reader's way through the mount's events, at its own pace; who makes events never waits for it.
package protocol EventStream: AnyObject, Sendable {
  /// The next event as a line; nil when none waits. Does not wait.
  func nextLine() -> [UInt8]?
  /// Nothing will come any more.
  var isEnded: Bool { get }
  func close()
}

/// One open handle of `/%ctl/events`.
package final class EventSession: Sendable {
  private let stream: any EventStream
  /// What did not fit the last read.
  private let rest = Mutex<[UInt8]>([])

  init(_ stream: any EventStream) { self.stream = stream }

  /// At most `size` bytes of what waits; nil when that is nothing and more may come.
  package func read(_ size: Int) -> [UInt8]? {
    rest.withLock { rest in
      while rest.count < size, let line = stream.nextLine() { rest += line }
      guard !rest.isEmpty else { return stream.isEnded || size == 0 ? [] : nil }
      let part = Array(rest.prefix(size))
      rest.removeFirst(part.count)
      return part
    }
  }

  func close() { stream.close() }
}
