internal import Executive

/// The names under which programs put what they will rename or remove themselves (filesystem.md, 7c).
enum ScratchName {
  /// One form of name: `*` stands for the name of a value, `?` for a letter or digit of mkstemp(3), all else for itself.
  private struct Form {
    let pattern: [UInt16]
    /// The value that `*` stands for must be there, or have been a moment ago: real values have such names, too.
    let needsValue: Bool

    init(_ pattern: String, besideValue needsValue: Bool = false) {
      self.pattern = Array(pattern.utf16)
      self.needsValue = needsValue
    }
  }

  // rsync and vim make their files before there is a value, so these two do not ask for one.
  private static let forms: [Form] = [
    Form(".*.sw?"), Form(".*.sw?x"),  // vim: swap file, and what it tries before, to see how long names may be
    Form(".*.??????"),  // rsync
    Form("*~", besideValue: true),  // vim, emacs, patch: what was there before
    Form("#*#", besideValue: true), Form(".#*", besideValue: true),  // emacs: autosaved; lock
    Form(".#-emacs??????"),  // emacs: a lock on its way to `.#*`, where there are no symbolic links
    Form("*.o??????", besideValue: true),  // patch
    Form("4913"),  // vim: may files be made here?
    Form("sed??????"), Form("XX??????"),  // sed -i; perl -pi
    Form("tmp????????"),  // Python's tempfile
    Form(".goutputstream-??????"),  // GIO
  ]

  /// The forms that a name may have by its first unit, which tells most names apart: those that begin with it, and those that begin
  /// with another value's name.
  private static let formsByFirstUnit: [UInt16: [Form]] = {
    let open = forms.filter { $0.pattern.first == 0x2A }
    let closed = forms.filter { $0.pattern.first != 0x2A }
    return Dictionary(grouping: closed) { $0.pattern.first ?? 0 }.mapValues { $0 + open }.merging([0: open]) { $1 }
  }()

  /// Whether what is made as `name` is not meant to stay. `isThere` is asked about the value that it would lie beside.
  static func matches(_ name: UnicodeName, isThere: (UnicodeName) -> Bool) -> Bool {
    guard let first = name.units.first, let forms = formsByFirstUnit[first] ?? formsByFirstUnit[0] else { return false }
    return forms.contains { form in
      guard let beside = beside(name.units[...], form.pattern[...]) else { return false }
      return !form.needsValue || isThere(value(namedBy: beside))
    }
  }

  /// What `*` stands for, empty where the pattern has none; nil when the name is not of this form.
  private static func beside(_ name: ArraySlice<UInt16>, _ pattern: ArraySlice<UInt16>) -> ArraySlice<UInt16>? {
    guard let star = pattern.firstIndex(of: 0x2A) else { return fits(name, pattern) ? [] : nil }
    let (head, tail) = (pattern[..<star], pattern[(star + 1)...])
    guard name.count > head.count + tail.count, fits(name.prefix(head.count), head), fits(name.suffix(tail.count), tail)
    else { return nil }
    return name.dropFirst(head.count).dropLast(tail.count)
  }

  private static func fits(_ name: ArraySlice<UInt16>, _ pattern: ArraySlice<UInt16>) -> Bool {
    name.count == pattern.count && zip(name, pattern).allSatisfy { unit, wanted in
      wanted == 0x3F ? isOfTemplate(unit) : unit == wanted
    }
  }

  /// glibc's and Python's letters for a random name.
  private static func isOfTemplate(_ unit: UInt16) -> Bool {
    switch unit {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F: true
    default: false
    }
  }

  /// A program has read the value's file name: `@` is the default value, and `%val` is no part of a name.
  private static func value(namedBy fileName: ArraySlice<UInt16>) -> UnicodeName {
    if fileName.elementsEqual([0x40]) { return UnicodeName(units: []) }
    let suffix = Array("%val".utf16)
    return UnicodeName(units: Array(fileName.suffix(suffix.count).elementsEqual(suffix) ? fileName.dropLast(suffix.count) : fileName))
  }
}
