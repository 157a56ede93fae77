internal import Executive
internal import HiveStorage

/// A hive file as `.reg` text: each key's values, then its subkeys.
enum HiveExport {
  static func write(_ hive: borrowing Hive, from start: CellIndex, named name: RegFileKeyName, to export: RegFileExport) {
    // A stack of our own: nothing bounds the depth of a damaged hive.
    var open = [(cell: start, name: name)]
    var seen: Set<CellIndex> = [start]
    while let (cell, name) = open.popLast() {
      guard export.key(name) else { continue }
      writeValues(hive, cell, name, export)
      var children: [(cell: CellIndex, name: RegFileKeyName)] = []
      var names: Set<UnicodeName> = []
      do throws(HiveError) {
        try hive.forEachSubkey(of: cell, damaged: { export.lose("\(name.text): \($0)") }) { _, child throws(HiveError) in
          do throws(HiveError) {
            let node = try hive.subkey(at: child, of: cell)
            let childName = name.appending(try hive.keyName(at: child))
            guard seen.insert(child).inserted, childName.components.last.map({ names.insert($0.upcased).inserted }) == true else {
              export.lose("\(childName.text): the second key of this name; it and all below it are left out")
              return true
            }
            if node.isLink { export.tell("\(childName.text): a .reg file cannot say that this key is a link") }
            children.append((child, childName))
          } catch { export.lose("\(name.text): \(error)") }
          return true
        }
      } catch { export.lose("\(name.text): \(error)") }
      open += children.reversed()
    }
  }

  private static func writeValues(
    _ hive: borrowing Hive, _ cell: CellIndex, _ key: RegFileKeyName, _ export: RegFileExport
  ) {
    var names: Set<UnicodeName> = []
    do throws(HiveError) {
      try hive.forEachValue(of: cell) { _, value throws(HiveError) in
        do throws(HiveError) {
          let name = try hive.valueName(at: value)
          guard names.insert(name.upcased).inserted else {
            export.lose("\(key.text): the second value '\(name)'; it is left out")
            return true
          }
          export.value(
            name, RegistryValue(type: try hive.valueNode(at: value).type, data: try hive.data(ofValue: value)), of: key)
        } catch { export.lose("\(key.text): \(error)") }
        return true
      }
    } catch { export.lose("\(key.text): \(error)") }
  }

  /// The key at `path` below the root, with the path as the hive spells it; nil when there is none.
  static func find(
    _ path: RegFileKeyName, in hive: borrowing Hive
  ) throws(HiveError) -> (cell: CellIndex, path: [UnicodeName])? {
    var found = (cell: hive.rootKey, path: [UnicodeName]())
    for name in path.components {
      guard let child = try hive.findSubkey(of: found.cell, named: name.units.span) else { return nil }
      found = (child, found.path + [try hive.keyName(at: child)])
    }
    return found
  }
}
