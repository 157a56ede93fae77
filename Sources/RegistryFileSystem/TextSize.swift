internal import Executive

/// How long the text of a value's file is, counted from the data as it lies, piece by piece, without making it.
struct TextSize {
  private let type: ValueType
  private let view: ValueView
  private let form: ValueCodec.Form
  /// Bytes of data so far.
  private var count = 0
  /// UTF-8 bytes of the UTF-16 units so far; half a pair counts as what stands for it.
  private var encoded = 0
  private var lastUnit: UInt16 = 0
  private var unitBefore: UInt16 = 0
  /// The last unit is the first half of a pair.
  private var awaitsLowSurrogate = false
  /// The beginning of a number, one byte more than the longest has.
  private var number: [UInt8] = []

  init(_ type: ValueType, as view: ValueView) {
    self.type = type
    self.view = view
    form = ValueCodec.form(type, view)
  }

  /// Every piece but the last is of an even length.
  mutating func add(_ piece: UnsafeRawBufferPointer) {
    count += piece.count
    switch form {
    case .bytes: break
    case .number: number.append(contentsOf: piece.prefix(9 - min(9, number.count)))
    case .string, .strings: addUnits(piece)
    }
  }

  private mutating func addUnits(_ piece: UnsafeRawBufferPointer) {
    guard piece.count >= 2 else { return }
    var (encoded, awaitsLow) = (encoded, awaitsLowSurrogate)
    var (last, before) = (lastUnit, unitBefore)
    for offset in stride(from: 0, to: piece.count & ~1, by: 2) {
      let unit = UInt16(littleEndian: piece.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
      (before, last) = (last, unit)
      if unit < 0x80 {
        encoded += 1
        awaitsLow = false
      } else if unit < 0x800 {
        encoded += 2
        awaitsLow = false
      } else {
        // Three bytes, which with the second half become four.
        let isSecond = awaitsLow && unit & 0xFC00 == 0xDC00
        encoded += isSecond ? 1 : 3
        awaitsLow = !isSecond && unit & 0xFC00 == 0xD800
      }
    }
    (self.encoded, awaitsLowSurrogate) = (encoded, awaitsLow)
    (lastUnit, unitBefore) = (last, before)
  }

  var bytes: Int {
    switch form {
    case .bytes: return count
    case .number: return ValueCodec.text(of: RegistryValue(type: type, data: number), as: view).count
    case .string(let mayBeTerminated):
      guard count > 0 else { return 0 }
      let isTerminated = mayBeTerminated && count >= 2 && lastUnit == 0
      return encoded + (isTerminated ? 0 : 1)
    case .strings:
      guard count > 0 else { return 0 }
      let units = count / 2
      // The list's own terminator is not shown; the last string's is its line end.
      let hasTerminator = units > 0 && lastUnit == 0
      let rest = units - (hasTerminator ? 1 : 0)
      let endsLine = rest == 0 || (hasTerminator ? unitBefore : lastUnit) == 0
      return encoded - (hasTerminator ? 1 : 0) + (endsLine ? 0 : 1)
    }
  }
}
