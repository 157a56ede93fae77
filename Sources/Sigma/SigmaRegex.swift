internal import Executive

/// A regular expression that is matched in time linear in the text: all ways through it are gone at once (Thompson's construction), so
/// that a text, which anybody may have written, cannot make it go back and forth. It looks for a place in the text where it holds.
///
/// It knows what rules use: alternatives, groups, classes, `\d` `\w` `\s`, repetitions, anchors, `\b`. What needs memory of what was
/// matched (back references) or looks ahead is an error, as is a program of more than `mostSteps`.
struct SigmaRegex: Sendable {
  /// Whether `.` stands for a line feed.
  enum Dot: Sendable { case butLineEnd, anything }
  /// Whether `^` and `$` stand at each line or at the text's ends.
  enum Lines: Sendable { case one, several }

  /// Steps that are looked at for each unit of a text.
  static let mostSteps = 512

  fileprivate enum Step: Sendable {
    case unit(UnitClass)
    case fork(Int, Int)
    case jump(Int)
    case assert(Assertion)
    case end
  }

  fileprivate enum Assertion: Sendable { case textStart, textEnd, lineStart, lineEnd, wordEdge, noWordEdge }

  private let steps: [Step]
  private let ignoresCase: Bool

  init(_ text: String, ignoringCase: Bool = false, _ dot: Dot = .butLineEnd, _ lines: Lines = .one) throws(SigmaProblem) {
    var compiler = Compiler(text, ignoresCase: ignoringCase, dot: dot, lines: lines)
    steps = try compiler.program()
    ignoresCase = compiler.ignoresCase
  }

  func matches(_ text: SigmaText) -> Bool {
    let units = ignoresCase ? text.upcased : text.units
    var now = Threads(steps.count)
    var next = Threads(steps.count)
    for position in 0...units.count {
      // It may begin at every place.
      if add(0, at: position, in: units, to: &now) { return true }
      guard position < units.count else { break }
      for place in now.places {
        guard case .unit(let set) = steps[place], set.contains(units[position]) else { continue }
        if add(place + 1, at: position + 1, in: units, to: &next) { return true }
      }
      swap(&now, &next)
      next.clear()
    }
    return false
  }

  /// The steps that wait for a unit, each once.
  private struct Threads {
    private(set) var places: [Int] = []
    private var isMember: [Bool]
    private var visited: [Int] = []
    /// Kept, so that no memory is asked for at each unit.
    var open: [Int] = []

    init(_ count: Int) { isMember = [Bool](repeating: false, count: count) }

    mutating func enter(_ place: Int) -> Bool {
      guard !isMember[place] else { return false }
      isMember[place] = true
      visited.append(place)
      return true
    }

    mutating func wait(at place: Int) { places.append(place) }

    mutating func clear() {
      for place in visited { isMember[place] = false }
      visited.removeAll(keepingCapacity: true)
      places.removeAll(keepingCapacity: true)
    }
  }

  /// Everything that is reached from a step without a unit; true when the end is.
  private func add(_ first: Int, at position: Int, in units: [UInt16], to threads: inout Threads) -> Bool {
    threads.open.append(first)
    while let place = threads.open.popLast() {
      guard threads.enter(place) else { continue }
      switch steps[place] {
      case .unit: threads.wait(at: place)
      case .jump(let target): threads.open.append(target)
      case .fork(let one, let other):
        threads.open.append(other)
        threads.open.append(one)
      case .assert(let assertion): if Self.holds(assertion, at: position, in: units) { threads.open.append(place + 1) }
      case .end:
        threads.open.removeAll(keepingCapacity: true)
        return true
      }
    }
    return false
  }

  private static func holds(_ assertion: Assertion, at position: Int, in units: [UInt16]) -> Bool {
    func isWord(_ index: Int) -> Bool { units.indices.contains(index) && UnitClass.word.contains(units[index]) }
    switch assertion {
    case .textStart: return position == 0
    case .textEnd: return position == units.count
    case .lineStart: return position == 0 || units[position - 1] == 0x0A
    case .lineEnd: return position == units.count || units[position] == 0x0A
    case .wordEdge: return isWord(position - 1) != isWord(position)
    case .noWordEdge: return isWord(position - 1) == isWord(position)
    }
  }
}

