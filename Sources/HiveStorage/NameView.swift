package import Executive

/// A name where it lies in the hive: Latin-1, one byte a unit, when compressed, else UTF-16.
package struct NameView: ~Escapable {
  package let bytes: RawSpan
  package let isCompressed: Bool

  @_lifetime(copy bytes)
  package init(bytes: RawSpan, compressed: Bool) {
    self.bytes = bytes
    isCompressed = compressed
  }

  /// UTF-16 units; an odd byte at the end does not count.
  package var count: Int { isCompressed ? bytes.byteCount : bytes.byteCount / 2 }

  package subscript(index: Int) -> UInt16 {
    // SAFETY: these loads are bounds-checked; "unsafe" is that any bytes become an integer, which they may.
    isCompressed
      ? UInt16(bytes.unsafeLoad(fromByteOffset: index, as: UInt8.self))
      : UInt16(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: index * 2, as: UInt16.self))
  }

  package func append(to units: inout [UInt16]) {
    units.reserveCapacity(units.count + count)
    for index in 0..<count { units.append(self[index]) }
  }

  package func equalsIgnoringCase(_ other: Span<UInt16>) -> Bool {
    guard count == other.count else { return false }
    // From the end: names of one key begin alike and end differently.
    var index = count
    while index > 0 {
      index -= 1
      if UpcaseTable.upcase(self[index]) != UpcaseTable.upcase(other[index]) { return false }
    }
    return true
  }

  /// `UpcaseTable.hash` of the name.
  var upcasedHash: UInt32 {
    var hash: UInt32 = 0
    for index in 0..<count { hash = hash &* 37 &+ UInt32(UpcaseTable.upcase(self[index])) }
    return hash
  }

  /// Negative, zero or positive, in the order of subkey lists.
  package func compareIgnoringCase(_ other: Span<UInt16>) -> Int {
    let shorter = min(count, other.count)
    for index in 0..<shorter {
      let difference = Int(UpcaseTable.upcase(self[index])) - Int(UpcaseTable.upcase(other[index]))
      if difference != 0 { return difference }
    }
    return count - other.count
  }

  package func compareIgnoringCase(_ other: borrowing NameView) -> Int {
    let shorter = min(count, other.count)
    for index in 0..<shorter {
      let difference = Int(UpcaseTable.upcase(self[index])) - Int(UpcaseTable.upcase(other[index]))
      if difference != 0 { return difference }
    }
    return count - other.count
  }

  package var name: UnicodeName {
    let count = count
    return UnicodeName(
      units: Array(unsafeUninitializedCapacity: count) { units, filled in
        for index in 0..<count { units.initializeElement(at: index, to: self[index]) }
        filled = count
      })
  }
}

extension Span<UInt16> {
  /// Windows stores a name in one byte a unit whenever every unit is below 256.
  var isCompressible: Bool {
    for index in 0..<count where self[index] > 0xFF { return false }
    return true
  }

  /// The name's bytes in the hive.
  func stored(compressed: Bool) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(compressed ? count : count * 2)
    for index in 0..<count {
      bytes.append(UInt8(truncatingIfNeeded: self[index]))
      if !compressed { bytes.append(UInt8(truncatingIfNeeded: self[index] >> 8)) }
    }
    return bytes
  }
}
