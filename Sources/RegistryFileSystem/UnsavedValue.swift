internal import ConfigurationManager
internal import Executive
internal import Synchronization

/// A value that was made in this mount and is not in the hive yet: its text in memory, and what is known of its type. All its
/// handles share it.
///
/// 1. It becomes a value of the hive, or is gone, once; `isSettled` says so, and whoever comes later meets what the node is then.
/// 2. Changes of it, and its becoming something else, come one after the other: each is made in `inTurn`.
final class UnsavedValue: Sendable {
  private struct Content {
    var text: [UInt8] = []
    /// Something was written, if only nothing: exact data counts only where it reads as the text.
    var hasText = false
    /// Given by a suffix or `user.reg.type`; nil: untyped.
    var type: ValueType?
    /// Given by `user.reg.data`.
    var data: [UInt8]?
    var isScratch: Bool
    /// When the last handle was closed; nil while there is one.
    var idleSince: UInt64?
    var isSettled = false
  }

  let maker: Maker
  /// What a value of its name was a moment ago; text is read as that, but a value that it replaces tells more.
  let likelyType: ValueType?
  /// What its text shows: that of all its handles.
  let view: ValueView
  private let content: Mutex<Content>
  // A lock of its own: a callback may take long, and meanwhile others look at the value.
  private let turn = Mutex(())
  private let memory: ScratchMemory

  /// `idleSince` is set for one that is made without a handle.
  init(
    maker: Maker, type: ValueType?, likelyType: ValueType?, isScratch: Bool, idleSince: UInt64?, view: ValueView, memory: ScratchMemory
  ) {
    self.view = view
    self.maker = maker
    self.likelyType = likelyType
    self.memory = memory
    content = Mutex(Content(type: type, isScratch: isScratch, idleSince: idleSince))
    memory.noteMade()
  }

  /// Runs `body` when nobody else changes it or makes something else of it; nil when it is settled.
  func inTurn<Result, Failure>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result? {
    try turn.withLock { _ throws(Failure) in
      guard !content.withLock({ $0.isSettled }) else { return nil }
      return try body()
    }
  }

  // MARK: What is known of it

  var isSettled: Bool { content.withLock { $0.isSettled } }
  var type: ValueType? { content.withLock { $0.type } }
  /// The type that text is checked as while it is written: none for an untyped one, nor where exact data was given.
  var checkedType: ValueType? { content.withLock { $0.data == nil ? $0.type ?? likelyType : nil } }
  /// The exact data, where the text reads as it does, or none was written.
  var data: [UInt8]? {
    let (text, hasText, own, exact) = content.withLock { ($0.text, $0.hasText, $0.type, $0.data) }
    guard let exact, hasText else { return exact }
    let value = RegistryValue(type: own ?? likelyType ?? .sz, data: exact)
    return ValueCodec.text(of: value, as: view) == text ? exact : nil
  }
  /// The extended attributes that are listed.
  var attributes: [ExtendedAttribute] { (data == nil ? [] : [.data]) + (type ?? likelyType == nil ? [] : [.type]) }
  /// Its bytes are given as such.
  var isExact: Bool { view == .bytes || data != nil }
  /// Its text has no line end, which the file of a REG_SZ shows all the same.
  var lacksLineEnd: Bool { content.withLock { !$0.text.isEmpty && $0.text.last != 0x0A } }
  var isScratch: Bool { content.withLock { $0.isScratch } }
  var idleSince: UInt64? { content.withLock { $0.idleSince } }
  /// Bytes of its text.
  var size: Int { content.withLock { $0.text.count } }
  /// Also of a settled one: the handles that are left go on from there.
  var text: [UInt8] { content.withLock { $0.text } }

  func text(from offset: Int, size: Int) -> [UInt8] {
    content.withLock { content in
      guard offset >= 0, offset < content.text.count else { return [] }
      return Array(content.text[offset..<min(content.text.count, offset + max(0, size))])
    }
  }

