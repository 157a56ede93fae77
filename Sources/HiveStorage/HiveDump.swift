internal import Executive
internal import Glibc

/// A hive as text, one line a key and one a value, sorted by bytes: the canonical dump by which readers are compared.
///
///     K <TAB> path <TAB> last written <TAB> class <TAB> SHA-256 of the security descriptor, or "-"
///     V <TAB> path <TAB> name <TAB> type <TAB> length <TAB> SHA-256 of the data, or "!"
///
/// Names are UTF-8; control characters, backslashes, unpaired surrogates and some invisible ones stand as \uXXXX.
package struct HiveDump {
  /// What could not be read.
  package private(set) var problems: [HiveError] = []
  private var text: [UInt8] = []
  private var lines: [Range<Int>] = []

  /// Reads everything that can be read; each key once, whatever the lists say.
  package init(_ hive: borrowing Hive) {
    // Depth first with a stack of our own: nothing bounds the depth of a damaged hive.
    var open: [(key: CellIndex, path: [UInt8])] = [(hive.rootKey, [])]
    var seen: Set<CellIndex> = []
    var descriptors: [CellIndex: [UInt8]] = [:]
    while let (key, path) = open.popLast() {
      let node: KeyNode
      do throws(HiveError) { node = try hive.keyNode(at: key) } catch {
        problems.append(error)
        continue
      }
      guard seen.insert(key).inserted else {
        problems.append(
          .damaged(structure: "key node", offset: key.fileOffset, problem: "the key is listed more than once"))
        continue
      }
      addKey(node, path, hive, &descriptors)
      do throws(HiveError) {
        try hive.forEachValue(of: key) { (_, value) throws(HiveError) in
          addValue(value, path, hive)
          return true
        }
      } catch { problems.append(error) }
      let isRoot = key == hive.rootKey
      do throws(HiveError) {
        try hive.forEachSubkey(of: key, damaged: { problems.append($0) }) { (_, subkey) throws(HiveError) in
          do throws(HiveError) {
            let child = try hive.withName(ofKey: subkey) { name in
              Self.appending(name, to: path, isFirst: isRoot)
            }
            open.append((subkey, child))
          } catch { problems.append(error) }
          return true
        }
      } catch { problems.append(error) }
    }
    text.withUnsafeBytes { bytes in
      lines.sort { a, b in
        guard let base = bytes.baseAddress else { return false }
        let order = memcmp(base + a.lowerBound, base + b.lowerBound, min(a.count, b.count))
        return order == 0 ? a.count < b.count : order < 0
      }
    }
  }

  /// Hands the text to `write` in large pieces.
  package func forEachPiece(_ write: ([UInt8]) -> Bool) {
    var piece: [UInt8] = []
    piece.reserveCapacity(1 << 20)
    for line in lines {
      piece.append(contentsOf: text[line])
      piece.append(UInt8(ascii: "\n"))
      if piece.count >= 1 << 20 {
        guard write(piece) else { return }
        piece.removeAll(keepingCapacity: true)
      }
    }
    if !piece.isEmpty { _ = write(piece) }
  }

  package var bytes: [UInt8] {
    var all: [UInt8] = []
    forEachPiece {
      all.append(contentsOf: $0)
      return true
    }
    return all
  }

  // MARK: Lines

  private mutating func addKey(
    _ node: KeyNode, _ path: [UInt8], _ hive: borrowing Hive, _ descriptors: inout [CellIndex: [UInt8]]
  ) {
    let start = text.count
    text.append(contentsOf: [UInt8(ascii: "K"), Self.tab])
    text.append(contentsOf: path)
    text.append(Self.tab)
    text.append(contentsOf: String(node.lastWriteTime.rawValue).utf8)
    text.append(Self.tab)
    do throws(HiveError) {
      if let name = try hive.className(ofKey: node.cell) { Self.escape(name.units, into: &text) }
    } catch { problems.append(error) }
    text.append(Self.tab)
    if let known = descriptors[node.security] {
      text.append(contentsOf: known)
    } else {
      var digest = Array("-".utf8)
      do throws(HiveError) {
        if let descriptor = try hive.securityDescriptor(ofKey: node.cell) {
          digest = Array(SHA256.hexDigest(descriptor).utf8)
        }
      } catch { problems.append(error) }
      descriptors[node.security] = digest
      text.append(contentsOf: digest)
    }
    lines.append(start..<text.count)
  }

  private mutating func addValue(_ value: CellIndex, _ path: [UInt8], _ hive: borrowing Hive) {
    let start = text.count
    do throws(HiveError) {
      let node = try hive.valueNode(at: value)
      let name = try hive.valueName(at: value)
      text.append(contentsOf: [UInt8(ascii: "V"), Self.tab])
      text.append(contentsOf: path)
      text.append(Self.tab)
      Self.escape(name.units, into: &text)
      text.append(Self.tab)
      text.append(contentsOf: String(node.type.rawValue).utf8)
      text.append(Self.tab)
      text.append(contentsOf: String(node.dataSize).utf8)
      text.append(Self.tab)
      do throws(HiveError) {
        text.append(contentsOf: SHA256.hexDigest(try hive.data(ofValue: value)).utf8)
      } catch {
        problems.append(error)
        text.append(UInt8(ascii: "!"))
      }
      lines.append(start..<text.count)
    } catch {
      problems.append(error)
    }
  }

  // MARK: Names

  private static let tab: UInt8 = 9

  /// The path of the key of this name below the key at `path`.
  static func appending(_ name: borrowing NameView, to path: [UInt8], isFirst: Bool) -> [UInt8] {
    var units: [UInt16] = []
    name.append(to: &units)
    var path = path
    path.reserveCapacity(path.count + units.count + 1)
    if !isFirst { path.append(UInt8(ascii: "\\")) }
    if units.isEmpty {
      path.append(contentsOf: "\\u{}".utf8)
    } else if looksEscaped(units) {
      path.append(contentsOf: "\\u0075".utf8)
      escape(Array(units.dropFirst()), into: &path)
    } else {
      escape(units, into: &path)
    }
    return path
  }

  /// As backslashes also separate keys, a name that begins as what follows the backslash of an escape is escaped
  /// itself.
  private static func looksEscaped(_ units: [UInt16]) -> Bool {
    guard units[0] == 0x75 else { return false }
    if units.count >= 3, units[1] == 0x7B, units[2] == 0x7D { return true }
    return units.count >= 5
      && units[1...4].allSatisfy {
        (0x30...0x39).contains($0) || (0x41...0x46).contains($0) || (0x61...0x66).contains($0)
      }
  }

  private static func escape(_ units: [UInt16], into text: inout [UInt8]) {
    var index = 0
    while index < units.count {
      let unit = units[index]
      index += 1
      switch unit {
      case 0x20..<0x5C, 0x5D..<0x7F:
        text.append(UInt8(unit))
      case 0xD800..<0xDC00 where index < units.count && (0xDC00..<0xE000).contains(units[index]):
        let scalar = 0x10000 + (UInt32(unit) - 0xD800) << 10 + (UInt32(units[index]) - 0xDC00)
        index += 1
        text.append(UInt8(0xF0 | scalar >> 18))
        text.append(UInt8(0x80 | scalar >> 12 & 0x3F))
        text.append(UInt8(0x80 | scalar >> 6 & 0x3F))
        text.append(UInt8(0x80 | scalar & 0x3F))
      case 0..<0x20, 0x5C, 0x7F..<0xA0, 0xD800..<0xE000, 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF:
        let digits = String(unit, radix: 16, uppercase: true)
        text.append(contentsOf: "\\u".utf8)
        text.append(contentsOf: repeatElement(UInt8(ascii: "0"), count: 4 - digits.utf8.count))
        text.append(contentsOf: digits.utf8)
      case 0..<0x800:
        text.append(UInt8(0xC0 | unit >> 6))
        text.append(UInt8(0x80 | unit & 0x3F))
      default:
        text.append(UInt8(0xE0 | unit >> 12))
        text.append(UInt8(0x80 | unit >> 6 & 0x3F))
        text.append(UInt8(0x80 | unit & 0x3F))
      }
    }
  }
}
