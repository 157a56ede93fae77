internal import Executive

/// A complete key name in the ways that events tell it.
struct EventKeyName {
  /// As the kernel has it, `\REGISTRY\MACHINE\SYSTEM\ControlSet001`.
  let kernelName: String
  /// `HKLM` or `HKU`; nil where neither holds the key.
  let hive: String?
  /// The components below the hive.
  private let components: [String]

  init(_ name: UnicodeName) {
    let all = name.units.split(separator: 0x5C, omittingEmptySubsequences: true).map(Self.text)
    kernelName = all.isEmpty ? "\\" : all.reduce(into: "") { $0 += "\\" + $1 }
    let root = all.prefix(2).map { $0.uppercased() }
    switch root {
    case ["REGISTRY", "MACHINE"]: hive = "HKLM"
    case ["REGISTRY", "USER"]: hive = "HKU"
    default: hive = nil
    }
    components = hive == nil ? all : Array(all.dropFirst(2))
  }

  /// Below the hive, `SYSTEM\ControlSet001\Services`; the whole kernel name where there is no hive.
  var key: String { hive == nil ? kernelName : components.joined(separator: "\\") }

  /// Hive and key, `HKLM\SYSTEM\ControlSet001\Services`.
  var path: String {
    guard let hive else { return kernelName }
    return components.isEmpty ? hive : hive + "\\" + key
  }

  /// As Sysmon tells it: `HKLM\System\…`, the control set that is in use by its link's name.
  func targetObject(currentControlSet: UInt32?) -> String {
    guard let hive else { return kernelName }
    var components = components
    if hive == "HKLM", let first = components.first, first.uppercased() == "SYSTEM" {
      components[0] = "System"
      if components.count > 1, let currentControlSet, Self.controlSet(components[1]) == currentControlSet {
        components[1] = "CurrentControlSet"
      }
    }
    return ([hive] + components).joined(separator: "\\")
  }

  /// 1 for `ControlSet001`; nil for any other name.
  private static func controlSet(_ component: String) -> UInt32? {
    let upper = component.uppercased()
    guard upper.hasPrefix("CONTROLSET"), upper.utf8.count == 13 else { return nil }
    let digits = upper.dropFirst(10)
    return digits.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 } ? UInt32(digits) : nil
  }

  /// One name as text. A name with unpaired surrogates, which JSON cannot carry, takes the encoding of file names
  /// (filesystem.md section 2): `%uXXXX` for these, `%XX` for what that encoding escapes as well.
  static func text(_ units: some Collection<UInt16>) -> String {
    var text = ""
    var isWellFormed = true
    var escaped = ""
    var decoder = UTF16()
    var iterator = units.makeIterator()
    // A first pass by the standard library's decoder tells whether the second is needed.
    scan: while true {
      switch decoder.decode(&iterator) {
      case .scalarValue(let scalar): text.unicodeScalars.append(scalar)
      case .emptyInput: break scan
      case .error:
        isWellFormed = false
        break scan
      }
    }
    if isWellFormed { return text }
    let all = Array(units)
    var index = 0
    while index < all.count {
      let unit = all[index]
      let next = index + 1 < all.count ? all[index + 1] : 0
      if UTF16.isLeadSurrogate(unit), UTF16.isTrailSurrogate(next) {
        escaped += String(decoding: [unit, next], as: UTF16.self)
        index += 2
        continue
      }
      index += 1
      switch unit {
      case 0xD800..<0xE000: escaped += "%u" + hexadecimal(unit, digits: 4)
      case 0..<0x20, 0x7F, 0x25, 0x2F: escaped += "%" + hexadecimal(unit, digits: 2)
      default: escaped += String(decoding: [unit], as: UTF16.self)
      }
    }
    return escaped
  }

  private static func hexadecimal(_ unit: UInt16, digits: Int) -> String {
    let text = String(unit, radix: 16, uppercase: true)
    return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
  }
}
