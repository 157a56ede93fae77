internal import ConfigurationManager
internal import Executive

/// A look-up's question about a value: how long its text is, counted while the value is found.
struct ValueQuestion: ~Copyable {
  /// Bytes of data that are gone through for each question; of more, a node remembers the answer.
  private static let longest = 16384

  let directory: Node
  let key: KeyControlBlock
  private let view: ValueView
  private var text: TextSize?

  init(in directory: Node, of key: KeyControlBlock, view: ValueView) {
    self.directory = directory
    self.key = key
    self.view = view
  }

  /// Whether the data is to be gone through.
  static func isShort(_ value: ValueInformation) -> Bool { value.size <= longest }

  mutating func add(_ piece: UnsafeRawBufferPointer, of type: ValueType) {
    if text == nil { text = TextSize(type, as: view) }
    text?.add(piece)
  }

  /// Bytes, once all pieces have come; nil for a value that is not short.
  func textSize(of value: ValueInformation) -> Int? {
    guard Self.isShort(value) else { return nil }
    return (text ?? TextSize(value.type, as: view)).bytes
  }
}