/// A set of UTF-16 units.
private struct UnitClass: Sendable {
  private(set) var ranges: [ClosedRange<UInt16>]
  var isNegated = false

  init(_ ranges: [ClosedRange<UInt16>], isNegated: Bool = false) {
    self.ranges = ranges
    self.isNegated = isNegated
  }

  static let digit = UnitClass([0x30...0x39])
  static let word = UnitClass([0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A])
  static let space = UnitClass([0x09...0x0D, 0x20...0x20])

  func contains(_ unit: UInt16) -> Bool { ranges.contains { $0.contains(unit) } != isNegated }

  mutating func formUnion(_ other: UnitClass) {
    guard other.isNegated else {
      ranges += other.ranges
      return
    }
    // The gaps between its ranges.
    var begin = 0
    for range in other.ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if Int(range.lowerBound) > begin { ranges.append(UInt16(begin)...(range.lowerBound - 1)) }
      begin = max(begin, Int(range.upperBound) + 1)
    }
    if begin <= 0xFFFF { ranges.append(UInt16(begin)...0xFFFF) }
  }

  /// For a text that is in upper case.
  var upcased: UnitClass {
    var more: [ClosedRange<UInt16>] = []
    for range in ranges {
      for unit in range {
        let upper = UpcaseTable.upcase(unit)
        if upper != unit { more.append(upper...upper) }
      }
    }
    return UnitClass(Self.merged(ranges + more), isNegated: isNegated)
  }

  /// As few ranges as there can be.
  private static func merged(_ ranges: [ClosedRange<UInt16>]) -> [ClosedRange<UInt16>] {
    var merged: [ClosedRange<UInt16>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let last = merged.last, Int(range.lowerBound) <= Int(last.upperBound) + 1 {
        merged[merged.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
      } else {
        merged.append(range)
      }
    }
    return merged
  }
}