  /// What it is as a value. `asked` comes before its own type; `replaced` is that of the value in whose place it comes, and stands
  /// in for a type that it has not. Throws what `ValueCodec.data` does.
  func value(as asked: ValueType? = nil, replacing replaced: ValueType? = nil) throws(Errno) -> RegistryValue {
    let (text, hasText, own, exact) = content.withLock { ($0.text, $0.hasText, $0.type, $0.data) }
    let type = asked ?? own ?? replaced ?? likelyType ?? (view == .bytes ? .binary : .sz)
    if let exact, !hasText || ValueCodec.text(of: RegistryValue(type: type, data: exact), as: view) == text {
      return RegistryValue(type: type, data: exact)
    }
    if text.isEmpty, asked ?? own != nil || replaced == nil {
      // `touch NEW%dword` makes a number without data.
      return RegistryValue(type: type, data: (try? ValueCodec.data(from: [], type: type, as: view)) ?? [])
    }
    return RegistryValue(type: type, data: try ValueCodec.data(from: text, type: type, as: view))
  }

  /// The same, and the bytes where an untyped one has no text of its type: it must not be lost.
  func promotedValue() throws(Errno) -> RegistryValue {
    do throws(Errno) { return try value() } catch {
      guard type == nil else { throw error }
      return RegistryValue(type: .binary, data: text)
    }
  }

  // MARK: Changes, in turn

  /// Writes at `offset`, nil for the end. Text that can be none of `type` is refused, and nothing changed. Throws EFBIG for more than
  /// `limit` bytes, and ENOSPC where scratch text of the mount would be too much.
  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int?, limit: Int, type: ValueType?) throws(Errno) {
    try content.withLock { content throws(Errno) in
      let before = content.text.count
      let start = offset ?? before
      guard start >= 0, start <= limit, bytes.count <= limit - start, start - before <= TextChange.largestGap else {
        throw .fileTooLarge
      }
      if content.isScratch { try memory.reserve(max(0, start + bytes.count - before)) }
      let overwritten = Array(content.text[min(start, before)..<min(start + bytes.count, before)])
      TextChange.write(bytes, at: start, in: &content.text)
      do throws(Errno) {
        if let type { try ValueCodec.check(beginning: content.text, type: type, as: view) }
      } catch {
        content.text.replaceSubrange(min(start, before)..<min(start + bytes.count, before), with: overwritten)
        content.text.removeLast(content.text.count - before)
        if content.isScratch { memory.free(max(0, start + bytes.count - before)) }
        throw error
      }
      content.hasText = true
    }
  }

  /// Throws ENOSPC as `write` does.
  func resize(to size: Int) throws(Errno) {
    try content.withLock { content throws(Errno) in
      guard size - content.text.count <= TextChange.largestGap else { throw .fileTooLarge }
      if content.isScratch { try memory.reserve(size - content.text.count) }
      TextChange.resize(&content.text, to: size)
      content.hasText = true
    }
  }

  /// The text that is there is looked at when it is set: exact data may come after the type.
  func setType(_ type: ValueType) { content.withLock { $0.type = type } }

  /// Nil: the text counts.
  func setData(_ data: [UInt8]?) throws(Errno) {
    try content.withLock { content throws(Errno) in
      if content.isScratch { try memory.reserve((data?.count ?? 0) - (content.data?.count ?? 0)) }
      content.data = data
    }
  }

  /// It has a scratch name from now on. Throws ENOSPC as `write` does.
  func becomeScratch() throws(Errno) {
    try content.withLock { content throws(Errno) in
      guard !content.isScratch else { return }
      try memory.reserve(Self.weight(content))
      content.isScratch = true
    }
  }

  /// Nil: somebody has it open.
  func setIdle(since time: UInt64?) { content.withLock { $0.idleSince = time } }

  /// It is in the hive, or is no more. Its text stays for the handles that are left.
  func settle() {
    content.withLock { content in
      content.isSettled = true
      if content.isScratch { memory.free(Self.weight(content)) }
      memory.noteSettled()
    }
  }

  private static func weight(_ content: borrowing Content) -> Int { content.text.count + (content.data?.count ?? 0) }
}
