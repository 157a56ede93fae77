package import Executive
package import Notifications
internal import Sigma
internal import Synchronization

/// One refused operation, for `regward why`.
package struct Refusal: Sendable {
  package let notification: Notification
  /// How the filter came to it, in words.
  package let reason: Decision.Reason
}

extension Refusal: CustomStringConvertible {
  /// Several lines for people: rule, its place, process, time, operation, and why the process was not exempt.
  package var description: String {
    let process = notification.process
    let others = notification.ruleIDs.dropFirst()
    var lines: [String] = []
    lines.append("refused:   \(operation)")
    lines.append("rule:      \(notification.ruleIDs.first ?? "?") (\(notification.decidedBy ?? reasonInWords))")
    lines.append("source:    \(notification.ruleSource ?? "?")")
    if !others.isEmpty { lines.append("also:      \(others.joined(separator: ", "))") }
    if !notification.ruleNames.isEmpty { lines.append("rule bits: \(notification.ruleNames.joined(separator: ", "))") }
    let executable = process.executable ?? "unknown executable"
    lines.append("process:   \(process.processID), \(executable), uid \(process.userID)")
    lines.append("time:      \(Self.text(notification.time))")
    lines.append("exemption: none: \(notification.exemption ?? "")")
    return lines.joined(separator: "\n")
  }

  private var operation: String {
    var text = "\(notification.notifyClass.name) \(Self.printable(notification.keyName))"
    if let value = notification.valueName {
      text += value.isEmpty ? ", value (Default)" : ", value \(Self.printable(value))"
    }
    if let newName = notification.newKeyName { text += " to \(Self.printable(newName))" }
    return text
  }

  private var reasonInWords: String {
    switch reason {
    case .hardened: "hardened key"
    case .hardenedBelow: "a hardened key lies below"
    case .canary: "the self-test's key, refused to everybody"
    case .denied: "Denied bit"
    case .deniedBelow: "a protected key or value lies below"
    case .tamperProtection: "TamperProtectionActive, refused to everybody"
    case .queryDenied: "query hardening"
    case .sigma: "Sigma rule: \(notification.detections.first?.title ?? "?")"
    case .syncClient: "sync client"
    case .untouched, .watched: "no refusal"
    }
  }

  /// Names are the callers' own: control characters must not reach a terminal.
  private static func printable(_ name: UnicodeName) -> String {
    var text = ""
    for scalar in name.description.unicodeScalars {
      let isControl = scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
      text.unicodeScalars.append(isControl ? "\u{FFFD}" : scalar)
    }
    return text
  }

  /// RFC 3339 in UTC, to the second.
  private static func text(_ time: FileTime) -> String {
    func padded(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let seconds = time.unixTime.seconds
    let day = seconds >= 0 ? seconds / 86400 : (seconds - 86399) / 86400
    let second = seconds - day * 86400
    // Days since 1970 to the civil calendar, by way of years that begin in March.
    let shifted = day + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let marchMonth = (5 * dayOfYear + 2) / 153
    let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    let date = "\(year)-\(padded(month))-\(padded(dayOfYear - (153 * marchMonth + 2) / 5 + 1))"
    return "\(date)T\(padded(second / 3600)):\(padded(second / 60 % 60)):\(padded(second % 60))Z"
  }
}

/// The last refusal for each name, for a bounded number of names; the name that came first goes first. Names are
/// compared without regard to case.
package final class RefusalLog: Sendable {
  private struct State {
    var refusals: [UnicodeName: Refusal] = [:]
    /// The names in `refusals`, in a ring: `next` is the one to give way.
    var ring: [UnicodeName] = []
    var next = 0
  }

  private let capacity: Int
  private let state = Mutex(State())

  package init(capacity: Int = 1024) { self.capacity = max(1, capacity) }

  /// Keeps a refusal under the key's name, under key and value, and for a rename under the new name.
  package func record(_ notification: Notification, reason: Decision.Reason) {
    var notification = notification
    // Rules that are replaced should be freed.
    notification.detector = nil
    let refusal = Refusal(notification: notification, reason: reason)
    var names = [notification.keyName.upcased]
    if let value = notification.valueName { names.append(notification.keyName.appending(value).upcased) }
    if let newName = notification.newKeyName { names.append(newName.upcased) }
    state.withLock { state in
      for name in names {
        if state.refusals.updateValue(refusal, forKey: name) != nil { continue }
        if state.ring.count < capacity {
          state.ring.append(name)
        } else {
          state.refusals[state.ring[state.next]] = nil
          state.ring[state.next] = name
          state.next = (state.next + 1) % capacity
        }
      }
    }
  }

  /// The last refusal about a key (also about one of its values), or about `key\value`; the default value's name is
  /// empty.
  package func last(for completeName: UnicodeName) -> Refusal? {
    let name = completeName.upcased
    return state.withLock { $0.refusals[name] }
  }

  package var count: Int { state.withLock { $0.refusals.count } }
}