extension SigmaRegex {
  /// Reads an expression and writes its program, part by part.
  fileprivate struct Compiler {
    private let units: [UInt16]
    private var position = 0
    private(set) var ignoresCase: Bool
    /// Parts written: what makes no steps takes its time all the same.
    private var work = 0
    private var dot: Dot
    private var lines: Lines

    /// Groups within each other: each is a call.
    private static let deepest = 32
    private static let mostRepetitions = 256

    /// An expression, before it is a program.
    private indirect enum Node {
      case unit(UnitClass)
      case assert(Assertion)
      case sequence([Node])
      case choice([Node])
      case repetition(Node, least: Int, most: Int?)
    }

    init(_ text: String, ignoresCase: Bool, dot: Dot, lines: Lines) {
      units = Array(text.utf16)
      self.ignoresCase = ignoresCase
      self.dot = dot
      self.lines = lines
    }

    mutating func program() throws(SigmaProblem) -> [Step] {
      try flags()
      let node = try choice(depth: 0)
      if position < units.count { throw problem("a ')' that closes nothing") }
      var steps: [Step] = []
      try write(node, to: &steps)
      steps.append(.end)
      return steps
    }

    private func problem(_ what: String) -> SigmaProblem {
      SigmaProblem("the regular expression '\(String(decoding: units, as: UTF16.self))' is not understood: \(what)")
    }

    // MARK: Reading

    private var next: UInt16? { position < units.count ? units[position] : nil }

    private mutating func takes(_ text: StaticString) -> Bool {
      let wanted = text.withUTF8Buffer { $0.map { UInt16($0) } }
      guard units[position...].starts(with: wanted) else { return false }
      position += wanted.count
      return true
    }

    /// `(?ims)` at the beginning.
    private mutating func flags() throws(SigmaProblem) {
      let before = position
      guard takes("(?") else { return }
      while true {
        if takes("i") {
          ignoresCase = true
        } else if takes("m") {
          lines = .several
        } else if takes("s") {
          dot = .anything
        } else {
          break
        }
      }
      // A group of another kind is read as one.
      if position == before + 2 || !takes(")") { position = before }
    }

    private mutating func choice(depth: Int) throws(SigmaProblem) -> Node {
      guard depth < Self.deepest else { throw problem("groups more than \(Self.deepest) deep") }
      var parts = [try sequence(depth)]
      while takes("|") { parts.append(try sequence(depth)) }
      return parts.count == 1 ? parts[0] : .choice(parts)
    }

    private mutating func sequence(_ depth: Int) throws(SigmaProblem) -> Node {
      var parts: [Node] = []
      while let unit = next, unit != UInt16(ascii: "|"), unit != UInt16(ascii: ")") {
        parts.append(try repetition(of: try atom(depth)))
      }
      return .sequence(parts)
    }

    private mutating func repetition(of node: Node) throws(SigmaProblem) -> Node {
      let (least, most): (Int, Int?)
      if takes("*") {
        (least, most) = (0, nil)
      } else if takes("+") {
        (least, most) = (1, nil)
      } else if takes("?") {
        (least, most) = (0, 1)
      } else if let counts = try counts() {
        (least, most) = counts
      } else {
        return node
      }
      // How much is taken first makes no difference to whether there is a match.
      _ = takes("?")
      if let unit = next, [UInt16(ascii: "*"), UInt16(ascii: "+"), UInt16(ascii: "?")].contains(unit) {
        throw problem("a repetition of a repetition")
      }
      return .repetition(node, least: least, most: most)
    }

    /// `{n}`, `{n,}`, `{n,m}`, `{,m}`; nil where none stands.
    private mutating func counts() throws(SigmaProblem) -> (Int, Int?)? {
      let before = position
      guard takes("{") else { return nil }
      let least = number()
      let hasComma = takes(",")
      let most = hasComma ? number() : least
      guard takes("}"), least != nil || most != nil else {
        position = before
        throw problem("a '{' that is no repetition; write \\{")
      }
      guard (least ?? 0) <= most ?? .max, max(least ?? 0, most ?? 0) <= Self.mostRepetitions else {
        throw problem("a repetition from \(least ?? 0) to \(most.map { String($0) } ?? "any"); at most \(Self.mostRepetitions) are counted")
      }
      return (least ?? 0, most)
    }

    private mutating func number() -> Int? {
      var number: Int?
      while let unit = next, (0x30...0x39).contains(unit) {
        number = min((number ?? 0) * 10 + Int(unit - 0x30), 100_000)
        position += 1
      }
      return number
    }

    private mutating func atom(_ depth: Int) throws(SigmaProblem) -> Node {
      if takes("(?:") || takes("(") {
        if next == UInt16(ascii: "?"), units[position - 1] == UInt16(ascii: "(") {
          throw problem("groups that look around, have a name or change flags are not supported")
        }
        let inner = try choice(depth: depth + 1)
        guard takes(")") else { throw problem("a ')' is missing") }
        return inner
      }
      if takes("^") { return .assert(lines == .one ? .textStart : .lineStart) }
      if takes("$") { return .assert(lines == .one ? .textEnd : .lineEnd) }
      if takes(".") { return .unit(dot == .anything ? UnitClass([], isNegated: true) : UnitClass([0x0A...0x0A], isNegated: true)) }
      if takes("[") { return .unit(cased(try unitClass())) }
      guard let unit = next else { throw problem("it ends too soon") }
      position += 1
      if [UInt16(ascii: "*"), UInt16(ascii: "+"), UInt16(ascii: "?"), UInt16(ascii: "{")].contains(unit) {
        throw problem("a repetition of nothing")
      }
      guard unit == UInt16(ascii: "\\") else { return .unit(cased(UnitClass([unit...unit]))) }
      for (letter, assertion) in Self.assertions where next == letter {
        position += 1
        return .assert(assertion)
      }
      return .unit(cased(try escaped()))
    }

    private static let assertions: [(UInt16, Assertion)] = [
      (UInt16(ascii: "b"), .wordEdge), (UInt16(ascii: "B"), .noWordEdge), (UInt16(ascii: "A"), .textStart), (UInt16(ascii: "z"), .textEnd),
      (UInt16(ascii: "Z"), .textEnd),
    ]

    private func cased(_ set: UnitClass) -> UnitClass { ignoresCase ? set.upcased : set }

    /// What stands behind a backslash, in a class or outside.
    private mutating func escaped() throws(SigmaProblem) -> UnitClass {
      guard let unit = next else { throw problem("a backslash at the end") }
      position += 1
      switch Unicode.Scalar(unit) {
      case "d": return .digit
      case "w": return .word
      case "s": return .space
      case "D": return UnitClass(UnitClass.digit.ranges, isNegated: true)
      case "W": return UnitClass(UnitClass.word.ranges, isNegated: true)
      case "S": return UnitClass(UnitClass.space.ranges, isNegated: true)
      case "n": return UnitClass([0x0A...0x0A])
      case "r": return UnitClass([0x0D...0x0D])
      case "t": return UnitClass([0x09...0x09])
      case "x":
        guard let value = hexadecimal(2) else { throw problem("\\x wants two hexadecimal digits") }
        return UnitClass([value...value])
      case "u":
        guard let value = hexadecimal(4) else { throw problem("\\u wants four hexadecimal digits") }
        return UnitClass([value...value])
      case let scalar? where scalar.isASCII && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil):
        throw problem("'\\\(scalar)' is not supported")
      default: return UnitClass([unit...unit])
      }
    }

