internal import Executive
internal import HiveStorage

/// What a mount asks a hive before it is served. What is damaged is as if it were not there: the mount tells of it when
/// somebody gets there.
enum HiveSurvey {
  /// Enough to know a hive by; a hive's root has some dozens at most.
  private static let limit = 1000

  static func rootKeys(_ hive: borrowing Hive) -> [String] {
    var names: [String] = []
    var cells: [CellIndex] = []
    try? hive.forEachSubkey(of: hive.rootKey) { _, cell throws(HiveError) in
      cells.append(cell)
      return cells.count < limit
    }
    for cell in cells {
      if let name = try? hive.keyName(at: cell) { names.append(name.description) }
    }
    return names
  }

  /// Tells the complete name of every key that can be read, `place` being the root's.
  static func forEachKey(_ hive: borrowing Hive, at place: UnicodeName, _ body: (UnicodeName) -> Void) {
    var waiting = [(cell: hive.rootKey, name: place)]
    // A damaged hive may lead in circles.
    var seen: Set<CellIndex> = [hive.rootKey]
    while let (cell, name) = waiting.popLast() {
      body(name)
      var children: [CellIndex] = []
      try? hive.forEachSubkey(of: cell, damaged: { _ in }) { _, child throws(HiveError) in
        children.append(child)
        return true
      }
      for child in children where seen.insert(child).inserted {
        if let childName = try? hive.keyName(at: child) { waiting.append((child, name.appending(childName))) }
      }
    }
  }

  /// Users of a SOFTWARE hive's `ProfileList`: the key's name by the last component of the profile's path, in upper case.
  static func profiles(_ hive: borrowing Hive) -> [String: String] {
    var key = hive.rootKey
    for name in ["Microsoft", "Windows NT", "CurrentVersion", "ProfileList"] {
      guard let next = try? hive.findSubkey(of: key, named: UnicodeName(name).units.span) else { return [:] }
      key = next
    }
    var users: [CellIndex] = []
    try? hive.forEachSubkey(of: key, damaged: { _ in }) { _, cell throws(HiveError) in
      users.append(cell)
      return users.count < limit
    }
    let valueName = UnicodeName("ProfileImagePath")
    var names: [String: String] = [:]
    for user in users {
      guard let name = try? hive.keyName(at: user).description, name.uppercased().hasPrefix("S-1-"),
        let value = try? hive.findValue(of: user, named: valueName.units.span), let data = try? hive.data(ofValue: value)
      else { continue }
      let units = stride(from: 0, to: data.count - data.count % 2, by: 2).map { UInt16(data[$0]) | UInt16(data[$0 + 1]) << 8 }
      let path = String(decoding: units.prefix { $0 != 0 }, as: UTF16.self)
      guard let folder = path.split(separator: "\\").last else { continue }
      names[folder.uppercased()] = name
    }
    return names
  }

  /// `Select\Current` of a SYSTEM hive.
  static func currentControlSet(_ hive: borrowing Hive) -> UInt32? {
    let (key, value) = (UnicodeName("Select"), UnicodeName("Current"))
    guard let select = try? hive.findSubkey(of: hive.rootKey, named: key.units.span),
      let current = try? hive.findValue(of: select, named: value.units.span),
      let data = try? hive.data(ofValue: current), data.count == 4
    else { return nil }
    return data.reversed().reduce(0) { $0 << 8 | UInt32($1) }
  }
}
