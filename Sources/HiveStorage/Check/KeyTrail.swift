/// The keys that a walk has met, each with the one above it, so that what is found in a key can be told by its path. A
/// damaged hive's own parent fields cannot be asked.
struct KeyTrail {
  private var keys: [(cell: CellIndex, above: Int?)] = []

  /// The place of `key` in the trail, `above` being that of the key in whose list it stands; nil for the root.
  mutating func add(_ key: CellIndex, below above: Int?) -> Int {
    keys.append((key, above))
    return keys.count - 1
  }

  var cells: Set<CellIndex> { Set(keys.map(\.cell)) }

  func cell(at place: Int) -> CellIndex { keys[place].cell }

  /// The path from the root, as in a dump; a key whose name cannot be read is told by its offset in the file.
  func path(of place: Int, in hive: borrowing Hive) -> String {
    var line: [CellIndex] = []
    var next: Int? = place
    while let place = next {
      if keys[place].above != nil { line.append(keys[place].cell) }
      next = keys[place].above
    }
    var path: [UInt8] = []
    for (number, key) in line.reversed().enumerated() {
      do throws(HiveError) {
        path = try hive.withName(ofKey: key) { HiveDump.appending($0, to: path, isFirst: number == 0) }
      } catch {
        path += "\(number == 0 ? "" : "\\")<0x\(String(key.fileOffset, radix: 16))>".utf8
      }
    }
    return String(decoding: path, as: UTF8.self)
  }
}
