extension FileTime {
  /// The time in UTC with all seven digits of its fraction, `2026-01-31T23:59:59.0000001Z` (RFC 3339).
  package var rfc3339: String {
    let text = calendarText(dateEnd: 0x54, fractionDigits: 7)
    return text + "Z"
  }

  /// The time in UTC to the millisecond as Sysmon writes it, `2026-01-31 23:59:59.000`.
  package var sysmonText: String { calendarText(dateEnd: 0x20, fractionDigits: 3) }

  private func calendarText(dateEnd: UInt8, fractionDigits: Int) -> String {
    let (seconds, nanoseconds) = unixTime
    // Rounded down, also before 1970.
    let days = seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
    let second = seconds - days * 86_400
    let (year, month, day) = Self.civil(fromDays: days)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(28)
    func append(_ number: Int64, digits: Int) {
      let text = String(number)
      bytes.append(contentsOf: repeatElement(0x30, count: max(0, digits - text.utf8.count)))
      bytes.append(contentsOf: text.utf8)
    }
    append(year, digits: 4)
    bytes.append(0x2D)
    append(month, digits: 2)
    bytes.append(0x2D)
    append(day, digits: 2)
    bytes.append(dateEnd)
    append(second / 3600, digits: 2)
    bytes.append(0x3A)
    append(second / 60 % 60, digits: 2)
    bytes.append(0x3A)
    append(second % 60, digits: 2)
    bytes.append(0x2E)
    append(fractionDigits == 7 ? nanoseconds / 100 : nanoseconds / 1_000_000, digits: fractionDigits)
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The Gregorian date that lies `days` after 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms").
  private static func civil(fromDays days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    // Days since 0000-03-01; FileTime begins in 1601, so nothing here is negative.
    let shifted = days + 719_468
    let era = shifted / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
  }
}