    private mutating func hexadecimal(_ count: Int) -> UInt16? {
      guard position + count <= units.count else { return nil }
      let value = UInt16(String(decoding: units[position..<position + count], as: UTF16.self), radix: 16)
      position += count
      return value
    }

    /// What stands between brackets; the first one is taken.
    private mutating func unitClass() throws(SigmaProblem) -> UnitClass {
      var set = UnitClass([], isNegated: false)
      let isNegated = takes("^")
      var isFirst = true
      while isFirst || next != UInt16(ascii: "]") {
        isFirst = false
        guard next != nil else { throw problem("a ']' is missing") }
        let low = try member()
        // A hyphen at the end is one.
        guard next == UInt16(ascii: "-"), position + 1 < units.count, units[position + 1] != UInt16(ascii: "]") else {
          set.formUnion(low)
          continue
        }
        position += 1
        let high = try member()
        guard let first = low.single, let last = high.single, first <= last else { throw problem("a range that is none") }
        set.formUnion(UnitClass([first...last]))
      }
      position += 1
      set.isNegated = isNegated
      return set
    }

    private mutating func member() throws(SigmaProblem) -> UnitClass {
      guard let unit = next else { throw problem("a ']' is missing") }
      position += 1
      return unit == UInt16(ascii: "\\") ? try escaped() : UnitClass([unit...unit])
    }

    // MARK: Writing

    private mutating func write(_ node: Node, to steps: inout [Step]) throws(SigmaProblem) {
      work += 1
      guard steps.count < mostSteps, work < 8 * mostSteps else { throw problem("it is more than \(mostSteps) steps long") }
      switch node {
      case .unit(let set): steps.append(.unit(set))
      case .assert(let assertion): steps.append(.assert(assertion))
      case .sequence(let parts): for part in parts { try write(part, to: &steps) }
      case .choice(let parts):
        var ends: [Int] = []
        for part in parts.dropLast() {
          let fork = steps.count
          steps.append(.jump(0))
          try write(part, to: &steps)
          ends.append(steps.count)
          steps.append(.jump(0))
          steps[fork] = .fork(fork + 1, steps.count)
        }
        if let last = parts.last { try write(last, to: &steps) }
        for end in ends { steps[end] = .jump(steps.count) }
      case .repetition(let part, let least, let most):
        for _ in 0..<least { try write(part, to: &steps) }
        guard let most else {
          let fork = steps.count
          steps.append(.jump(0))
          try write(part, to: &steps)
          steps.append(.jump(fork))
          steps[fork] = .fork(fork + 1, steps.count)
          return
        }
        var forks: [Int] = []
        for _ in least..<most {
          forks.append(steps.count)
          steps.append(.jump(0))
          try write(part, to: &steps)
        }
        for fork in forks { steps[fork] = .fork(fork + 1, steps.count) }
      }
    }
  }
}

extension UnitClass {
  fileprivate var single: UInt16? { ranges.count == 1 && !isNegated && ranges[0].count == 1 ? ranges[0].lowerBound : nil }
}
