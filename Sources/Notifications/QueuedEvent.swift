internal import Executive

/// An event on its way to its readers: one object for all of them.
package final class QueuedEvent: Sendable {
  package let event: Event
  /// Bytes that it keeps in memory, roughly.
  let weight: Int

  init(_ event: consuming Event) {
    weight = event.weight
    self.event = event
  }
}

extension Event {
  /// What it carries that can be long, and something for the rest.
  fileprivate var weight: Int {
    let base = 1024
    switch self {
    case .registry(let event):
      return base + (event.newValue?.data.count ?? 0) + (event.oldValue?.data.count ?? 0)
        + 2 * (event.keyName.units.count + (event.valueName?.units.count ?? 0)) + event.process.weight
    case .process(let event): return base + event.process.weight
    case .documentOpen(let event): return base + 2 * event.keyName.units.count + event.process.weight
    case .control(let event): return base + event.text.utf8.count + event.process.weight
    }
  }

  /// What comes before others: refusals, and messages that change the rules.
  var isUrgent: Bool {
    switch self {
    case .registry(let event): event.denied
    case .control: true
    case .process, .documentOpen: false
    }
  }
}

extension ProcessDescription {
  fileprivate var weight: Int { commandLine?.utf8.count ?? 0 }
}
