internal import FUSEServer
internal import Glibc
internal import Notifications

/// What a mount tells of operations, and where, as its options say.
struct EventOutput {
  let destinations: [EventDestination]
  let format: EventFormat
  let scope: EventScope

  /// Throws a wrong usage. Paths become absolute: the daemon leaves this directory, and may open a log again later.
  init(_ options: MountOptions) throws(MountFailure) {
    format = try Self.word(options.logFormat, "log-format") ?? .ecs
    scope = try Self.word(options.logScope, "log-ops") ?? .matched
    var destinations: [EventDestination] = []
    if let log = options.log {
      let path = FilePath.absolute(log)
      destinations.append(EventDestination(place: .file(path: path), text: path))
    }
    for text in options.logPlaces {
      guard let destination = EventDestination(parsing: text, absolute: FilePath.absolute) else {
        throw MountFailure("log-to: \(text) is no place for events", status: MountFailure.usageStatus)
      }
      destinations.append(destination)
    }
    guard destinations.count <= Self.mostDestinations else {
      throw MountFailure("more than \(Self.mostDestinations) logs", status: MountFailure.usageStatus)
    }
    self.destinations = destinations
  }

  /// Each costs every event a little, and has a thread.
  private static let mostDestinations = 16

  private static func word<Word: RawRepresentable & CaseIterable>(
    _ text: String?, _ option: String
  ) throws(MountFailure) -> Word? where Word.RawValue == String {
    guard let text else { return nil }
    guard let word = Word(rawValue: text) else {
      let words = Word.allCases.map(\.rawValue).joined(separator: ", ")
      throw MountFailure("option \(option): \(text) is none of \(words)", status: MountFailure.usageStatus)
    }
    return word
  }

  var usesStandardError: Bool { destinations.contains { $0.place == .standardError } }

  func encoder(currentControlSet: UInt32?) -> EventEncoder {
    EventEncoder(format: format, currentControlSet: currentControlSet, hostName: Self.hostName)
  }

  func sinks(_ encoder: EventEncoder) throws(MountFailure) -> [any NotificationSink] {
    var sinks: [any NotificationSink] = []
    for destination in destinations {
      do throws(FileSink.OpenError) { sinks.append(try destination.sink(encoder)) } catch {
        throw MountFailure("cannot open the log \(error.path): \(Console.reason(error.errno))")
      }
    }
    return sinks
  }

  private static var hostName: String? {
    var name = [CChar](repeating: 0, count: 256)
    guard gethostname(&name, name.count - 1) == 0 else { return nil }
    return name.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } }
  }
}
